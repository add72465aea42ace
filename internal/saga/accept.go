package saga

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// acceptSQL inserts the sagas whose key is not on record yet, with what belongs to them, and
// returns which they were.
const acceptSQL = `
WITH fresh AS (
    INSERT INTO saga (id, kind, request_id, state, worker, due_at, deadline_at, reference, fingerprint,
                      package_id, quantity, iccid, attempts, tries, intent_at, intent_deadline, requested_at)
    SELECT *
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::timestamptz[], $7::timestamptz[], $8::text[], $9::text[],
                $10::text[], $11::int[], $12::text[], $13::int[], $14::int[], $15::timestamptz[], $16::timestamptz[], $17::timestamptz[])
    ON CONFLICT ON CONSTRAINT saga_key DO NOTHING
    RETURNING id
), request AS (
    INSERT INTO saga_request (saga_id, subject, sequence, headers, body, metadata)
    SELECT r.*
    FROM unnest($1::uuid[], $18::text[], $19::bigint[], $20::json[], $21::bytea[], $22::bytea[])
      AS r(saga_id, subject, sequence, headers, body, metadata)
    WHERE r.saga_id IN (SELECT id FROM fresh)
), history AS (
    INSERT INTO saga_history (saga_id, version, event, to_state, attempt, due_at)
    SELECT h.*
    FROM unnest($1::uuid[], $23::bigint[], $24::text[], $4::text[], $13::int[], $25::timestamptz[])
      AS h(saga_id, version, event, to_state, attempt, due_at)
    WHERE h.saga_id IN (SELECT id FROM fresh)
)
SELECT id
FROM fresh`

const knownSQL = `
SELECT k.n, saga.id, saga.fingerprint
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k(kind, request_id, n)
JOIN saga ON saga.kind = k.kind AND saga.request_id = k.request_id`

// Known is what is on record for a request's key.
type Known struct {
	ID          uuid.UUID
	Fingerprint string
}

// Accept inserts accepted sagas, in one commit, and returns what is then on record under
// each one's key: its own id if it is new, an earlier saga's if it is not. The insert is
// the acceptance.
//
// After an error they may have been inserted all the same.
func (st *Store) Accept(ctx context.Context, accepted []Decision) ([]Known, error) {
	args, err := acceptArguments(accepted)
	if err != nil {
		return nil, err
	}
	fresh := map[uuid.UUID]bool{}
	var b pgx.Batch // one round trip is one transaction
	b.Queue(durableSQL, lockTimeout)
	b.Queue(acceptSQL, args...).Query(func(rows pgx.Rows) error {
		return collectInto(fresh, rows)
	})
	start := time.Now()
	span := beginCommit(ctx, commitRequests, len(accepted))
	err = st.db.SendBatch(ctx, &b).Close()
	st.metrics.committed(commitRequests, len(accepted), time.Since(start))
	span.end(len(fresh), err)
	if err != nil {
		return nil, translate("accept", err)
	}
	known := make([]Known, len(accepted))
	for i, d := range accepted {
		if fresh[d.id()] {
			known[i] = Known{d.id(), d.After.Fingerprint}
		}
	}
	if len(fresh) == len(accepted) {
		return known, nil
	}
	return known, st.known(ctx, accepted, known)
}

// known fills in those that were on record before.
func (st *Store) known(ctx context.Context, accepted []Decision, known []Known) error {
	rows, err := st.db.Query(ctx, knownSQL, column(accepted, func(d Decision) string { return string(d.After.Kind) }),
		column(accepted, func(d Decision) string { return d.After.RequestID }))
	if err != nil {
		return translate("known", err)
	}
	var n int
	var k Known
	_, err = pgx.ForEachRow(rows, []any{&n, &k.ID, &k.Fingerprint}, func() error {
		known[n-1] = k
		return nil
	})
	if err != nil {
		return translate("known", err)
	}
	for i, k := range known {
		if k.ID == uuid.Nil {
			return fmt.Errorf("saga: accept: request %d of %d was neither inserted nor found", i+1, len(known))
		}
	}
	return nil
}

func acceptArguments(accepted []Decision) ([]any, error) {
	headers := make(pgtype.FlatArray[json.RawMessage], len(accepted))
	for i, d := range accepted {
		var err error
		if headers[i], err = json.Marshal(orEmptyHeader(d.After.Source.Header)); err != nil {
			return nil, fmt.Errorf("saga: request's headers: %w", err)
		}
	}
	return []any{
		column(accepted, Decision.key),
		column(accepted, func(d Decision) string { return string(d.After.Kind) }),
		column(accepted, func(d Decision) string { return d.After.RequestID }),
		column(accepted, func(d Decision) string { return string(d.After.State) }),
		column(accepted, func(d Decision) pgtype.UUID { return nullUUID(d.After.Worker) }),
		column(accepted, func(d Decision) pgtype.Timestamptz { return nullTime(d.After.DueAt) }),
		column(accepted, func(d Decision) time.Time { return d.After.DeadlineAt }),
		column(accepted, func(d Decision) string { return d.After.Reference }),
		column(accepted, func(d Decision) string { return d.After.Fingerprint }),
		column(accepted, func(d Decision) string { return d.After.PackageID }),
		column(accepted, func(d Decision) int { return d.After.Quantity }),
		column(accepted, func(d Decision) pgtype.Text { return nullText(d.After.ICCID) }),
		column(accepted, func(d Decision) int { return d.After.Attempts }),
		column(accepted, func(d Decision) int { return d.After.Tries }),
		column(accepted, func(d Decision) pgtype.Timestamptz { return nullTime(d.After.IntentAt) }),
		column(accepted, func(d Decision) pgtype.Timestamptz { return nullTime(d.After.IntentDeadline) }),
		column(accepted, func(d Decision) time.Time { return d.After.RequestedAt }),
		column(accepted, func(d Decision) string { return d.After.Source.Subject }),
		column(accepted, func(d Decision) int64 { return int64(d.After.Source.Sequence) }),
		headers,
		column(accepted, func(d Decision) []byte { return orEmptyBytes(d.After.Source.Body) }),
		column(accepted, func(d Decision) []byte { return orEmptyBytes(d.After.Source.Metadata) }),
		column(accepted, func(d Decision) int64 { return d.Entry.Version }),
		column(accepted, func(d Decision) string { return string(d.Entry.Event) }),
		column(accepted, func(d Decision) pgtype.Timestamptz { return nullTime(d.Entry.DueAt) }),
	}, nil
}

// collectInto adds the ids that a statement returns.
func collectInto(ids map[uuid.UUID]bool, rows pgx.Rows) error {
	var id uuid.UUID
	_, err := pgx.ForEachRow(rows, []any{&id}, func() error {
		ids[id] = true
		return nil
	})
	return err
}
