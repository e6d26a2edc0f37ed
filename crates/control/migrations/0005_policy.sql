-- Policy that operators write, and who wrote it. In the SQL that SQLite and PostgreSQL share.

-- One content under one name. tenant_id: NULL is shared by all tenants. spec: JSON. revision: control_version when it was last written, so
-- that one is never used twice, also not for another document.
CREATE TABLE documents (
    kind TEXT NOT NULL,
    tenant_id TEXT REFERENCES tenants (id),
    name TEXT NOT NULL,
    spec TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX documents_shared ON documents (kind, name) WHERE tenant_id IS NULL;
CREATE UNIQUE INDEX documents_of_tenant ON documents (tenant_id, kind, name) WHERE tenant_id IS NOT NULL;

-- Prompts: versions never change, labels move. version: counts from 1 for each prompt. deleted_at: it is gone, its number stays taken.
CREATE TABLE prompts (
    tenant_id TEXT REFERENCES tenants (id),
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    spec TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX prompts_shared ON prompts (name, version) WHERE tenant_id IS NULL;
CREATE UNIQUE INDEX prompts_of_tenant ON prompts (tenant_id, name, version) WHERE tenant_id IS NOT NULL;

CREATE TABLE prompt_labels (
    tenant_id TEXT REFERENCES tenants (id),
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX prompt_labels_shared ON prompt_labels (name, label) WHERE tenant_id IS NULL;
CREATE UNIQUE INDEX prompt_labels_of_tenant ON prompt_labels (tenant_id, name, label) WHERE tenant_id IS NOT NULL;

-- What policy refers to, written with what refers. to_tenant: in whose eyes the name is read, its own first, then the shared one.
-- to_part: of a prompt, version:N or label:NAME.
CREATE TABLE policy_references (
    from_kind TEXT NOT NULL,
    from_tenant TEXT,
    from_name TEXT NOT NULL,
    to_kind TEXT NOT NULL,
    to_tenant TEXT,
    to_name TEXT NOT NULL,
    to_part TEXT
);
CREATE INDEX policy_references_from ON policy_references (from_kind, from_name);
CREATE INDEX policy_references_to ON policy_references (to_kind, to_name);

-- plan: the name of a plan of the tenant, or of a shared one. spec, settings: JSON.
ALTER TABLE tenants ADD COLUMN organisation TEXT;
ALTER TABLE tenants ADD COLUMN plan TEXT;
ALTER TABLE api_keys ADD COLUMN plan TEXT;
ALTER TABLE routes ADD COLUMN spec TEXT;
ALTER TABLE providers ADD COLUMN protocol TEXT NOT NULL DEFAULT 'openai';
ALTER TABLE providers ADD COLUMN settings TEXT;

-- Who changed what, in the order of the changes. at: by the database's clock. before, after: JSON without secrets, NULL where there is
-- nothing. Rows are only ever added.
CREATE TABLE audit (
    id BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    kind TEXT NOT NULL,
    tenant_id TEXT,
    name TEXT NOT NULL,
    before TEXT,
    after TEXT
);
CREATE INDEX audit_thing ON audit (kind, name, id);
