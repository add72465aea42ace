-- What the console needs: a record of who was shown an activation code, and indexes for what
-- operators look for. A new table, and indexes built beside the tables' writers: safe at any
-- time. An index whose building was interrupted is not usable, and is made anew.

-- +goose NO TRANSACTION
-- +goose Up

-- Appended to, before a code is shown. It has no key to the saga: it outlives it.
CREATE TABLE IF NOT EXISTS reveal (
    id         uuid        PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    saga_id    uuid        NOT NULL,
    request_id text        NOT NULL,
    iccids     text[]      NOT NULL, -- whose codes were shown
    actor      text        NOT NULL CHECK (actor <> ''),
    reason     text        NOT NULL CHECK (reason <> '')
);
CREATE INDEX IF NOT EXISTS reveal_at ON reveal (at, id);
CREATE INDEX IF NOT EXISTS reveal_saga ON reveal (saga_id);

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION reveal_is_appended_to() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what was revealed stays on record';
END
$$;
-- +goose StatementEnd
CREATE OR REPLACE TRIGGER reveal_is_appended_to BEFORE UPDATE OR DELETE OR TRUNCATE ON reveal
    FOR EACH STATEMENT EXECUTE FUNCTION reveal_is_appended_to();

-- What operators did, the machine's thousands of times as many entries aside.
DROP INDEX IF EXISTS saga_history_by_operators;
CREATE INDEX CONCURRENTLY saga_history_by_operators ON saga_history (at, saga_id)
    WHERE actor <> '';

-- Top-ups by their eSIM. Orders have none, and pay nothing for it.
DROP INDEX IF EXISTS saga_iccid;
CREATE INDEX CONCURRENTLY saga_iccid ON saga (iccid, id)
    WHERE iccid IS NOT NULL;

-- Sagas in the states that few get into and that operators ask for. One that goes well passes by it.
DROP INDEX IF EXISTS saga_troubled;
CREATE INDEX CONCURRENTLY saga_troubled ON saga (stage, id)
    WHERE stage IN ('unknown', 'dead_lettered', 'discarded');
