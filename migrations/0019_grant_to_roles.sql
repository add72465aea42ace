-- What the database's roles may do. deploy/postgres/roles.sql makes the roles, once, before this
-- or after it; without them this grants nothing, and all is as before. Creates a schema with
-- views and two functions: safe at any time.
--
-- A migration that drops a column, or changes its type, replaces the view that shows it first.
-- One that creates a table replaces grant_to_roles() by one that grants it too, and calls it, as
-- migration 22 does: roles may be made before that or after it. By default the app may read and write
-- what is created later; esimflow_readonly sees it once there is a view.

-- +goose Up

-- What people and dashboards may see: no body of a message or an answer, nothing that was
-- bought, no token, and of an ICCID its last four digits. Each column is named, so that what is
-- added to a table shows here only on purpose. Names are the tables': with this schema as its
-- search path, a role asks as ever.
CREATE SCHEMA IF NOT EXISTS redacted;

CREATE OR REPLACE FUNCTION redacted.masked(iccid text) RETURNS text
    LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN iccid = '' THEN '' ELSE '…' || right(iccid, 4) END $$;

CREATE OR REPLACE VIEW redacted.saga AS
SELECT id, kind, request_id, state, stage, version, worker, due_at, deadline_at, reference, package_id, quantity,
       redacted.masked(iccid) AS iccid, attempts, tries, failures, looks, look_delay, intent_at, intent_deadline,
       order_id, stopped_in, ends, requested_at, created_at, updated_at
FROM public.saga;

CREATE OR REPLACE VIEW redacted.saga_request AS
SELECT saga_id, subject, sequence, repeated_at
FROM public.saga_request;

CREATE OR REPLACE VIEW redacted.saga_purchase AS
SELECT saga_id
FROM public.saga_purchase;

CREATE OR REPLACE VIEW redacted.saga_history AS
SELECT saga_id, version, at, event, from_state, to_state, attempt, code, seen, due_at, actor, reason
FROM public.saga_history;

CREATE OR REPLACE VIEW redacted.saga_answer AS
SELECT id, saga_id, at, attempt, status
FROM public.saga_answer;

CREATE OR REPLACE VIEW redacted.worker AS
SELECT id, host, started_at, expires_at
FROM public.worker;

CREATE OR REPLACE VIEW redacted.lease AS
SELECT name, holder, expires_at
FROM public.lease;

CREATE OR REPLACE VIEW redacted.outbox AS
SELECT id, op, subject, message_id, saga_id, dead_letter_id, failures, next_at, created_at
FROM public.outbox;

CREATE OR REPLACE VIEW redacted.dead_letter AS
SELECT id, kind, saga_id, request_id, package_id, redacted.masked(iccid) AS iccid, code, class, reason, state, attempts,
       purchased, replayable, subject, sequence, created_at, status, resolved_at, actor, note, dlq_sequence
FROM public.dead_letter;

CREATE OR REPLACE VIEW redacted.provider_token AS
SELECT version, expires_at, refreshing_by, refreshing_until
FROM public.provider_token;

CREATE OR REPLACE VIEW redacted.provider_gate AS
SELECT lane, closed_until, reason, failures, phase, ramp, probe_by, beneath_until, beneath, updated_at
FROM public.provider_gate;

CREATE OR REPLACE VIEW redacted.gate_pause AS
SELECT what, name, actor, reason, paused_at
FROM public.gate_pause;

CREATE OR REPLACE VIEW redacted.gate_trail AS
SELECT id, at, action, what, name, actor, reason
FROM public.gate_trail;

CREATE OR REPLACE VIEW redacted.audit_run AS
SELECT id, from_day, to_day, next_day, state, requested_by, orders, paired, free, unsettled, trouble, started_at,
       updated_at, finished_at
FROM public.audit_run;

CREATE OR REPLACE VIEW redacted.audit_finding AS
SELECT id, finding, order_id, saga_id, why, advice, run_id, status, first_seen, last_seen, resolved_at, actor, note
FROM public.audit_finding;

CREATE OR REPLACE VIEW redacted.replay AS
SELECT id, actor, reason, rate, ramp, state, letters, done, refused, failed, skipped, note, worker, created_at,
       started_at, finished_at
FROM public.replay;

CREATE OR REPLACE VIEW redacted.replay_letter AS
SELECT replay_id, position, letter_id, saga_id, kind, request_id, package_id, code, class, purchased, price, currency,
       state, moved_to, why, at
FROM public.replay_letter;

CREATE OR REPLACE VIEW redacted.reveal AS
SELECT id, at, saga_id, request_id, cardinality(iccids) AS iccids, actor, reason
FROM public.reveal;

CREATE OR REPLACE VIEW redacted.retention AS
SELECT removed_before
FROM public.retention;

-- History is only added to. This is the one way out: with the saga that it is of, after it.
CREATE OR REPLACE FUNCTION public.remove_history(sagas uuid[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DELETE FROM public.saga_history
WHERE saga_id = ANY(ARRAY(SELECT unnest(sagas) EXCEPT SELECT id FROM public.saga WHERE id = ANY(sagas)))
$$;

-- It grants what the roles may do on what there is, and says whether it did. Only the owner can.
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
    GRANT SELECT, UPDATE ON provider_token, provider_gate, retention TO esimflow_app;
    -- trails
    GRANT SELECT, INSERT ON saga_history, gate_trail, reveal TO esimflow_app;
    GRANT SELECT ON goose_db_version TO esimflow_app;
    GRANT EXECUTE ON FUNCTION remove_history(uuid[]) TO esimflow_app;

    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO esimflow_app;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO esimflow_app;

    GRANT USAGE ON SCHEMA redacted TO esimflow_readonly;
    GRANT SELECT ON ALL TABLES IN SCHEMA redacted TO esimflow_readonly;
    ALTER DEFAULT PRIVILEGES IN SCHEMA redacted GRANT SELECT ON TABLES TO esimflow_readonly;
    RETURN true;
END
$$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION public.remove_history(uuid[]), public.grant_to_roles() FROM PUBLIC;

SELECT public.grant_to_roles();
