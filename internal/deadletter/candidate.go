package deadletter

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/message"
)

// candidate is a letter that a filter has chosen, with what decides whether it is
// replayed, and at what cost.
type candidate struct {
	ID         uuid.UUID
	SagaID     *uuid.UUID
	Kind       message.Kind
	RequestID  string
	PackageID  string
	Code       string
	Class      string
	Purchased  message.Purchased
	Replayable bool
	Status     string
	ResolvedAt *time.Time
	Actor      string
	Quantity   int        // 0 without a saga
	ReplayID   *uuid.UUID // the open replay that it is in

	why   string // why it is refused, if it is
	price price
}

const candidateColumns = `
SELECT l.id, l.saga_id, l.kind, l.request_id, l.package_id, l.code, l.class, l.purchased, l.replayable, l.status,
       l.resolved_at, l.actor, COALESCE(s.quantity, 0) AS quantity, w.replay_id
FROM dead_letter l
LEFT JOIN saga s ON s.id = l.saga_id
LEFT JOIN replay_letter w ON w.letter_id = l.id AND w.state = 'waiting'`

// The open ones; but whoever names a letter is told why it cannot be replayed.
const (
	openCandidatesSQL  = candidateColumns + "\nWHERE l.status = 'open' AND" + chosen + inOrder
	namedCandidatesSQL = candidateColumns + "\nWHERE l.id = ANY($1) AND" + chosen + inOrder
	inOrder            = `
ORDER BY l.created_at, l.id
LIMIT $8`
)

// mostLetters is how many letters one replay has at the most.
const mostLetters = 50_000

// candidates are the letters that f chooses, oldest first, with why those are refused that
// are, and without prices.
func (d *Desk) candidates(ctx context.Context, f Filter) ([]candidate, error) {
	if f.Empty() {
		return nil, ErrEmptyFilter
	}
	sql := openCandidatesSQL
	if len(f.IDs) > 0 {
		sql = namedCandidatesSQL
	}
	rows, err := d.DB.Query(ctx, sql, f.arguments(mostLetters+1)...)
	if err != nil {
		return nil, fmt.Errorf("deadletter: candidates: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByNameLax[candidate])
	switch {
	case err != nil:
		return nil, fmt.Errorf("deadletter: candidates: %w", err)
	case len(all) > mostLetters:
		return nil, ErrTooMany
	}
	for i := range all {
		c := &all[i]
		c.why = refusal(c.letter(), len(f.IDs) == 1)
		if c.why == "" && c.ReplayID != nil {
			c.why = inReplay(*c.ReplayID)
		}
	}
	return all, nil
}

// letter is as much of the letter as deciding about it takes.
func (c *candidate) letter() Letter {
	return Letter{
		ID: c.ID, SagaID: c.SagaID, Kind: c.Kind, RequestID: c.RequestID, PackageID: c.PackageID, Code: c.Code, Class: c.Class,
		Purchased: c.Purchased, Replayable: c.Replayable, Status: c.Status, ResolvedAt: c.ResolvedAt, Actor: c.Actor,
	}
}

func inReplay(id uuid.UUID) string { return fmt.Sprintf("it is in replay %s, which is under way", id) }

// buys reports whether releasing it may spend money.
func (c *candidate) buys() bool { return c.Purchased != message.PurchasedYes }
