-- Which database this is, and how often its workers have counted it up. NATS is told each count after it was committed
-- (the stream ESIM_WITNESS), so a database that is behind what NATS was told has lost commits.
-- A new table with one row: safe at any time. Workers of the version before know nothing of it.

-- +goose Up

CREATE TABLE witness (
    one     boolean     PRIMARY KEY DEFAULT true CHECK (one), -- one row
    id      uuid        NOT NULL DEFAULT gen_random_uuid(),   -- a copy has the same, a new database another
    beat    bigint      NOT NULL DEFAULT 0,                   -- counted up by every worker, every few seconds
    losses  bigint      NOT NULL DEFAULT 0,                   -- how often it was found to have lost commits…
    lost_at timestamptz                                       -- …and when it was the last time
) WITH (vacuum_truncate = off);
INSERT INTO witness DEFAULT VALUES;

CREATE VIEW redacted.witness AS
SELECT id, beat, losses, lost_at
FROM public.witness;

-- What migration 19 grants, and what has come since: whether the roles were made before that or after it, they may do the same.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION public.grant_to_roles() RETURNS boolean LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF current_user <> 'esimflow_owner'
        OR (SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname IN ('esimflow_app', 'esimflow_readonly')) < 2 THEN
        RETURN false;
    END IF;
    GRANT USAGE ON SCHEMA public TO esimflow_app;

    -- what is worked on
    GRANT SELECT, INSERT, UPDATE, DELETE ON saga, saga_request, saga_purchase, saga_answer, worker, lease, outbox,
        dead_letter, audit_run, audit_finding, replay, replay_letter, gate_pause TO esimflow_app;
    -- rows that are there from the beginning
    GRANT SELECT, UPDATE ON provider_token, provider_gate, retention, digest_key, witness TO esimflow_app;
    REVOKE INSERT, DELETE ON digest_key, witness FROM esimflow_app;
    -- trails
    GRANT SELECT, INSERT ON saga_history, gate_trail, reveal, privacy_action, action, action_result TO esimflow_app;
    REVOKE UPDATE, DELETE ON privacy_action, action, action_result FROM esimflow_app;
    -- what functions alone write
    GRANT SELECT ON saga_erased, goose_db_version TO esimflow_app;
    REVOKE INSERT, UPDATE, DELETE ON saga_erased FROM esimflow_app;
    GRANT EXECUTE ON FUNCTION remove_history(uuid[]), erase_saga(uuid, bytea, bytea, json, uuid, text, text), erase_remains(text, uuid, text, text)
        TO esimflow_app;

    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO esimflow_app;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO esimflow_app;

    GRANT USAGE ON SCHEMA redacted TO esimflow_readonly;
    GRANT SELECT ON ALL TABLES IN SCHEMA redacted TO esimflow_readonly;
    ALTER DEFAULT PRIVILEGES IN SCHEMA redacted GRANT SELECT ON TABLES TO esimflow_readonly;
    RETURN true;
END
$$;
-- +goose StatementEnd
SELECT public.grant_to_roles();
