-- What was begun is claimed before what was not, however much of that waits: an order that
-- is bought, or may be, or was refused for the moment, must not queue behind a hundred
-- thousand new ones. So each has an index of its own; saga_due stays for programs of the
-- version before. Built beside the table's writers: safe at any time. One that was
-- interrupted is not usable, and is made anew.

-- +goose NO TRANSACTION
-- +goose Up
DROP INDEX IF EXISTS saga_due_begun;
CREATE INDEX CONCURRENTLY saga_due_begun ON saga (due_at)
    WHERE worker IS NULL AND (state IN ('unknown', 'polling') OR state = 'pending' AND failures > 0);

DROP INDEX IF EXISTS saga_due_fresh;
CREATE INDEX CONCURRENTLY saga_due_fresh ON saga (due_at)
    WHERE worker IS NULL AND state = 'pending' AND failures = 0;

-- Giving up needs no open lane: while ordering is closed, new ones are looked for by this.
DROP INDEX IF EXISTS saga_deadline_fresh;
CREATE INDEX CONCURRENTLY saga_deadline_fresh ON saga (deadline_at)
    WHERE worker IS NULL AND state = 'pending' AND failures = 0;
