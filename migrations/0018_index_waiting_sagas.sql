-- Counting what is open, for the metrics, without reading a table. Built beside the tables'
-- writers: safe at any time. One that was interrupted is not usable, and is made anew.

-- +goose NO TRANSACTION
-- +goose Up

-- Sagas that wait, by state and kind, and which of them gives up first. Those that a worker
-- holds are few, and found by saga_held; a saga that is driven through at once never is in
-- this one. Its condition is written so that only a query that names it as it stands is
-- planned with it: claims are to be planned with the indexes that are in their order.
DROP INDEX IF EXISTS saga_waiting;
CREATE INDEX CONCURRENTLY saga_waiting ON saga (stage, kind, deadline_at)
    WHERE CASE WHEN worker IS NULL THEN stage IN ('pending', 'unknown', 'polling') END;

-- Open dead letters by what they are, without their bytes.
DROP INDEX IF EXISTS dead_letter_open_kinds;
CREATE INDEX CONCURRENTLY dead_letter_open_kinds ON dead_letter (purchased, code, class, created_at)
    WHERE status = 'open';
