package saga

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"esimflow/internal/message"
)

// ErrTooMuch says that what was looked for would take reading too much of the table.
var ErrTooMuch = errors.New("saga: too many sagas would have to be looked at: narrow it down")

// PageFilter chooses sagas, a page at a time. Empty fields choose all.
type PageFilter struct {
	Kind   message.Kind
	State  State
	Before uuid.UUID // the last one of the page before; Nil for the first page
	Limit  int
}

// All of these are planned anew each time, by how many sagas are in that state: few are looked
// for in an index, many by the primary key, where they are soon found. This one has the index
// saga_troubled.
const pageSQL = `
SELECT` + summaryColumns + `
FROM saga
WHERE ($1 = '' OR kind = $1)
  AND ($2 = '' OR state = $2)
  AND ($2 NOT IN ('unknown', 'dead_lettered', 'discarded') OR stage = $2)
  AND ($3::uuid IS NULL OR id < $3)
ORDER BY id DESC
LIMIT $4`

// The first condition is that of the index saga_waiting, word for word; the second one's is
// saga_held.
const movingPageSQL = `
SELECT` + summaryColumns + `
FROM (
    (SELECT * FROM saga
     WHERE CASE WHEN worker IS NULL THEN stage IN ('pending', 'unknown', 'polling') END
       AND stage = $2 AND ($1 = '' OR kind = $1) AND ($3::uuid IS NULL OR id < $3)
     ORDER BY id DESC
     LIMIT $4)
    UNION ALL
    (SELECT * FROM saga
     WHERE worker IS NOT NULL
       AND state = $2 AND ($1 = '' OR kind = $1) AND ($3::uuid IS NULL OR id < $3)
     ORDER BY id DESC
     LIMIT $4)
) AS moving
ORDER BY id DESC
LIMIT $4`

// What is to be announced is in the outbox.
const notifyingPageSQL = `
SELECT` + summaryColumns + `
FROM saga
WHERE id IN (SELECT saga_id FROM outbox WHERE saga_id IS NOT NULL)
  AND state = $2 AND ($1 = '' OR kind = $1) AND ($3::uuid IS NULL OR id < $3)
ORDER BY id DESC
LIMIT $4`

// patienceSQL is how long a look through the sagas for an operator may take: the sagas
// themselves go first.
const patienceSQL = `SELECT set_config('statement_timeout', '3s', true)`

// Page returns a page of sagas, the youngest first. The error is ErrTooMuch if they are too
// few among too many.
func (st *Store) Page(ctx context.Context, f PageFilter) ([]Summary, error) {
	var before *uuid.UUID
	if f.Before != uuid.Nil {
		before = &f.Before
	}
	sql := pageSQL
	switch f.State {
	case Pending, Submitting, Polling:
		sql = movingPageSQL
	case Notifying:
		sql = notifyingPageSQL
	case Unknown, Completed, DeadLettered, Discarded:
	}
	return st.look(ctx, "page", sql, string(f.Kind), string(f.State), before, f.Limit)
}

// Each condition has an index: the unique keys, and saga_iccid.
const searchSQL = `
SELECT` + summaryColumns + `
FROM saga
WHERE id IN (
    SELECT id FROM saga WHERE id = $1
    UNION SELECT id FROM saga WHERE kind IN ('order', 'topup') AND request_id = $2
    UNION SELECT id FROM saga WHERE reference = $2
    UNION SELECT id FROM saga WHERE order_id = ANY($3)
    UNION (SELECT id FROM saga WHERE iccid = $2 ORDER BY id DESC LIMIT $4)
)
ORDER BY id DESC
LIMIT $4`

// Search returns the sagas that a text names: by id, request id, reference, or a top-up's
// ICCID; and those that own one of these PressOne orders.
func (st *Store) Search(ctx context.Context, text string, orders []int64, limit int) ([]Summary, error) {
	var id *uuid.UUID
	if parsed, err := uuid.Parse(text); err == nil {
		id = &parsed
	}
	return st.look(ctx, "search", searchSQL, id, text, orders, limit)
}

