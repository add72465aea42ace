package saga

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/message"
)

// Summary is a saga as operators see it: everything but what installs an eSIM.
type Summary struct {
	ID          uuid.UUID    `json:"id"`
	Kind        message.Kind `json:"kind"`
	RequestID   string       `json:"request_id"`
	State       State        `json:"state"`
	Version     int64        `json:"version"`
	PackageID   string       `json:"package_id"`
	Quantity    int          `json:"quantity"`
	ICCID       string       `json:"iccid,omitempty" db:"iccid"`
	Reference   string       `json:"reference"` // PressOne's description
	Attempts    int          `json:"attempts"`
	OrderID     int64        `json:"order_id,omitempty"`
	Worker      *uuid.UUID   `json:"worker,omitempty"`
	DueAt       *time.Time   `json:"due_at,omitempty"`
	DeadlineAt  time.Time    `json:"deadline_at"`
	Ends        int          `json:"ends"`
	RequestedAt time.Time    `json:"requested_at"`
	CreatedAt   time.Time    `json:"created_at"`
	UpdatedAt   time.Time    `json:"updated_at"`
}

// ListFilter chooses sagas. Empty fields choose all.
type ListFilter struct {
	ID        *uuid.UUID
	Kind      message.Kind
	State     State
	RequestID string
	ICCID     string
	OrderID   int64
	Limit     int
}

const summaryColumns = `
    id, kind, request_id, state, version, package_id, quantity, COALESCE(iccid, '') AS iccid, reference, attempts,
    COALESCE(order_id, 0) AS order_id, worker, due_at, deadline_at, ends, requested_at, created_at, updated_at`

const listSQL = `
SELECT` + summaryColumns + `
FROM saga
WHERE ($1::uuid IS NULL OR id = $1)
  AND ($2 = '' OR kind = $2)
  AND ($3 = '' OR state = $3)
  AND ($4 = '' OR request_id = $4)
  AND ($5 = '' OR iccid = $5)
  AND ($6 = 0::bigint OR order_id = $6)
ORDER BY id DESC
LIMIT $7`

// List returns sagas, the youngest first.
func (st *Store) List(ctx context.Context, f ListFilter) ([]Summary, error) {
	rows, err := st.db.Query(ctx, listSQL, f.ID, f.Kind, f.State, f.RequestID, f.ICCID, f.OrderID, f.Limit)
	if err != nil {
		return nil, translate("list", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Summary])
	return all, translate("list", err)
}

const timelineSQL = `
SELECT version, at, event, COALESCE(from_state, '') AS from, to_state AS to, attempt, code, seen,
       COALESCE(due_at, '0001-01-01 00:00+00') AS due_at, actor, reason
FROM saga_history
WHERE saga_id = $1
ORDER BY version`

// Timeline returns everything that happened to a saga.
func (st *Store) Timeline(ctx context.Context, id uuid.UUID) ([]Entry, error) {
	rows, err := st.db.Query(ctx, timelineSQL, id)
	if err != nil {
		return nil, translate("timeline", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Entry])
	return all, translate("timeline", err)
}

// The condition is that of the index saga_unrecognized.
const unrecognizedSQL = `
SELECT count(*)
FROM saga
WHERE stage NOT IN ('pending', 'submitting', 'unknown', 'polling', 'dead_lettered', 'discarded')`

// Unrecognized counts the sagas in states that this version does not know: a newer one
// has written them, and they are left alone.
func (st *Store) Unrecognized(ctx context.Context) (int, error) {
	var n int
	if err := st.db.QueryRow(ctx, unrecognizedSQL).Scan(&n); err != nil {
		return 0, translate("unrecognized", err)
	}
	st.metrics.unrecognized.Set(float64(n))
	return n, nil
}
