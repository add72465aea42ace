-- What operators ask for: who, as what, how they had identified themselves, what, of which thing, why, and what came of it.
-- New tables: safe at any time. Workers of the version before write nothing here.

-- +goose Up

-- Appended to before the action is begun, so that nothing is done that is not on record. It has no key to what it is about:
-- it outlives it.
CREATE TABLE action (
    id     uuid        PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT now(),
    actor  text        NOT NULL CHECK (actor <> ''),
    role   text        NOT NULL,            -- viewer, operator
    how    text        NOT NULL,            -- token, oidc, cli, loopback
    what   text        NOT NULL CHECK (what <> ''),
    target text        NOT NULL DEFAULT '',
    reason text        NOT NULL DEFAULT ''
);
CREATE INDEX action_at ON action (at, id);
CREATE INDEX action_actor ON action (actor, at, id);

-- What came of it, appended when it is known. An action without a row here was cut short: what it
-- is about has its own record, written in the commit that changed it.
CREATE TABLE action_result (
    action_id uuid        PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT now(),
    result    text        NOT NULL CHECK (result IN ('done', 'refused', 'failed')),
    note      text        NOT NULL DEFAULT ''
);

-- +goose StatementBegin
CREATE FUNCTION action_is_appended_to() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what operators did stays on record';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER action_is_appended_to BEFORE DELETE OR TRUNCATE ON action
    FOR EACH STATEMENT EXECUTE FUNCTION action_is_appended_to();

-- What somebody wrote about a person leaves with that person's data: see erase_saga.
-- +goose StatementBegin
CREATE FUNCTION action_is_blanked_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id = OLD.id AND NEW.at = OLD.at AND NEW.actor = OLD.actor AND NEW.role = OLD.role AND NEW.how = OLD.how
        AND NEW.what = OLD.what AND NEW.reason = 'erased' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'what operators did stays on record';
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION action_result_is_blanked_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.action_id = OLD.action_id AND NEW.at = OLD.at AND NEW.result = OLD.result AND NEW.note = '' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'what operators did stays on record';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER action_is_blanked_only BEFORE UPDATE ON action
    FOR EACH ROW EXECUTE FUNCTION action_is_blanked_only();
CREATE TRIGGER action_is_appended_to BEFORE DELETE OR TRUNCATE ON action_result
    FOR EACH STATEMENT EXECUTE FUNCTION action_is_appended_to();
CREATE TRIGGER action_result_is_blanked_only BEFORE UPDATE ON action_result
    FOR EACH ROW EXECUTE FUNCTION action_result_is_blanked_only();

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
    GRANT SELECT, UPDATE ON provider_token, provider_gate, retention, digest_key TO esimflow_app;
    REVOKE INSERT, DELETE ON digest_key FROM esimflow_app;
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
