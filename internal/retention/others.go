package retention

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// mostOthers is how many of what belongs to no saga are removed in one commit. Letters
// without a saga have up to 1 MiB.
const mostOthers = 100

// The condition is that of the index dead_letter_resolved_alone.
const deleteAloneSQL = `
DELETE FROM dead_letter
WHERE id = ANY(ARRAY(
    SELECT id
    FROM dead_letter l
    WHERE saga_id IS NULL AND status <> 'open' AND resolved_at < $1 AND created_at < $1
      AND NOT EXISTS (SELECT FROM outbox WHERE dead_letter_id = l.id)
    ORDER BY resolved_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
))`

const deleteFindingsSQL = `
DELETE FROM audit_finding
WHERE id = ANY(ARRAY(
    SELECT id
    FROM audit_finding
    WHERE status <> 'open' AND greatest(resolved_at, last_seen) < $1
    LIMIT $2
    FOR UPDATE SKIP LOCKED
))`

const deleteRunsSQL = `
DELETE FROM audit_run
WHERE id = ANY(ARRAY(
    SELECT id
    FROM audit_run r
    WHERE state <> 'running' AND started_at < $1 AND finished_at < $1
      AND NOT EXISTS (SELECT FROM audit_finding WHERE run_id = r.id)
    ORDER BY started_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
))`

// A replay may have had tens of thousands of letters, so they go first.
const deleteReplayLettersSQL = `
DELETE FROM replay_letter
WHERE ctid = ANY(ARRAY(
    SELECT l.ctid
    FROM replay r
    JOIN replay_letter l ON l.replay_id = r.id
    WHERE r.state <> 'running' AND r.created_at < $1 AND r.finished_at < $1
    LIMIT $2
    FOR UPDATE OF l SKIP LOCKED
))`

const deleteReplaysSQL = `
DELETE FROM replay
WHERE id = ANY(ARRAY(
    SELECT id
    FROM replay r
    WHERE state <> 'running' AND created_at < $1 AND finished_at < $1
      AND NOT EXISTS (SELECT FROM replay_letter WHERE replay_id = r.id)
    ORDER BY created_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
))`

// others removes what belongs to no saga: resolved dead letters, and, when the walk has begun
// anew, what the audit has closed, and replays that are over.
func (s *Sweeper) others(ctx context.Context, before time.Time, audits bool) (Removed, error) {
	var r Removed
	if err := s.drain(ctx, deleteAloneSQL, before, &r.Letters); err != nil || !audits {
		return r, err
	}
	if err := s.drain(ctx, deleteFindingsSQL, before, &r.Findings); err != nil {
		return r, err
	}
	if err := s.drain(ctx, deleteRunsSQL, before, &r.Runs); err != nil {
		return r, err
	}
	var letters int64 // of replays: they are counted as those
	if err := s.drain(ctx, deleteReplayLettersSQL, before, &letters); err != nil {
		return r, err
	}
	return r, s.drain(ctx, deleteReplaysSQL, before, &r.Replays)
}

// drain runs a statement until it removes less than it might, and counts.
func (s *Sweeper) drain(ctx context.Context, sql string, before time.Time, n *int64) error {
	for {
		began := time.Now()
		var removed int64
		err := pgx.BeginFunc(ctx, s.DB, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, boundedSQL); err != nil {
				return err
			}
			tag, err := tx.Exec(ctx, sql, before, mostOthers)
			removed = tag.RowsAffected()
			return err
		})
		if err != nil {
			return wrap("what belongs to no saga", err)
		}
		*n += removed
		if held, err := s.hold(ctx); err != nil || !held || removed < mostOthers {
			return err
		}
		if !pause(ctx, rest(time.Since(began), 0)) {
			return ctx.Err()
		}
	}
}