func (st *Store) look(ctx context.Context, what, sql string, args ...any) (all []Summary, err error) {
	err = pgx.BeginTxFunc(ctx, st.db, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, patienceSQL); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, sql, append([]any{pgx.QueryExecModeCacheDescribe}, args...)...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, pgx.RowToStructByName[Summary])
		return err
	})
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "57014" {
		return nil, ErrTooMuch
	}
	return all, translate(what, err)
}

// Tally is how many sagas wait in one state.
type Tally struct {
	State  State
	Count  int
	Oldest time.Time // when the one that was accepted first was accepted; zero: there is none
}

// MostTallied is where counting stops: a count that exceeds it means more than that.
const MostTallied = 100_000

// Read from the partial indexes by which work is found, so that finished sagas cost nothing,
// and no more of a backlog than $1 rows of each. The first of those that are due is
// about the oldest. Sagas whose result is to be announced are counted in the outbox.
const tallySQL = `
SELECT state, count(*)::int AS count, min(created_at) AS oldest
FROM (
    (SELECT state, created_at FROM saga
     WHERE worker IS NULL AND stage = 'pending' AND failures = 0
     ORDER BY due_at LIMIT $1)
    UNION ALL
    (SELECT state, created_at FROM saga
     WHERE worker IS NULL AND (stage IN ('unknown', 'polling') OR stage = 'pending' AND failures > 0)
     ORDER BY due_at LIMIT $1)
    UNION ALL
    (SELECT state, created_at FROM saga WHERE worker IS NOT NULL LIMIT $1)
    UNION ALL
    (SELECT 'notifying', created_at FROM outbox WHERE saga_id IS NOT NULL ORDER BY id LIMIT $1)
) AS open
GROUP BY state`

// Tallies counts the sagas that somebody but an operator is to move, by state. States
// without any are left out.
func (st *Store) Tallies(ctx context.Context) ([]Tally, error) {
	rows, err := st.db.Query(ctx, tallySQL, MostTallied+1)
	if err != nil {
		return nil, translate("tallies", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Tally])
	return all, translate("tallies", err)
}

// Minute is what was accepted in one minute, and how that stands now.
type Minute struct {
	Ago       int // in minutes: 0 is the one that has just begun
	Accepted  int
	Completed int
	Stopped   int // dead-lettered or discarded
}

// By the primary key, whose ids begin with the time of acceptance, from its end.
const paceSQL = `
SELECT floor(extract(epoch FROM now() - created_at) / 60)::int AS ago,
       count(*)::int AS accepted,
       (count(*) FILTER (WHERE state = 'completed'))::int AS completed,
       (count(*) FILTER (WHERE state IN ('dead_lettered', 'discarded')))::int AS stopped
FROM (SELECT state, created_at FROM saga WHERE id >= $1 ORDER BY id DESC LIMIT $2) AS recent
WHERE created_at <= now()
GROUP BY 1
ORDER BY 1`

// mostPaced is how many sagas are looked at for the pace. The oldest of the minutes is cut
// short when there were more.
const mostPaced = 20_000

// Pace returns the minutes since a moment in which something was accepted, the latest
// first. With whole false the earliest of them are missing: there was too much.
func (st *Store) Pace(ctx context.Context, since time.Time) (minutes []Minute, whole bool, err error) {
	rows, err := st.db.Query(ctx, paceSQL, FirstID(since), mostPaced)
	if err != nil {
		return nil, false, translate("pace", err)
	}
	minutes, err = pgx.CollectRows(rows, pgx.RowToStructByName[Minute])
	n := 0
	for _, m := range minutes {
		n += m.Accepted
	}
	if n >= mostPaced {
		minutes = minutes[:len(minutes)-1]
	}
	return minutes, n < mostPaced, translate("pace", err)
}
