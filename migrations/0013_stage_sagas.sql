-- A saga's last update, from notifying to completed, is the one that every saga gets and
-- that changes nothing for those who poll. So the partial indexes ask for the stage, which
-- this update leaves as it is: it touches no index (it is HOT), and leaves nothing behind in one.
--
-- Adding the column rewrites the table and locks it meanwhile: a minute or so for ten
-- million sagas. Requests wait in the stream, results in the outbox. Programs of the version
-- before run on without these indexes, more slowly: replace them soon. The indexes are
-- built beside the table's writers. Run it again if it was interrupted.

-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE saga ADD COLUMN IF NOT EXISTS
    stage text GENERATED ALWAYS AS (CASE WHEN state NOT IN ('notifying', 'completed') THEN state END) STORED;

DROP INDEX CONCURRENTLY IF EXISTS saga_topup_unsettled;
CREATE UNIQUE INDEX CONCURRENTLY saga_topup_unsettled ON saga (iccid)
    WHERE kind = 'topup' AND stage IN ('submitting', 'unknown');
-- +goose StatementBegin
DO $$ BEGIN -- at once: there is never none
    SET LOCAL lock_timeout = '5s';
    DROP INDEX saga_topup_in_flight;
    ALTER INDEX saga_topup_unsettled RENAME TO saga_topup_in_flight;
END $$;
-- +goose StatementEnd

DROP INDEX CONCURRENTLY IF EXISTS saga_topup_unresolved;
CREATE INDEX CONCURRENTLY saga_topup_unresolved ON saga (package_id)
    WHERE kind = 'topup' AND (stage IN ('submitting', 'unknown') OR stopped_in = 'unknown');

DROP INDEX CONCURRENTLY IF EXISTS saga_unrecognized;
CREATE INDEX CONCURRENTLY saga_unrecognized ON saga (stage)
    WHERE stage NOT IN ('pending', 'submitting', 'unknown', 'polling', 'dead_lettered', 'discarded');

DROP INDEX CONCURRENTLY IF EXISTS saga_due;
CREATE INDEX CONCURRENTLY saga_due ON saga (due_at)
    WHERE worker IS NULL AND stage IN ('pending', 'unknown', 'polling');

DROP INDEX CONCURRENTLY IF EXISTS saga_due_begun;
CREATE INDEX CONCURRENTLY saga_due_begun ON saga (due_at)
    WHERE worker IS NULL AND (stage IN ('unknown', 'polling') OR stage = 'pending' AND failures > 0);

DROP INDEX CONCURRENTLY IF EXISTS saga_due_fresh;
CREATE INDEX CONCURRENTLY saga_due_fresh ON saga (due_at)
    WHERE worker IS NULL AND stage = 'pending' AND failures = 0;

DROP INDEX CONCURRENTLY IF EXISTS saga_deadline_fresh;
CREATE INDEX CONCURRENTLY saga_deadline_fresh ON saga (deadline_at)
    WHERE worker IS NULL AND stage = 'pending' AND failures = 0;
