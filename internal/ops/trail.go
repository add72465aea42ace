package ops

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"esimflow/internal/saga"
)

// Recorded is an action on record.
type Recorded struct {
	ID      uuid.UUID  `json:"id"`
	At      time.Time  `json:"at"`
	Actor   string     `json:"actor"`
	Role    Role       `json:"role"`
	How     string     `json:"how"`    // token, oidc, cli, loopback
	What    string     `json:"what"`   // adopt, discard, pause, reveal, log_in, …
	Target  string     `json:"target"` // of what: an id, a lane, a kind, a filter
	Reason  string     `json:"reason"`
	Result  string     `json:"result"` // done, refused, failed; empty: not known, it goes on or was cut short
	Note    string     `json:"note"`   // why it was refused, or what came of it
	EndedAt *time.Time `json:"ended_at"`
}

// What came of an action.
const (
	resultDone    = "done"
	resultRefused = "refused" // nothing was changed
	resultFailed  = "failed"  // it may have been done: what it was about has its own record
)

// Trail is the record of what was asked for, which is only ever appended to.
type Trail struct {
	DB  *pgxpool.Pool
	Log *slog.Logger
}

const beginSQL = `
INSERT INTO action (id, actor, role, how, what, target, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7)`

const endSQL = `
INSERT INTO action_result (action_id, result, note)
VALUES ($1, $2, $3)`

// Begin records that an action is about to be done. It is on disk when Begin returns; what
// cannot be recorded must not be done.
func (t Trail) Begin(ctx context.Context, a Recorded) (uuid.UUID, error) {
	id := uuid.Must(uuid.NewV7())
	err := pgx.BeginFunc(ctx, t.DB, func(tx pgx.Tx) error {
		if err := saga.Durable(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, beginSQL, id, a.Actor, string(a.Role), a.How, a.What, brief(a.Target), brief(a.Reason))
		return err
	})
	if err != nil {
		return id, fmt.Errorf("ops: %s cannot be recorded, and so is not done: %w", a.What, err)
	}
	return id, nil
}

// endTimeout is how long recording what came of an action may take.
const endTimeout = 10 * time.Second

// End records what came of an action. It has happened, whether whoever asked still listens or not.
func (t Trail) End(ctx context.Context, id uuid.UUID, result, note string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if _, err := t.DB.Exec(ctx, endSQL, id, result, brief(note)); err != nil {
		t.Log.ErrorContext(ctx, "what came of an action is not on record", "action_id", id, "result", result, "err", err)
	}
}

// Was records what has been done already, by itself: a log-in, a log-out.
func (t Trail) Was(ctx context.Context, a Recorded) error {
	id, err := t.Begin(ctx, a)
	if err != nil {
		return err
	}
	t.End(ctx, id, resultDone, "")
	return nil
}

// mostNoted is how much is kept of what people and errors say, in runes.
const mostNoted = 500

// brief is text fit for the record: without control characters, not too long, and without what
// looks like an activation code.
func brief(s string) string {
	r := []rune(hide(saga.Clean(s)))
	if len(r) > mostNoted {
		r = append(r[:mostNoted-1], '…')
	}
	return string(r)
}

// TrailFilter chooses actions. The zero value chooses the latest.
type TrailFilter struct {
	Actor string // empty: everybody's
	What  string // empty: everything
	// Before are the moment and the id of the action that a page ended with; nil: the first page.
	Before   *time.Time
	BeforeID uuid.UUID
	Limit    int
}

const listSQL = `
SELECT a.id, a.at, a.actor, a.role, a.how, a.what, a.target, a.reason,
       COALESCE(e.result, '') AS result, COALESCE(e.note, '') AS note, e.at AS ended_at
FROM action a
LEFT JOIN action_result e ON e.action_id = a.id
WHERE ($1 = '' OR a.actor = $1) AND ($2 = '' OR a.what = $2)
  AND ($3::timestamptz IS NULL OR (a.at, a.id) < ($3, $4::uuid))
ORDER BY a.at DESC, a.id DESC
LIMIT $5`

// List returns actions, the latest first.
func (t Trail) List(ctx context.Context, f TrailFilter) ([]Recorded, error) {
	rows, err := t.DB.Query(ctx, listSQL, f.Actor, f.What, f.Before, f.BeforeID, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("ops: trail: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Recorded])
	if err != nil {
		return nil, fmt.Errorf("ops: trail: %w", err)
	}
	return all, nil
}
