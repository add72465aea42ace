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
	"esimflow/internal/seal"
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

// Store keeps sagas in Postgres. Nothing but Apply, ApplyWith, Accept and Announce changes a
// state.
type Store struct {
	db      *pgxpool.Pool
	metrics *Metrics
	sharing sharing
	keys    *seal.Keys // for what is secret in it; nil: it is stored as it is

	digestKey []byte // that erased requests are recognised with; nil: it is not known
}

// NewStore returns a store over db.
func NewStore(db *pgxpool.Pool, m *Metrics) *Store {
	st := &Store{db: db, metrics: m}
	st.sharing.commit = st.apply
	return st
}

// Sealed has the store encrypt what is secret from now on, and decrypt what is encrypted. It is
// for before the store is used; with nil keys it changes nothing.
func (st *Store) Sealed(keys *seal.Keys) *Store {
	st.keys = keys
	return st
}

const answerSQL = `
INSERT INTO saga_answer (saga_id, attempt, status, body)
VALUES ($1, $2, $3, $4)`

const letterSQL = `
INSERT INTO dead_letter (id, kind, saga_id, request_id, package_id, iccid, code, class, reason, state,
                         attempts, purchased, replayable, subject, sequence, headers, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
ON CONFLICT (id) DO NOTHING`

// commitTimeout bounds one try to write.
const commitTimeout = 15 * time.Second

// Apply writes a decision: the saga, its history, its messages and its dead letter, in one
// commit, which it shares with whatever else there is to write. It expects the owner and
// version that the decision was made on; if they have changed, nothing is written and the
// error is ErrConflict.
//
// Any other error may hide a commit whose answer was lost: see Applied.
func (st *Store) Apply(ctx context.Context, d Decision) error {
	return st.sharing.add(ctx, d, nil).wait(ctx)
}

// apply commits decisions that share a commit. If somebody has locked one of the sagas, that
// one is passed by; if Postgres refuses what is in one, or that has to wait for somebody else's
// order, each is written alone: so that it troubles nobody else.
func (st *Store) apply(batch []*shared) {
	start := time.Now()
	span := beginShared(batch)
	decisions := decisionsOf(batch)
	w, err := st.write(context.Background(), decisions, false)
	if isLocked(err) {
		w, err = st.write(context.Background(), decisions, true)
	}
	st.metrics.committed(commitDecisions, len(batch), time.Since(start))
	span.end(len(w.moved), err)
	if len(batch) > 1 && (isOfOne(err) || isLocked(err)) {
		for _, one := range batch {
			st.apply([]*shared{one})
		}
		return
	}
	for _, one := range batch {
		id := one.decision.id()
		switch {
		case err != nil:
			one.end(translate("apply", err))
		case w.moved[id]:
			st.metrics.moved(one.decision)
			one.end(nil)
		case w.locked[id]:
			one.end(errLocked)
		default:
			st.metrics.conflict()
			one.end(ErrConflict)
		}
	}
}

// errLocked: nothing was written, because somebody else has locked the saga. For a moment,
// unless they are frozen.
var errLocked = errors.New("saga: somebody else has it locked")

// isLocked reports that a lock was not to be had, or only by a deadlock.
func isLocked(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == "55P03" || pg.Code == "40P01")
}

// isOfOne reports an error that one decision of many may be to blame for: its content, or
// a time-out of the statement.
func isOfOne(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return IsData(err) || ok && pg.Code == "57014"
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
	_, err := st.db.Exec(ctx, answerSQL, id, attempt, a.Status, st.sealAnswer(id, a.Body))
	return translate("keep answer", err)
}

const nowSQL = `SELECT now()`

// Now is Postgres's time.
func (st *Store) Now(ctx context.Context) (now time.Time, err error) {
	err = st.db.QueryRow(ctx, nowSQL).Scan(&now)
	return now, translate("now", err)
}

const goneSQL = `
SELECT removed_before
FROM retention`

// GoneBefore is the moment such that sagas of requests from before it may have left after RETENTION; zero if none has.
func (st *Store) GoneBefore(ctx context.Context) (time.Time, error) {
	var before *time.Time
	err := st.db.QueryRow(ctx, goneSQL).Scan(&before)
	return deref(before), translate("gone before", err)
}

// Release gives a saga back unmoved, to be claimed at due. It is no transition: nothing
// happened to it, and its history does not mention it.
func (st *Store) Release(ctx context.Context, s Saga, due time.Time) error {
	if s.State == Submitting {
		return ErrConflict // what became of its submission comes first
	}
	d := Decision{Before: s, After: s}
	d.After.Worker, d.After.DueAt = uuid.Nil, due
	d.After.Version++
	return st.Apply(ctx, d)
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

// errUnwritable: there is no way to write down what is to be written.
var errUnwritable = errors.New("saga: it cannot be written down")

// IsData reports an error that is due to what is written (SQLSTATE classes 22 and 23, or what
// does not even get there), and not to Postgres's condition.
func IsData(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return errors.Is(err, errUnwritable) || ok && (strings.HasPrefix(pg.Code, "22") || strings.HasPrefix(pg.Code, "23"))
}
