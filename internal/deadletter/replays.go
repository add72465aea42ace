package deadletter

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/saga"
)

const replayColumns = `
    id, actor, reason, filter, rate, ramp, state, letters, done, refused, failed, skipped, note, worker,
    created_at, started_at, finished_at`

const replaysSQL = `
SELECT` + replayColumns + `
FROM replay
ORDER BY created_at DESC
LIMIT $1`

// Replays lists replays, the latest first.
func (d *Desk) Replays(ctx context.Context, limit int) ([]Replay, error) {
	rows, err := d.DB.Query(ctx, replaysSQL, limit)
	if err != nil {
		return nil, fmt.Errorf("deadletter: replays: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Replay])
	if err != nil {
		return nil, fmt.Errorf("deadletter: replays: %w", err)
	}
	return all, nil
}

const replaySQL = `
SELECT` + replayColumns + `
FROM replay
WHERE id = $1`

func (d *Desk) replayByID(ctx context.Context, id uuid.UUID) (Replay, error) {
	rows, err := d.DB.Query(ctx, replaySQL, id)
	if err != nil {
		return Replay{}, fmt.Errorf("deadletter: replay: %w", err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Replay])
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Replay{}, ErrNoReplay
	case err != nil:
		return Replay{}, fmt.Errorf("deadletter: replay: %w", err)
	}
	return r, nil
}

// ErrNoReplay says that there is no such replay.
var ErrNoReplay = errors.New("deadletter: there is no such replay")

// A letter that was released and is open again belongs to the saga's last stop.
const replaySetSQL = `
SELECT r.position, r.letter_id, r.saga_id, r.kind, r.request_id, r.package_id, r.code, r.class, r.purchased,
       COALESCE(r.price::text, '') AS price, r.currency, r.state, r.moved_to, r.why, r.at,
       COALESCE(s.state, '') AS saga, COALESCE(l.code, '') AS again
FROM replay_letter r
LEFT JOIN saga s ON s.id = r.saga_id AND r.state = 'done'
LEFT JOIN dead_letter l ON l.saga_id = s.id AND l.status = 'open'
WHERE r.replay_id = $1
ORDER BY r.position`

// ReplayOf returns a replay with what became of its letters so far, or ErrNoReplay.
func (d *Desk) ReplayOf(ctx context.Context, id uuid.UUID) (ReplayReport, error) {
	r, err := d.replayByID(ctx, id)
	if err != nil {
		return ReplayReport{}, err
	}
	rows, err := d.DB.Query(ctx, replaySetSQL, id)
	if err != nil {
		return ReplayReport{}, fmt.Errorf("deadletter: replay: %w", err)
	}
	set, err := pgx.CollectRows(rows, pgx.RowToStructByName[ReplayLetter])
	if err != nil {
		return ReplayReport{}, fmt.Errorf("deadletter: replay: %w", err)
	}
	return ReplayReport{Replay: r, Ends: ends(set), Set: set}, nil
}

// ends counts how the sagas of a set fare.
func ends(set []ReplayLetter) (e Ends) {
	for _, l := range set {
		switch {
		case l.State != Released:
		case l.SagaID == nil:
			e.Published++
		case l.Saga == saga.Completed, l.Saga == "": // it has left since
			e.Completed++
		case l.Saga == saga.DeadLettered:
			e.Stopped++
		case l.Saga == saga.Discarded:
			e.Discarded++
		default:
			e.UnderWay++
		}
	}
	return e
}

// The row of the replay is locked first, here as by the runner, so that after this no
// letter moves. One of which none waits is as good as done.
const abortSQL = `
WITH job AS (
    UPDATE replay
    SET state = 'aborted', skipped = letters - done - refused - failed, note = left($2, 1000), finished_at = now()
    WHERE id = $1 AND state = 'running' AND done + refused + failed + skipped < letters
    RETURNING id
)
UPDATE replay_letter
SET state = 'skipped', why = left($2, 1000), at = now()
WHERE replay_id IN (SELECT id FROM job) AND state = 'waiting'`

// Abort stops a replay: no letter moves any more by it. Those that had their turn go on.
func (d *Desk) Abort(ctx context.Context, id uuid.UUID, by By) (Replay, error) {
	by.Actor, by.Reason = saga.Clean(by.Actor), saga.Clean(by.Reason)
	var skipped int64
	err := pgx.BeginFunc(ctx, d.DB, func(tx pgx.Tx) error {
		if err := saga.Durable(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, lockReplaySQL, id); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, abortSQL, id, fmt.Sprintf("aborted by %s: %s", by.Actor, by.Reason))
		skipped = tag.RowsAffected()
		return err
	})
	if err != nil {
		return Replay{}, fmt.Errorf("deadletter: abort: %w", err)
	}
	r, err := d.replayByID(ctx, id)
	switch {
	case err != nil:
		return r, err
	case skipped > 0:
		d.Metrics.count(Skipped, int(skipped))
		d.Log.InfoContext(ctx, "replay aborted", "replay_id", id, "actor", by.Actor, "reason", by.Reason)
		return r, nil
	case r.State == Running:
		return r, &saga.RefusedError{Why: fmt.Sprintf("every letter of replay %s has had its turn", id)}
	}
	return r, &saga.RefusedError{Why: fmt.Sprintf("replay %s is %s already", id, r.State)}
}

const lockReplaySQL = `
SELECT id
FROM replay
WHERE id = $1
FOR UPDATE`
