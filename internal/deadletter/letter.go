package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"esimflow/internal/message"
)

// ErrNotFound says that there is no such dead letter.
var ErrNotFound = errors.New("deadletter: not found")

// Letter is one stop of a request.
type Letter struct {
	ID         uuid.UUID         `json:"id"`
	Kind       message.Kind      `json:"kind"`
	SagaID     *uuid.UUID        `json:"saga_id"` // null for bytes that never became a saga
	RequestID  string            `json:"request_id"`
	PackageID  string            `json:"package_id"`
	ICCID      string            `json:"iccid" db:"iccid"`
	Code       string            `json:"code"`
	Class      string            `json:"class"`
	Reason     string            `json:"reason"`
	State      string            `json:"state"` // where the saga stopped
	Attempts   int               `json:"attempts"`
	Purchased  message.Purchased `json:"purchased"`
	Replayable bool              `json:"replayable"`
	CreatedAt  time.Time         `json:"created_at"`
	Status     string            `json:"status"` // open, replayed, adopted, confirmed_absent, discarded
	ResolvedAt *time.Time        `json:"resolved_at"`
	Actor      string            `json:"actor"` // who resolved it,
	Note       string            `json:"note"`  // and why
	Subject    string            `json:"subject"`
	Sequence   int64             `json:"sequence"`
	Headers    nats.Header       `json:"headers,omitempty"` // these two are not in lists
	Body       []byte            `json:"body,omitempty"`    // as it arrived; base64 in JSON
}

const columns = `
    id, kind, saga_id, request_id, package_id, iccid, code, class, reason, state, attempts, purchased,
    replayable, created_at, status, resolved_at, actor, note, subject, sequence`

// Filter chooses letters. Empty fields choose all.
type Filter struct {
	IDs     []uuid.UUID   `json:"ids,omitempty"`
	Kind    message.Kind  `json:"kind,omitempty"`
	Code    string        `json:"code,omitempty"`
	Class   string        `json:"class,omitempty"`
	Package string        `json:"package,omitempty"`
	ICCID   string        `json:"iccid,omitempty"`
	Older   time.Duration `json:"older,omitempty"` // than that, nanoseconds in JSON
}

// Empty reports whether f chooses everything.
func (f Filter) Empty() bool {
	return len(f.IDs) == 0 && f.Kind == "" && f.Code == "" && f.Class == "" && f.Package == "" && f.ICCID == "" && f.Older <= 0
}

// chosen is the condition that a filter puts on letters l, with its arguments.
const chosen = `
    ($1::uuid[] IS NULL OR l.id = ANY($1))
AND ($2 = '' OR l.kind = $2)
AND ($3 = '' OR l.code = $3)
AND ($4 = '' OR l.class = $4)
AND ($5 = '' OR l.package_id = $5)
AND ($6 = '' OR l.iccid = $6)
AND l.created_at <= now() - $7::interval`

// arguments are $1 to $7 of chosen, and what comes behind them.
func (f Filter) arguments(more ...any) []any {
	return append([]any{f.IDs, string(f.Kind), f.Code, f.Class, f.Package, f.ICCID, f.Older}, more...)
}

const listSQL = `
SELECT` + columns + `, '{}'::json AS headers, ''::bytea AS body
FROM dead_letter l
WHERE` + chosen + `
AND ($8 = '' OR status = $8)
ORDER BY created_at, id
LIMIT $9`

// Desk is where operators work on dead letters.
type Desk struct {
	Config

	book    priceBook
	started chan struct{} // a replay was started here
}

// List returns up to limit letters, oldest first; status "" is any.
func (d *Desk) List(ctx context.Context, f Filter, status string, limit int) ([]Letter, error) {
	rows, err := d.DB.Query(ctx, listSQL, f.arguments(status, limit)...)
	if err != nil {
		return nil, fmt.Errorf("deadletter: list: %w", err)
	}
	letters, err := pgx.CollectRows(rows, pgx.RowToStructByName[Letter])
	if err != nil {
		return nil, fmt.Errorf("deadletter: list: %w", err)
	}
	return letters, nil
}

const getSQL = `
SELECT` + columns + `, headers, body
FROM dead_letter
WHERE id = $1`

// Get returns one letter whole, or ErrNotFound.
func (d *Desk) Get(ctx context.Context, id uuid.UUID) (Letter, error) {
	rows, err := d.DB.Query(ctx, getSQL, id)
	if err != nil {
		return Letter{}, fmt.Errorf("deadletter: get: %w", err)
	}
	l, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Letter])
	if errors.Is(err, pgx.ErrNoRows) {
		return Letter{}, ErrNotFound
	}
	if err != nil {
		return Letter{}, fmt.Errorf("deadletter: get: %w", err)
	}
	return l, nil
}

const copiesSQL = `
SELECT id, dlq_sequence
FROM dead_letter
WHERE id = ANY($1) AND dlq_sequence IS NOT NULL`

// Copies tells where on ESIM_DLQ the copies of letters are.
func Copies(db *pgxpool.Pool) func(ctx context.Context, letters []uuid.UUID) (map[uuid.UUID]uint64, error) {
	return func(ctx context.Context, letters []uuid.UUID) (map[uuid.UUID]uint64, error) {
		at := map[uuid.UUID]uint64{}
		rows, err := db.Query(ctx, copiesSQL, letters)
		if err != nil {
			return nil, fmt.Errorf("deadletter: copies: %w", err)
		}
		var id uuid.UUID
		var seq int64
		_, err = pgx.ForEachRow(rows, []any{&id, &seq}, func() error {
			at[id] = uint64(seq)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("deadletter: copies: %w", err)
		}
		return at, nil
	}
}

const copiedSQL = `
UPDATE dead_letter
SET dlq_sequence = $2
WHERE id = $1`

// Copied notes where on ESIM_DLQ a letter's copy is, in the caller's transaction.
func Copied(b *pgx.Batch, letter uuid.UUID, sequence uint64) {
	b.Queue(copiedSQL, letter, int64(sequence))
}
