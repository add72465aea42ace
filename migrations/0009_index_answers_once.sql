-- Answers are looked for by their saga only, so one index does. Its key is the saga's id
-- first. Built beside the table's writers, and then put in the old one's place, for which
-- they pause for a moment: safe at any time. One that was interrupted is not usable, and is
-- made anew.

-- +goose NO TRANSACTION
-- +goose Up
DROP INDEX IF EXISTS saga_answer_key;
CREATE UNIQUE INDEX CONCURRENTLY saga_answer_key ON saga_answer (saga_id, id);
ALTER TABLE saga_answer DROP CONSTRAINT IF EXISTS saga_answer_pkey, ADD CONSTRAINT saga_answer_pkey PRIMARY KEY USING INDEX saga_answer_key;
DROP INDEX CONCURRENTLY IF EXISTS saga_answer_saga;
