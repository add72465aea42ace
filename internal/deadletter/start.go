package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"esimflow/internal/saga"
)

// NewReplay is what an operator asks for.
type NewReplay struct {
	Filter
	By
	Rate float64 `json:"rate,omitempty"` // letters a second, at the most; 0: DefaultRate
	// Expect is how many letters the operator has been told would be released. If it is
	// another number by now, nothing is started. 0: whatever there are.
	Expect int `json:"expect,omitempty"`
}

// Rates, in letters a second.
const (
	DefaultRate = 50
	MostRate    = 1000
	leastRate   = 1.0 / 3600
)

// ErrRate refuses a rate.
var ErrRate = fmt.Errorf("deadletter: the rate has to be one an hour to %d a second", MostRate)

// ErrNoneMatch says that there is nothing to replay.
var ErrNoneMatch = errors.New("deadletter: no open dead letter matches")

// ramp is how many letters the first seconds of a replay release.
var ramp = []int{1, 5, 20, 80, 320}

const startSQL = `
WITH job AS (
    INSERT INTO replay (id, actor, reason, filter, rate, ramp, letters, refused)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    RETURNING id
)
INSERT INTO replay_letter (replay_id, position, letter_id, saga_id, kind, request_id, package_id, code, class, purchased,
                           price, currency, state, why, at)
SELECT job.id, s.position, s.letter_id, s.saga_id, s.kind, s.request_id, s.package_id, s.code, s.class, s.purchased,
       NULLIF(s.price, '')::numeric, s.currency, CASE WHEN s.why = '' THEN 'waiting' ELSE 'refused' END, s.why,
       CASE WHEN s.why <> '' THEN now() END
FROM job, unnest($9::uuid[], $10::uuid[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
                 $18::text[], $19::text[])
  WITH ORDINALITY AS s(letter_id, saga_id, kind, request_id, package_id, code, class, purchased, price, currency, why, position)
ORDER BY s.position
ON CONFLICT (letter_id) WHERE state = 'waiting' DO NOTHING`

// Those that somebody else has put into a replay a moment ago.
const lateSQL = `
WITH late AS (
    INSERT INTO replay_letter (replay_id, position, letter_id, saga_id, kind, request_id, package_id, code, class, purchased,
                               price, currency, state, why, at)
    SELECT $1, s.position, s.letter_id, s.saga_id, s.kind, s.request_id, s.package_id, s.code, s.class, s.purchased,
           NULLIF(s.price, '')::numeric, s.currency, 'refused', 'another replay has got it a moment ago', now()
    FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                $11::text[], $12::text[])
      WITH ORDINALITY AS s(letter_id, saga_id, kind, request_id, package_id, code, class, purchased, price, currency, why, position)
    WHERE NOT EXISTS (SELECT FROM replay_letter WHERE replay_id = $1 AND position = s.position)
    RETURNING letter_id
)
UPDATE replay
SET refused = refused + (SELECT count(*) FROM late)
WHERE id = $1
RETURNING letters - refused`

// Start freezes the set of letters that n chooses, as a replay that a worker takes up. It
// is refused if none of them can be replayed, and if they are not as many as expected.
func (d *Desk) Start(ctx context.Context, n NewReplay) (Replay, error) {
	n.Actor, n.Reason = saga.Clean(n.Actor), saga.Clean(n.Reason)
	if n.Rate == 0 {
		n.Rate = DefaultRate
	}
	if !(n.Rate >= leastRate) || n.Rate > MostRate || math.IsInf(n.Rate, 0) {
		return Replay{}, ErrRate
	}
	set, err := d.candidates(ctx, n.Filter)
	if err != nil {
		return Replay{}, err
	}
	willing, why := 0, ""
	for _, c := range set {
		if c.why == "" {
			willing++
		} else {
			why = c.why
		}
	}
	switch {
	case len(set) == 0:
		return Replay{}, ErrNoneMatch
	case willing == 0 && len(set) == 1:
		return Replay{}, &saga.RefusedError{Why: why}
	case willing == 0:
		return Replay{}, &saga.RefusedError{Why: fmt.Sprintf("all %d are refused: see the preview", len(set))}
	case n.Expect != 0 && n.Expect != willing:
		return Replay{}, &saga.RefusedError{Why: fmt.Sprintf("%d would be replayed by now, not %d: look again", willing, n.Expect)}
	}
	d.price(ctx, set)
	id := uuid.Must(uuid.NewV7())
	if err := d.freeze(ctx, id, n, set, len(set)-willing); err != nil {
		return Replay{}, err
	}
	d.Log.InfoContext(ctx, "replay started", "replay_id", id, "letters", len(set), "refused", len(set)-willing,
		"rate", n.Rate, "actor", n.Actor, "reason", n.Reason)
	select {
	case d.started <- struct{}{}:
	default:
	}
	return d.replayByID(ctx, id)
}

// freeze writes the replay and its set in one commit.
func (d *Desk) freeze(ctx context.Context, id uuid.UUID, n NewReplay, set []candidate, refused int) error {
	filter, err := json.Marshal(n.Filter)
	if err != nil {
		return fmt.Errorf("deadletter: start: %w", err)
	}
	columns := frozen(set)
	err = pgx.BeginFunc(ctx, d.DB, func(tx pgx.Tx) error {
		if err := saga.Durable(ctx, tx); err != nil {
			return err
		}
		args := append([]any{id, n.Actor, n.Reason, filter, n.Rate, ramp, len(set), refused}, columns...)
		if _, err := tx.Exec(ctx, startSQL, args...); err != nil {
			return err
		}
		var left int
		if err := tx.QueryRow(ctx, lateSQL, append([]any{id}, columns...)...).Scan(&left); err != nil {
			return err
		}
		if left == 0 {
			return &saga.RefusedError{Why: "another replay has got them all a moment ago"}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("deadletter: start: %w", err)
	}
	return nil
}

// frozen is the set column by column.
func frozen(set []candidate) []any {
	return []any{
		column(set, func(c candidate) uuid.UUID { return c.ID }),
		column(set, func(c candidate) *uuid.UUID { return c.SagaID }),
		column(set, func(c candidate) string { return string(c.Kind) }),
		column(set, func(c candidate) string { return c.RequestID }),
		column(set, func(c candidate) string { return c.PackageID }),
		column(set, func(c candidate) string { return c.Code }),
		column(set, func(c candidate) string { return c.Class }),
		column(set, func(c candidate) string { return string(c.Purchased) }),
		column(set, func(c candidate) string { return c.price.text() }),
		column(set, func(c candidate) string { return c.price.currency }),
		column(set, func(c candidate) string { return c.why }),
	}
}

func column[R, T any](rows []R, value func(R) T) pgtype.FlatArray[T] {
	all := make(pgtype.FlatArray[T], len(rows))
	for i, r := range rows {
		all[i] = value(r)
	}
	return all
}
