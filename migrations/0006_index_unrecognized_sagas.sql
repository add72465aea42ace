-- Counting the sagas in states that a program does not know, which are almost always none,
-- without reading the table. Built beside the table's writers: safe at any time. One that
-- was interrupted is not usable, and is made anew.

-- +goose NO TRANSACTION
-- +goose Up
DROP INDEX IF EXISTS saga_unrecognized;
CREATE INDEX CONCURRENTLY saga_unrecognized ON saga (state)
    WHERE state NOT IN ('pending', 'submitting', 'unknown', 'polling', 'notifying', 'completed', 'dead_lettered', 'discarded');
