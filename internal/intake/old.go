package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/message"
	"esimflow/internal/saga"
)

// decide finds out what becomes of the requests that were understood, and accepts those
// that are new.
func (c *Consumer) decide(ctx context.Context, arrivals []*arrival) error {
	rest, err := c.recall(ctx, arrivals)
	if err != nil {
		return err
	}
	return c.accept(ctx, rest)
}

const recallSQL = `
SELECT request_id, id, fingerprint
FROM saga
WHERE kind = $1 AND request_id = ANY($2)`

// recall decides on requests that are so old that a saga of theirs may have left after
// RETENTION, and returns the others. Such a request is on record, or what became of it is
// not known; never is it accepted.
//
// What has left was announced a turn of retention's ago, much longer than it takes from
// here to the end of accept: commitTimeout. Young requests are not asked about at all.
func (c *Consumer) recall(ctx context.Context, arrivals []*arrival) (rest []*arrival, _ error) {
	young := c.Lease.Now().Add(-c.Young)
	isOld := func(a *arrival) bool { return a.letter.ID == "" && a.meta.Timestamp.Before(young) }
	if !slices.ContainsFunc(arrivals, isOld) {
		return arrivals, nil
	}
	before, err := c.Store.GoneBefore(ctx)
	if err != nil {
		return nil, fmt.Errorf("intake: what has left: %w", err)
	}
	var old []*arrival
	for _, a := range arrivals {
		if isOld(a) && a.meta.Timestamp.Before(before) {
			old = append(old, a)
		} else {
			rest = append(rest, a)
		}
	}
	if len(old) == 0 {
		return rest, nil
	}
	onRecord, err := c.onRecord(ctx, old)
	if err != nil {
		return nil, err
	}
	sagas, known := make([]saga.Saga, len(old)), make([]saga.Known, len(old))
	for i, a := range old {
		sagas[i], known[i] = a.decision.After, onRecord[a.decision.After.RequestID]
	}
	if err := c.Store.Erased(ctx, sagas, known); err != nil {
		return nil, err
	}
	for i, a := range old {
		if known[i].ID != uuid.Nil {
			a.compare(known[i])
		} else {
			a.expire(before)
		}
	}
	return rest, nil
}

// onRecord finds the sagas of requests.
func (c *Consumer) onRecord(ctx context.Context, arrivals []*arrival) (map[string]saga.Known, error) {
	onRecord := map[string]saga.Known{}
	err := pgx.BeginFunc(ctx, c.DB, func(tx pgx.Tx) error {
		if err := saga.Durable(ctx, tx); err != nil { // which keeps the plan from scanning
			return err
		}
		rows, err := tx.Query(ctx, recallSQL, c.Kind, requestIDs(arrivals))
		if err != nil {
			return err
		}
		var requestID, fingerprint string
		var id uuid.UUID
		_, err = pgx.ForEachRow(rows, []any{&requestID, &id, &fingerprint}, func() error {
			onRecord[requestID] = saga.Known{ID: id, Fingerprint: fingerprint}
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("intake: recall: %w", err)
	}
	return onRecord, nil
}

// expire refuses a request of which it is not known any more whether it was handled.
// Publishing its bytes again would make a new request of it and buy blindly, so it cannot be
// replayed; its key may be that of a request that was fulfilled, so upstream is told nothing.
func (a *arrival) expire(before time.Time) {
	s := a.decision.After
	a.reject(s.Kind, saga.CodeExpired, saga.ClassExpired, s.RequestID, fmt.Sprintf(
		"it reached the stream at %s and is not on record, and requests from before %s may have left the record after RETENTION: "+
			"if upstream has no result for it, it should send it again",
		a.meta.Timestamp.UTC().Format(time.RFC3339), before.UTC().Format(time.RFC3339)))
	a.letter.Purchased, a.letter.Replayable = message.PurchasedUnknown, false
}

// errLeft says that a request that was just taken for a duplicate has no saga any more.
var errLeft = errors.New("intake: the saga of a duplicate has left meanwhile")

const repeatSQL = `
UPDATE saga_request r
SET repeated_at = d.at
FROM (
    SELECT s.id, max(d.at) AS at
    FROM unnest($2::text[], $3::timestamptz[]) AS d(request_id, at)
    JOIN saga s ON s.kind = $1 AND s.request_id = d.request_id
    WHERE d.at > s.requested_at
    GROUP BY s.id
) d
WHERE r.saga_id = d.id AND (r.repeated_at IS NULL OR r.repeated_at < d.at)`

// It is its own statement: it has to see what has left while the one before it waited.
const leftSQL = `
SELECT count(*)
FROM unnest($2::text[]) AS d(request_id)
WHERE NOT EXISTS (SELECT FROM saga WHERE kind = $1 AND saga.request_id = d.request_id)`

// remember notes of sagas that another message with their key has arrived: they must not
// leave before that one is too old to be accepted. What is only delivered again changes
// nothing.
func (c *Consumer) remember(ctx context.Context, arrivals []*arrival) error {
	again := slices.DeleteFunc(slices.Clone(arrivals), func(a *arrival) bool {
		return a.result != resultDuplicate && a.result != saga.CodeConflict || a.erased // which is known for ever
	})
	if len(again) == 0 {
		return nil
	}
	times := make([]time.Time, len(again))
	for i, a := range again {
		times[i] = a.meta.Timestamp
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	var left int
	err := pgx.BeginTxFunc(ctx, c.DB, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if err := saga.Durable(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, repeatSQL, c.Kind, requestIDs(again), times); err != nil {
			return err
		}
		return tx.QueryRow(ctx, leftSQL, c.Kind, requestIDs(again)).Scan(&left)
	})
	switch {
	case err != nil:
		return fmt.Errorf("intake: remember: %w", err)
	case left > 0:
		return errLeft
	}
	return nil
}

func requestIDs(arrivals []*arrival) []string {
	ids := make([]string, len(arrivals))
	for i, a := range arrivals {
		ids[i] = a.decision.After.RequestID
	}
	return ids
}
