package saga

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"esimflow/internal/message"
	"esimflow/internal/outbox"
)

// Why a write changed nothing.
var (
	// ErrConflict: somebody else has moved the saga, or holds it.
	ErrConflict = errors.New("saga: it was moved by somebody else")
	// ErrICCIDBusy: another top-up of the same ICCID is in flight or unresolved.
	ErrICCIDBusy = errors.New("saga: another top-up of this ICCID is in flight")
	// ErrOrderOwned: another saga owns that PressOne order.
	ErrOrderOwned = errors.New("saga: another saga owns this order")
	// ErrNotFound: there is no such saga.
	ErrNotFound = errors.New("saga: not found")
)

// Store keeps sagas in Postgres. Nothing but Apply, Accept and Announce changes a state.
type Store struct {
	db      *pgxpool.Pool
	metrics *Metrics
}

// NewStore returns a store over db.
func NewStore(db *pgxpool.Pool, m *Metrics) *Store { return &Store{db: db, metrics: m} }

const updateSQL = `
UPDATE saga
SET state = $4, version = $5, worker = $6, due_at = $7, deadline_at = $8,
    attempts = $9, tries = $10, failures = $11, looks = $12, look_delay = $13,
    intent_at = $14, intent_deadline = $15, order_id = $16,
    stopped_in = $17, ends = $18, updated_at = now()
WHERE id = $1 AND version = $2 AND worker IS NOT DISTINCT FROM $3`

const historySQL = `
INSERT INTO saga_history (saga_id, version, event, from_state, to_state, attempt, code, seen, due_at, actor, reason)
VALUES ($1, $2, $3, NULLIF($4, ''), $5, $6, $7, $8, $9, $10, $11)`

const purchaseSQL = `
INSERT INTO saga_purchase (saga_id, data)
VALUES ($1, $2)
ON CONFLICT (saga_id) DO UPDATE SET data = excluded.data`

const answerSQL = `
INSERT INTO saga_answer (saga_id, attempt, status, body)
VALUES ($1, $2, $3, $4)`

const letterSQL = `
INSERT INTO dead_letter (id, kind, saga_id, request_id, package_id, iccid, code, class, reason, state,
                         attempts, purchased, replayable, subject, sequence, headers, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
ON CONFLICT (id) DO NOTHING`

const resolveSQL = `
UPDATE dead_letter
SET status = $2, actor = $3, note = $4, resolved_at = now()
WHERE saga_id = $1 AND status = 'open'`

// durableSQL makes this commit durable whatever the database's default: what follows it,
// a POST or an ack, cannot be taken back. And it keeps a transaction whose process is
// frozen half-way from holding its locks against everybody else.
const durableSQL = `
SELECT set_config('synchronous_commit', 'on', true),
       set_config('lock_timeout', '5s', true),
       set_config('idle_in_transaction_session_timeout', '10s', true)`

// Durable makes the commit of tx durable and bounds its locks, as Apply does its own.
func Durable(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, durableSQL)
	return err
}

// commitTimeout bounds one try to write.
const commitTimeout = 15 * time.Second

// Apply writes decisions about one saga, each made on the one before, in one commit: the
// saga, its history, its messages and its dead letter. It expects the owner and version
// that the first was made on; if they have changed, nothing is written and the error is
// ErrConflict.
//
// Any other error may hide a commit whose answer was lost: see Applied.
func (st *Store) Apply(ctx context.Context, decisions ...Decision) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	err := pgx.BeginFunc(ctx, st.db, func(tx pgx.Tx) error {
		for _, d := range decisions {
			if err := apply(ctx, tx, d); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, ErrConflict):
		st.metrics.conflict()
		return err
	case err != nil:
		return translate("apply", err)
	}
	for _, d := range decisions {
		st.metrics.moved(d)
	}
	return nil
}

