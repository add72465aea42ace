package deadletter

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

const takeUpSQL = `
UPDATE replay
SET started_at = COALESCE(started_at, now()), worker = $2
WHERE id = $1 AND state = 'running'`

const noteSQL = `
UPDATE replay
SET note = left($2, 1000)
WHERE id = $1 AND state = 'running'`

// What the replay says in the end is what stopped letters, if anything did.
const finishSQL = `
UPDATE replay
SET state = 'done', finished_at = now(),
    note = COALESCE((SELECT left(string_agg(DISTINCT why, '; '), 1000) FROM replay_letter WHERE replay_id = $1 AND state = 'skipped'), '')
WHERE id = $1 AND state = 'running' AND done + refused + failed + skipped = letters`

// beat is one second of one replay: it stops what has become hopeless, releases as many
// letters as the pace allows, and says what the rest waits for.
func (r *Replayer) beat(ctx context.Context, job Replay, p *progress) error {
	if job.Worker != r.Holder {
		if _, err := r.Desk.DB.Exec(ctx, takeUpSQL, job.ID, r.Holder); err != nil {
			return fmt.Errorf("deadletter: take up: %w", err)
		}
	}
	if err := r.heed(ctx, job, job.CreatedAt); err != nil {
		return err
	}
	if !r.Desk.open(pressone.LaneWrite) {
		p.pace = pace{} // no stampede when it opens
		return r.note(ctx, job, p, "waiting: ordering at PressOne is closed")
	}
	shelves, err := r.shelves(ctx, job, p.cleared)
	if err != nil {
		return err
	}
	p.cleared = shelves.cleared
	released, waits, err := r.allow(ctx, job, shelves, p.pace.next(job.Rate, job.Ramp))
	p.pace.used(released)
	if err != nil {
		return err
	}
	paused, err := r.pausedOf(ctx, job.ID)
	if err != nil {
		return err
	}
	for _, kind := range paused {
		waits = append(waits, fmt.Sprintf("waiting: %s is paused", kind))
	}
	if len(shelves.awaited) > 0 {
		waits = append(waits, "waiting for the first order of "+strings.Join(shelves.awaited, ", "))
	}
	tag, err := r.Desk.DB.Exec(ctx, finishSQL, job.ID)
	if err != nil {
		return fmt.Errorf("deadletter: finish: %w", err)
	}
	if tag.RowsAffected() > 0 {
		delete(r.jobs, job.ID)
		r.Desk.Log.InfoContext(ctx, "replay done", "replay_id", job.ID)
		return nil
	}
	return r.note(ctx, job, p, strings.Join(waits, "; "))
}

// mostTurns is how many letters have their turn in a second, refused ones included.
const mostTurns = 2 * MostRate

// allow releases up to quota letters. Those that are refused cost nothing, so others get
// their turn. It returns how many were released, and what the rest waits for.
func (r *Replayer) allow(ctx context.Context, job Replay, c canaries, quota int) (released int, waits []string, _ error) {
	for turns := 0; released < quota && turns < mostTurns; {
		letters, err := r.due(ctx, job.ID, c, quota-released)
		if err != nil {
			return released, waits, err
		}
		t, err := r.release(ctx, job, letters, quota-released)
		released, waits, turns = released+t.released, t.waits, turns+t.had
		if err != nil || t.held || t.had < len(letters) && t.released < quota || t.had == 0 {
			return released, waits, err
		}
	}
	return released, waits, nil
}

// note says why a replay waits, if that has changed.
func (r *Replayer) note(ctx context.Context, job Replay, p *progress, note string) error {
	if note == p.note && note == job.Note || note == "" && strings.HasPrefix(job.Note, "stopped: ") {
		return nil // what stopped some of its letters stays to be seen
	}
	if _, err := r.Desk.DB.Exec(ctx, noteSQL, job.ID, note); err != nil {
		return fmt.Errorf("deadletter: note: %w", err)
	}
	p.note = note
	return nil
}

