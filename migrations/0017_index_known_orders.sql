-- A saga without an order has no entry in the index of orders: one less to write for each.
-- Built beside the table's writers; then the two change places at once, so that an order
-- always has one owner at most. That locks the table for an instant, and is waited for at
-- most five seconds: run it again if it is refused.

-- +goose NO TRANSACTION
-- +goose Up
DROP INDEX CONCURRENTLY IF EXISTS saga_order_known;
CREATE UNIQUE INDEX CONCURRENTLY saga_order_known ON saga (order_id) WHERE order_id IS NOT NULL;
-- +goose StatementBegin
DO $$ BEGIN
    SET LOCAL lock_timeout = '5s';
    ALTER TABLE saga DROP CONSTRAINT IF EXISTS saga_order;
    DROP INDEX IF EXISTS saga_order;
    ALTER INDEX saga_order_known RENAME TO saga_order;
END $$;
-- +goose StatementEnd