func apply(ctx context.Context, tx pgx.Tx, d Decision) error {
	var b pgx.Batch
	b.Queue(durableSQL)
	s := d.After
	b.Queue(updateSQL, s.ID, d.Before.Version, nullUUID(d.Before.Worker),
		s.State, s.Version, nullUUID(s.Worker), nullTime(s.DueAt), s.DeadlineAt,
		s.Attempts, s.Tries, s.Failures, s.Looks, s.LookDelay,
		nullTime(s.IntentAt), nullTime(s.IntentDeadline), nullInt(s.OrderID),
		s.StoppedIn, s.Ends)
	queueEntry(&b, s.ID, d.Entry)
	if s.Purchase != nil && s.Purchase != d.Before.Purchase {
		b.Queue(purchaseSQL, s.ID, s.Purchase)
	}
	if d.Answer != nil {
		b.Queue(answerSQL, s.ID, s.Attempts, d.Answer.Status, d.Answer.Body)
	}
	if d.Resolved != "" {
		b.Queue(resolveSQL, s.ID, d.Resolved, d.Entry.Actor, d.Entry.Reason)
	}
	if d.DeadLetter != nil {
		QueueLetter(&b, *d.DeadLetter, s.PackageID, s.ICCID)
	}
	outbox.Queue(&b, d.Messages...)

	results := tx.SendBatch(ctx, &b)
	if _, err := results.Exec(); err != nil {
		return errors.Join(err, results.Close())
	}
	tag, err := results.Exec()
	if err == nil && tag.RowsAffected() == 0 {
		_ = results.Close() // what came after it failed or will be rolled back
		return ErrConflict
	}
	return errors.Join(err, results.Close())
}

func queueEntry(b *pgx.Batch, id uuid.UUID, e Entry) {
	b.Queue(historySQL, id, e.Version, e.Event, e.From, e.To, e.Attempt, e.Code, e.Seen, nullTime(e.DueAt), e.Actor, e.Reason)
}

// QueueLetter adds the insertion of a dead letter to b, which does nothing if that letter
// is on record. Bytes that never became a saga have no SagaID.
func QueueLetter(b *pgx.Batch, l message.DeadLetter, packageID, iccid string) *pgx.QueuedQuery {
	var sagaID *string
	if l.SagaID != "" {
		sagaID = &l.SagaID
	}
	return b.Queue(letterSQL, l.ID, l.Kind, sagaID, l.RequestID, packageID, iccid, l.Code, l.Class, l.Reason, l.State,
		l.Attempts, l.Purchased, l.Replayable, l.SourceSubject, int64(l.SourceSequence), orEmptyHeader(l.Header), orEmptyBytes(l.Body))
}

const appliedSQL = `
SELECT EXISTS (SELECT FROM saga_history WHERE saga_id = $1 AND version = $2 AND event = $3 AND attempt = $4)`

// Applied reports whether a decision whose commit's answer was lost was committed after
// all. The history tells: nobody else writes that event as that version.
func (st *Store) Applied(ctx context.Context, d Decision) (bool, error) {
	var yes bool
	err := st.db.QueryRow(ctx, appliedSQL, d.After.ID, d.Entry.Version, d.Entry.Event, d.Entry.Attempt).Scan(&yes)
	return yes, translate("applied", err)
}

// KeepAnswer keeps PressOne's answer to a submission although the saga is no longer ours
// to move: it is evidence, and a lost 200 is a lost product.
func (st *Store) KeepAnswer(ctx context.Context, id uuid.UUID, attempt int, a Answer) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	_, err := st.db.Exec(ctx, answerSQL, id, attempt, a.Status, a.Body)
	return translate("keep answer", err)
}

const releaseSQL = `
UPDATE saga
SET worker = NULL, version = version + 1, due_at = $4, updated_at = now()
WHERE id = $1 AND version = $2 AND worker IS NOT DISTINCT FROM $3 AND state <> 'submitting'`

// Release gives a saga back unmoved, to be claimed at due. It is no transition: nothing
// happened to it.
func (st *Store) Release(ctx context.Context, s Saga, due time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	tag, err := st.db.Exec(ctx, releaseSQL, s.ID, s.Version, nullUUID(s.Worker), due)
	if err == nil && tag.RowsAffected() == 0 {
		return ErrConflict
	}
	return translate("release", err)
}

// translate names the constraint that a write ran into.
func translate(what string, err error) error {
	if err == nil {
		return nil
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "23505" {
		switch pg.ConstraintName {
		case "saga_topup_in_flight":
			return ErrICCIDBusy
		case "saga_order":
			return ErrOrderOwned
		}
	}
	return fmt.Errorf("saga: %s: %w", what, err)
}

// IsData reports an error that is due to what is written (SQLSTATE classes 22 and 23),
// and not to Postgres's condition.
func IsData(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (strings.HasPrefix(pg.Code, "22") || strings.HasPrefix(pg.Code, "23"))
}
