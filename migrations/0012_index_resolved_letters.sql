-- Finding the dead letters without a saga that may leave, without reading the table. Those
-- with one are found by their saga. Built beside the table's writers: safe at any time. One
-- that was interrupted is not usable, and is made anew.

-- +goose NO TRANSACTION
-- +goose Up
DROP INDEX IF EXISTS dead_letter_resolved_alone;
CREATE INDEX CONCURRENTLY dead_letter_resolved_alone ON dead_letter (resolved_at)
    WHERE saga_id IS NULL AND status <> 'open';
