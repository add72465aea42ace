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

-- Where there are roles, see deploy/postgres.
-- +goose StatementBegin
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'esimflow_app') AND current_user = 'esimflow_owner' THEN
        GRANT SELECT, UPDATE ON witness TO esimflow_app;
        REVOKE INSERT, DELETE ON witness FROM esimflow_app;
    END IF;
END $$;
-- +goose StatementEnd