// What is not bought, of a kind that is paused.
const pausedSQL = `
SELECT DISTINCT kind
FROM replay_letter
WHERE replay_id = $1 AND state = 'waiting' AND purchased = 'no' AND kind = ANY($2)
ORDER BY kind`

// pausedOf lists the kinds for which letters of a replay wait that operators have paused: all that is released of
// these would wait for the resumption, and be submitted at once.
func (r *Replayer) pausedOf(ctx context.Context, job uuid.UUID) ([]message.Kind, error) {
	paused := r.Desk.paused()
	if len(paused) == 0 {
		return nil, nil
	}
	rows, err := r.Desk.DB.Query(ctx, pausedSQL, job, paused)
	if err != nil {
		return nil, fmt.Errorf("deadletter: paused: %w", err)
	}
	kinds, err := pgx.CollectRows(rows, pgx.RowTo[message.Kind])
	if err != nil {
		return nil, fmt.Errorf("deadletter: paused: %w", err)
	}
	return kinds, nil
}

// The letters that lacked credit are chosen apart: while they wait, others go on.
const dueSQL = `
SELECT position, letter_id, saga_id, kind, package_id, class, COALESCE(price::text, '') AS price, currency
FROM replay_letter
WHERE replay_id = $1 AND state = 'waiting' AND (class = 'insufficient_credit') = $2
  AND (class <> 'out_of_stock' OR package_id = ANY($3) OR position = ANY($4))
  AND (purchased <> 'no' OR kind <> ALL($5))
ORDER BY position
LIMIT $6`

// due are the letters whose turn it is, but for the purse: up to n of those that lacked
// credit, and up to n others, in their order.
func (r *Replayer) due(ctx context.Context, job uuid.UUID, c canaries, n int) ([]due, error) {
	var all []due
	paused := r.Desk.paused()
	for _, credit := range []bool{false, true} {
		rows, err := r.Desk.DB.Query(ctx, dueSQL, job, credit, orEmpty(c.cleared), orEmpty(c.first), orEmpty(paused), n)
		if err != nil {
			return nil, fmt.Errorf("deadletter: due: %w", err)
		}
		some, err := pgx.CollectRows(rows, pgx.RowToStructByName[due])
		if err != nil {
			return nil, fmt.Errorf("deadletter: due: %w", err)
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, func(a, b due) int { return cmp.Compare(a.Position, b.Position) })
	return all, nil
}

// turns is what came of giving letters their turns.
type turns struct {
	had      int // how many have had theirs
	released int // how many of them were moved
	held     bool
	waits    []string // what those wait for that were held
}

// release gives letters their turns until quota of them are released.
func (r *Replayer) release(ctx context.Context, job Replay, letters []due, quota int) (t turns, err error) {
	for _, l := range letters {
		if t.released >= quota || ctx.Err() != nil {
			return t, ctx.Err()
		}
		if l.Class == pressone.ClassInsufficientCredit {
			if t.held {
				continue
			}
			v, why, err := r.afford(ctx, job, l)
			if err != nil {
				r.Desk.Log.WarnContext(ctx, "replay", "replay_id", job.ID, "err", err)
			}
			switch v {
			case hold:
				t.held, t.waits = true, append(t.waits, why)
				continue
			case poor:
				if err := r.settle(ctx, job, l, Skipped, "stopped: the balance is too low: "+why); err != nil {
					return t, err
				}
				t.had++
				continue
			case lone:
				t.held, t.waits = true, append(t.waits, oneAtATime)
			case release:
			}
		}
		if err := r.hold(ctx); err != nil {
			return t, err
		}
		fate, err := r.move(ctx, job, l)
		if err != nil {
			return t, err
		}
		if fate == "" { // it is over, or somebody else is at it: the next second will tell
			return t, nil
		}
		t.had++
		if fate == Released {
			t.released++
		}
	}
	return t, nil
}
