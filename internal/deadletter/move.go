package deadletter

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"esimflow/internal/message"
	"esimflow/internal/saga"
)

// due is a letter whose turn it is.
type due struct {
	Position  int
	LetterID  uuid.UUID
	SagaID    *uuid.UUID
	Kind      message.Kind
	PackageID string
	Class     string
	Price     string // "" if it is not known
	Currency  string
}

// errOver: the letter does not wait any more, or the replay does not run. Nothing was
// changed.
var errOver = errors.New("deadletter: the letter has had its turn, or the replay is over")

// The row of the replay is locked by a statement of its own beforehand, as whoever aborts
// it does: this one sees what was committed until then.
const settleSQL = `
WITH settled AS (
    UPDATE replay_letter
    SET state = $3, moved_to = $4, why = left($5, 1000), at = now()
    WHERE replay_id = $1 AND position = $2 AND state = 'waiting'
      AND EXISTS (SELECT FROM replay WHERE id = $1 AND state = 'running')
    RETURNING position
)
UPDATE replay
SET done = done + ($3 = 'done')::int, refused = refused + ($3 = 'refused')::int, failed = failed + ($3 = 'failed')::int,
    skipped = skipped + ($3 = 'skipped')::int
WHERE id = $1 AND EXISTS (SELECT FROM settled)`

// settleIn records what became of a letter, in the caller's transaction, or is errOver.
func settleIn(ctx context.Context, tx pgx.Tx, job Replay, l due, f Fate, to, why string) error {
	var b pgx.Batch
	b.Queue(lockReplaySQL, job.ID)
	b.Queue(settleSQL, job.ID, l.Position, f, to, why).Exec(func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() == 0 {
			return errOver
		}
		return nil
	})
	return tx.SendBatch(ctx, &b).Close()
}

// move gives a letter its turn. Moving its saga, or publishing its bytes, and saying so is
// one commit: after a crash, it has been done and is on record, or neither. The error is
// for what may be tried again.
func (r *Replayer) move(ctx context.Context, job Replay, l due) (Fate, error) {
	d := r.Desk
	settle := func(to string) func(pgx.Tx) error {
		return func(tx pgx.Tx) error {
			return settleIn(ctx, tx, job, l, Released, to, "")
		}
	}
	var err error
	if l.SagaID == nil {
		err = d.republish(ctx, l.LetterID, nil, job.By, settle(message.RequestSubject(l.Kind)))
	} else {
		e := saga.Event{Name: saga.Replayed, Actor: job.Actor, Reason: job.Reason}
		_, err = d.actWith(ctx, *l.SagaID, l.LetterID, e, func(ctx context.Context, decision saga.Decision) error {
			return d.Store.ApplyWith(ctx, decision, settle(string(decision.After.State)))
		})
	}
	why, refused := Refusal(err)
	switch {
	case err == nil:
		d.Metrics.count(Released, 1)
		return Released, nil
	case errors.Is(err, errOver):
		return "", nil
	case refused:
		if now, err := d.Get(ctx, l.LetterID); err == nil && now.Status != "open" {
			why = refusal(now, true)
		}
		return Refused, r.settle(ctx, job, l, Refused, why)
	case errors.Is(err, saga.ErrNotFound), errors.Is(err, ErrNotFound):
		return Refused, r.settle(ctx, job, l, Refused, "it is not on record any more")
	case saga.IsData(err):
		d.Log.ErrorContext(ctx, "replay", "replay_id", job.ID, "dead_letter_id", l.LetterID, "err", err)
		return Failed, r.settle(ctx, job, l, Failed, "Postgres does not take it: see the worker's log")
	}
	return "", err
}

// settle records what became of a letter that was not moved.
func (r *Replayer) settle(ctx context.Context, job Replay, l due, f Fate, why string) error {
	err := pgx.BeginFunc(ctx, r.Desk.DB, func(tx pgx.Tx) error { return settleIn(ctx, tx, job, l, f, "", why) })
	switch {
	case errors.Is(err, errOver):
		return nil
	case err != nil:
		return fmt.Errorf("deadletter: settle: %w", err)
	}
	r.Desk.Metrics.count(f, 1)
	return nil
}

const skipSQL = `
WITH skipped AS (
    UPDATE replay_letter
    SET state = 'skipped', why = $4, at = now()
    WHERE replay_id = $1 AND state = 'waiting' AND class = $2 AND ($3 = '' OR package_id = $3)
      AND EXISTS (SELECT FROM replay WHERE id = $1 AND state = 'running')
    RETURNING position
)
UPDATE replay
SET skipped = skipped + (SELECT count(*) FROM skipped), note = $4
WHERE id = $1 AND EXISTS (SELECT FROM skipped)
RETURNING (SELECT count(*) FROM skipped)`

// skip leaves all letters of a class as they are, or those of one package: why is what has
// stopped them.
func (r *Replayer) skip(ctx context.Context, job Replay, class, packageID, why string) error {
	var n int
	err := pgx.BeginFunc(ctx, r.Desk.DB, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockReplaySQL, job.ID); err != nil {
			return err
		}
		return tx.QueryRow(ctx, skipSQL, job.ID, class, packageID, why).Scan(&n)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("deadletter: skip: %w", err)
	}
	r.Desk.Metrics.count(Skipped, n)
	r.Desk.Log.WarnContext(ctx, "replay stopped in part", "replay_id", job.ID, "class", class, "letters", n, "why", why)
	return nil
}
