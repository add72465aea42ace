package saga

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/message"
)

// What was begun goes first, new requests after it, and each in the order in which they
// were due. The stage is the state for as long as anybody polls for it; it is named here
// although the argument names it too: the partial indexes are used only if it is. A state of
// a newer version is not among these, and is left alone. The array keeps the planner from
// expecting many, and reading whole tables. Of paused kinds, $4, nothing pending is taken but
// to give up; that is looked for only where something is closed. Then new requests of the
// other kinds, $5, are found by the index of what waits, which has the kind: however many
// paused ones wait in front, nobody steps over them.
const claimSQL = `
WITH begun AS (
    SELECT id
    FROM saga
    WHERE worker IS NULL AND (stage IN ('unknown', 'polling') OR stage = 'pending' AND failures > 0) AND due_at <= now()
      AND (stage = ANY($2) OR deadline_at <= now())
      AND (stage <> 'pending' OR kind <> ALL($4) OR deadline_at <= now())
    ORDER BY due_at
    LIMIT $3
    FOR UPDATE SKIP LOCKED
), fresh AS (
    SELECT id
    FROM saga
    WHERE worker IS NULL AND stage = 'pending' AND failures = 0 AND due_at <= now() AND 'pending' = ANY($2)
      AND cardinality($4::text[]) = 0
    ORDER BY due_at
    LIMIT $3 - (SELECT count(*) FROM begun)
    FOR UPDATE SKIP LOCKED
), unpaused AS (
    SELECT one.id
    FROM unnest($5::text[]) AS open (kind), LATERAL (
        SELECT id
        FROM saga
        WHERE CASE WHEN worker IS NULL THEN stage IN ('pending', 'unknown', 'polling') END
          AND stage = 'pending' AND saga.kind = open.kind AND failures = 0 AND due_at <= now() AND 'pending' = ANY($2)
        ORDER BY deadline_at
        LIMIT $3 - (SELECT count(*) FROM begun)
        FOR UPDATE SKIP LOCKED
    ) AS one
    LIMIT $3 - (SELECT count(*) FROM begun)
), late AS (
    SELECT id
    FROM saga
    WHERE worker IS NULL AND stage = 'pending' AND failures = 0 AND deadline_at <= now()
      AND ('pending' <> ALL($2) OR cardinality($4::text[]) > 0) AND ('pending' <> ALL($2) OR kind = ANY($4))
    ORDER BY deadline_at
    LIMIT $3 - (SELECT count(*) FROM begun) - (SELECT count(*) FROM fresh) - (SELECT count(*) FROM unpaused)
    FOR UPDATE SKIP LOCKED
), s AS (
    UPDATE saga
    SET worker = $1, version = version + 1, updated_at = now()
    WHERE id = ANY(ARRAY(SELECT id FROM begun UNION ALL SELECT id FROM fresh UNION ALL SELECT id FROM unpaused UNION ALL SELECT id FROM late))
      AND EXISTS (SELECT FROM worker WHERE id = $1 AND expires_at > now())
    RETURNING saga.*
)
SELECT` + columns + `
FROM s` + wholeSaga

const nextDueSQL = `
SELECT COALESCE(EXTRACT(EPOCH FROM LEAST(
    (SELECT MIN(due_at)
     FROM saga
     WHERE worker IS NULL AND (stage IN ('unknown', 'polling') OR stage = 'pending' AND failures > 0) AND stage = ANY($1)
       AND (stage <> 'pending' OR kind <> ALL($2::text[]))),
    (SELECT MIN(due_at)
     FROM saga
     WHERE worker IS NULL AND stage = 'pending' AND failures = 0 AND 'pending' = ANY($1) AND cardinality($2::text[]) = 0)
) - now()), 3600)::float8`

// Plans are kept, and one made while a table was small must not scan it when it is large.
const plannedSQL = `SELECT set_config('enable_seqscan', 'off', true)`

