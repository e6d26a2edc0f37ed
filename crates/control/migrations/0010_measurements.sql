-- What evaluators measured of adaptive experiments, which gateways read with their snapshots. State, not policy: no version is bumped for
-- it, and no audit log tells of it. tenant_id: '' is shared by all tenants. measured: JSON. revision: grows with every change of any row, so
-- that the greatest one tells whether there is something new; rows are never deleted, one is left for each experiment that ever adapted.
CREATE TABLE experiment_measurements (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    measured TEXT NOT NULL,
    revision BIGINT NOT NULL,
    measured_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);
