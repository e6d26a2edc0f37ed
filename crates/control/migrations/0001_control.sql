-- The control database, in the SQL that SQLite and PostgreSQL share: TEXT and BIGINT only.
-- Times are nanoseconds since the Unix epoch, UTC. Truth values are 0 and 1. Lists are JSON arrays of texts.

-- One row. Every change that a snapshot must show adds 1 in its own transaction, which also makes writers queue here.
CREATE TABLE control_version (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    version BIGINT NOT NULL
);
INSERT INTO control_version (id, version) VALUES (1, 1);

CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    retention_days BIGINT NOT NULL CHECK (retention_days BETWEEN 1 AND 3650),
    capture_content BIGINT NOT NULL CHECK (capture_content IN (0, 1)),
    disabled_at BIGINT,
    created_at BIGINT NOT NULL
);

-- hash: SHA-256 of the secret, 64 hex digits. allowed_models: NULL allows all.
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    allowed_models TEXT,
    expires_at BIGINT,
    revoked_at BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX api_keys_tenant ON api_keys (tenant_id);

-- secret: env:NAME, file:/path or literal:SECRET. price_as: NULL is the provider's own id.
CREATE TABLE providers (
    id TEXT PRIMARY KEY,
    base_url TEXT NOT NULL,
    secret TEXT,
    price_as TEXT,
    created_at BIGINT NOT NULL
);

CREATE TABLE models (
    name TEXT PRIMARY KEY,
    provider_id TEXT NOT NULL REFERENCES providers (id),
    upstream_model TEXT NOT NULL,
    tier TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX models_provider ON models (provider_id);

-- tenant_id: NULL is a route that every tenant sees. NULLs never collide in a unique index, hence two partial ones.
CREATE TABLE routes (
    tenant_id TEXT REFERENCES tenants (id),
    name TEXT NOT NULL,
    model TEXT NOT NULL REFERENCES models (name),
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX routes_shared ON routes (name) WHERE tenant_id IS NULL;
CREATE UNIQUE INDEX routes_of_tenant ON routes (tenant_id, name) WHERE tenant_id IS NOT NULL;
CREATE INDEX routes_model ON routes (model);

-- entry: one price entry as JSON; the other columns repeat its identity. valid_from: the least BIGINT is "since ever".
CREATE TABLE prices (
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    valid_from BIGINT NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (provider, model, valid_from)
);

-- all_tenants: 1 sees every tenant, 0 those in user_tenants.
CREATE TABLE users (
    id TEXT PRIMARY KEY,
    username TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('admin', 'viewer')),
    all_tenants BIGINT NOT NULL CHECK (all_tenants IN (0, 1)),
    created_at BIGINT NOT NULL
);

CREATE TABLE user_tenants (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    PRIMARY KEY (user_id, tenant_id)
);
CREATE INDEX user_tenants_tenant ON user_tenants (tenant_id);

-- hash: SHA-256 of the cookie's token. Signing in is no change of policy, so sessions do not touch control_version.
CREATE TABLE sessions (
    hash TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE admin_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
