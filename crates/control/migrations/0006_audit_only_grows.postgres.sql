-- Nobody changes what was noted, whoever is connected.
CREATE OR REPLACE FUNCTION audit_only_grows() RETURNS trigger AS $$
BEGIN
    RAISE EXCEPTION 'the audit log only grows';
END
$$ LANGUAGE plpgsql;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_only_grows();
CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_only_grows();
