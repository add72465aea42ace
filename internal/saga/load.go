package saga

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
	"esimflow/internal/seal"
)

// row is a saga as Postgres has it.
type row struct {
	ID             uuid.UUID
	Kind           message.Kind
	RequestID      string
	State          State
	Version        int64
	Worker         *uuid.UUID
	DueAt          *time.Time
	DeadlineAt     time.Time
	Reference      string
	Fingerprint    string
	PackageID      string
	Quantity       int
	ICCID          *string `db:"iccid"`
	Attempts       int
	Tries          int
	Failures       int
	Looks          int
	LookDelay      time.Duration
	IntentAt       *time.Time
	IntentDeadline *time.Time
	OrderID        *int64
	StoppedIn      State
	Ends           int
	RequestedAt    time.Time
	CreatedAt      time.Time

	Subject  string
	Sequence int64
	Headers  nats.Header
	Body     []byte
	Metadata []byte
	Data     *Purchase
	Sealed   []byte
	WipedAt  *time.Time
	Answers  [][]byte
}

// columns are the row's, from what wholeSaga joins: saga s, its request r, its purchase p.
// The answers to its submission are read only where they say what was bought.
const columns = `
    s.id, s.kind, s.request_id, s.state, s.version, s.worker, s.due_at, s.deadline_at,
    s.reference, s.fingerprint, s.package_id, s.quantity, s.iccid,
    s.attempts, s.tries, s.failures, s.looks, s.look_delay, s.intent_at, s.intent_deadline,
    s.order_id, s.stopped_in, s.ends, s.requested_at, s.created_at,
    r.subject, r.sequence, r.headers, r.body, r.metadata, p.data, p.sealed, p.wiped_at,
    (SELECT array_agg(body)
     FROM saga_answer
     WHERE p.saga_id IS NULL AND s.order_id IS NOT NULL AND saga_id = s.id AND status BETWEEN 200 AND 299) AS answers`

const wholeSaga = `
JOIN saga_request r ON r.saga_id = s.id
LEFT JOIN saga_purchase p ON p.saga_id = s.id`

func (st *Store) saga(r row) Saga {
	bought, err := st.recorded(r)
	st.metrics.opened(err)
	return Saga{
		ID: r.ID, Kind: r.Kind, RequestID: r.RequestID, State: r.State, Version: r.Version,
		Worker: deref(r.Worker), DueAt: deref(r.DueAt), DeadlineAt: r.DeadlineAt,
		Reference: r.Reference, Fingerprint: r.Fingerprint, PackageID: r.PackageID, Quantity: r.Quantity,
		ICCID: deref(r.ICCID), Attempts: r.Attempts, Tries: r.Tries, Failures: r.Failures,
		Looks: r.Looks, LookDelay: r.LookDelay, IntentAt: deref(r.IntentAt), IntentDeadline: deref(r.IntentDeadline),
		OrderID: deref(r.OrderID), StoppedIn: r.StoppedIn, Ends: r.Ends,
		RequestedAt: r.RequestedAt, CreatedAt: r.CreatedAt, Purchase: bought, Wiped: r.WipedAt != nil,
		KeyGone: errors.Is(err, seal.ErrKeyMissing),
		Source: Source{
			Subject: r.Subject, Sequence: uint64(r.Sequence), Header: r.Headers, Body: r.Body,
			Metadata: json.RawMessage(r.Metadata),
		},
	}
}

// recorded is what is known to be bought: what is on record, or what PressOne's answer to
// the submission said. An answer that names another order is not about this one. What cannot be
// opened is not known, and the error says why: PressOne is asked again by whoever has to know.
func (st *Store) recorded(r row) (_ *Purchase, missing error) {
	if r.Data != nil { // if there is a sealed one too, a version before has written this after it
		return r.Data, nil
	}
	if r.Sealed != nil {
		return st.openPurchase(r.ID, r.Sealed)
	}
	for _, kept := range r.Answers {
		answer, err := st.openAnswer(r.ID, kept)
		if err != nil {
			missing = err
			continue
		}
		if o, err := pressone.ReadOrder(answer); err == nil && o.ID == deref(r.OrderID) {
			return &Purchase{Order: o, answered: true}, nil
		}
	}
	return nil, missing
}

func (st *Store) collect(rows pgx.Rows, err error) ([]Saga, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (Saga, error) {
		found, err := pgx.RowToStructByName[row](r)
		return st.saga(found), err
	})
}

const getSQL = `
SELECT` + columns + `
FROM saga s` + wholeSaga + `
WHERE s.id = $1`

// Get reads one saga. The error is ErrNotFound if there is none.
func (st *Store) Get(ctx context.Context, id uuid.UUID) (Saga, error) {
	found, err := st.collect(st.db.Query(ctx, getSQL, id))
	if err == nil && len(found) == 0 {
		return Saga{}, ErrNotFound
	}
	if err != nil {
		return Saga{}, translate("get", err)
	}
	return found[0], nil
}

const ownedSQL = `
SELECT order_id
FROM saga
WHERE order_id = ANY($1) AND id <> $2`

// Owned tells which of these PressOne orders belong to other sagas than id.
func (st *Store) Owned(ctx context.Context, orders []int64, id uuid.UUID) (map[int64]bool, error) {
	rows, err := st.db.Query(ctx, ownedSQL, orders, id)
	if err != nil {
		return nil, translate("owned", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, translate("owned", err)
	}
	owned := map[int64]bool{}
	for _, n := range ids {
		owned[n] = true
	}
	return owned, nil
}

// The condition is that of the index saga_topup_in_flight.
const busySQL = `
SELECT COALESCE(due_at, now())
FROM saga
WHERE kind = 'topup' AND stage IN ('submitting', 'unknown') AND iccid = $1 AND id <> $2`

// Busy reports whether another top-up of the same ICCID is in flight or unresolved, and
// when something may happen to it.
func (st *Store) Busy(ctx context.Context, s Saga) (until time.Time, busy bool, err error) {
	err = st.db.QueryRow(ctx, busySQL, s.ICCID, s.ID).Scan(&until)
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, false, nil
	}
	return until, err == nil, translate("busy", err)
}

// The condition is that of the index saga_topup_unresolved.
const rivalsSQL = `
SELECT COALESCE(bool_or(state = 'submitting' AND intent_deadline > $3 AND intent_at < $4), false) AS in_flight,
       COALESCE(bool_or(state <> 'submitting' AND intent_deadline > $3 AND intent_at < $4), false) AS unresolved,
       COALESCE(bool_or(state = 'submitting'), false) AS busy,
       COALESCE(bool_or(iccid = $5 AND intent_deadline > $3 AND intent_at < $4), false) AS same,
       (SELECT removed_before FROM retention) AS gone_before
FROM saga
WHERE kind = 'topup' AND (stage IN ('submitting', 'unknown') OR stopped_in = 'unknown')
  AND package_id = $1 AND id <> $2`

// Rivals tells of other top-ups of the same package that are in flight or unresolved,
// dead-lettered and discarded ones included: an order that names no ICCID could be theirs.
// The time is that in which ours can have been made.
func (st *Store) Rivals(ctx context.Context, s Saga, since, until time.Time) (Rivals, error) {
	var v Rivals
	var gone *time.Time
	err := st.db.QueryRow(ctx, rivalsSQL, s.PackageID, s.ID, since, until, s.ICCID).Scan(
		&v.InFlight, &v.Unresolved, &v.Busy, &v.Same, &gone)
	v.GoneBefore = deref(gone)
	return v, translate("rivals", err)
}
