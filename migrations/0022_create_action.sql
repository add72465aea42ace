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