// Claim takes up to n due sagas in these states for a worker whose lease runs: first those
// that were begun, which are bought, or may be, or were submitted in vain; however many new
// ones wait, they do not wait behind them. Sagas past their deadline are taken in any
// state: giving up needs no open lane. Pending ones of paused kinds wait likewise. It also
// returns how long it is until the next one in these states is due; an hour if there is none.
// While a kind is paused, new requests do not count in that: whoever let one go knows.
func (st *Store) Claim(ctx context.Context, worker uuid.UUID, states []State, n int, paused ...message.Kind) (sagas []Saga, next time.Duration, err error) {
	open := []message.Kind{}
	if len(paused) > 0 {
		open = slices.DeleteFunc(message.Kinds(), func(k message.Kind) bool { return slices.Contains(paused, k) })
	}
	// Empty, and not NULL, which nothing is equal or unequal to.
	if states == nil {
		states = []State{}
	}
	if paused == nil {
		paused = []message.Kind{}
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	var b pgx.Batch // one round trip is one transaction
	b.Queue(plannedSQL)
	b.Queue(claimSQL, worker, states, n, paused, open).Query(func(rows pgx.Rows) (err error) {
		sagas, err = st.collect(rows, nil)
		return err
	})
	b.Queue(nextDueSQL, states, paused).QueryRow(func(row pgx.Row) error {
		var seconds float64
		err := row.Scan(&seconds)
		next = time.Duration(seconds * float64(time.Second))
		return err
	})
	if err := st.db.SendBatch(ctx, &b).Close(); err != nil {
		return nil, 0, translate("claim", err)
	}
	return sagas, next, nil
}

const recallSQL = `
WITH far AS (
    SELECT id, now() + CASE state WHEN 'pending' THEN $1 WHEN 'unknown' THEN $2 + look_delay ELSE $2 END AS due_at
    FROM saga
    WHERE worker IS NULL AND stage IN ('pending', 'unknown', 'polling') AND due_at > now() + least($1::interval, $2::interval)
      AND due_at > now() + CASE state WHEN 'pending' THEN $1 WHEN 'unknown' THEN $2 + look_delay ELSE $2 END
    ORDER BY due_at DESC
    LIMIT 1000
)
UPDATE saga
SET due_at = far.due_at, version = version + 1, updated_at = now()
FROM far
WHERE saga.id = far.id AND saga.due_at > far.due_at AND worker IS NULL AND stage IN ('pending', 'unknown', 'polling')`

// Recall makes sagas due in at most that time, pending ones and others, and returns how
// many were not; a thousand at a time. Whoever waits to look has its own delay on top, which
// is not cut short. It is no transition: nothing happened to them.
func (st *Store) Recall(ctx context.Context, pending, others time.Duration) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	tag, err := st.db.Exec(ctx, recallSQL, pending, others)
	return tag.RowsAffected(), translate("recall", err)
}

// As for claims, a state of a newer version is not among these.
const abandonedSQL = `
SELECT` + columns + `
FROM saga s` + wholeSaga + `
WHERE s.worker IS NOT NULL AND s.state IN ('pending', 'submitting', 'unknown', 'polling')
  AND NOT EXISTS (SELECT FROM worker w WHERE w.id = s.worker AND w.expires_at > now())
LIMIT 1000`

// Abandoned lists sagas whose worker's lease has run out.
func (st *Store) Abandoned(ctx context.Context) ([]Saga, error) {
	sagas, err := st.collect(st.db.Query(ctx, abandonedSQL))
	return sagas, translate("abandoned", err)
}

const heldBySQL = `
SELECT` + columns + `
FROM saga s` + wholeSaga + `
WHERE s.worker = $1 AND s.state IN ('pending', 'submitting', 'unknown', 'polling')`

// HeldBy lists the sagas that a worker holds according to Postgres.
func (st *Store) HeldBy(ctx context.Context, worker uuid.UUID) ([]Saga, error) {
	sagas, err := st.collect(st.db.Query(ctx, heldBySQL, worker))
	return sagas, translate("held by", err)
}
