package retention

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"esimflow/internal/saga"
)

// Removed counts what has left.
type Removed struct {
	Sagas    int64
	Letters  int64 // dead letters, with a saga or without
	Findings int64 // of the audit
	Runs     int64 // of the audit
	Replays  int64 // of dead letters
}

func (r *Removed) add(more Removed) {
	r.Sagas += more.Sagas
	r.Letters += more.Letters
	r.Findings += more.Findings
	r.Runs += more.Runs
	r.Replays += more.Replays
}

func (r Removed) total() int64 { return r.Sagas + r.Letters + r.Findings + r.Runs + r.Replays }

// batch is what became of one page of the primary key.
type batch struct {
	Removed

	read int
	last uuid.UUID
}

// Whoever is in the way goes on undisturbed. What a crash takes back is removed again, so
// no commit waits for the disk. Plans are kept, and one made while a table was small must not
// scan it when it is large.
const boundedSQL = `
SELECT set_config('lock_timeout', '1s', true),
       set_config('statement_timeout', '5s', true),
       set_config('idle_in_transaction_session_timeout', '10s', true),
       set_config('synchronous_commit', 'off', true),
       set_config('enable_seqscan', 'off', true),
       set_config('jit', 'off', true)`

const batchTimeout = 30 * time.Second

// From the primary key alone: ended or not, so that a page is as much work as it says.
const pageSQL = `
SELECT id
FROM saga
WHERE id > $1 AND id < $2
ORDER BY id
LIMIT $3`

// What may leave. The state, the times and the request are looked at again when they are
// locked; whoever notes a duplicate meanwhile is waited for by nobody: it is skipped.
const endedSQL = `
SELECT s.id, s.ends, s.state = 'completed' AS completed
FROM saga s
JOIN saga_request r ON r.saga_id = s.id
WHERE s.id = ANY($1) AND s.state IN ('completed', 'discarded')
  AND greatest(s.created_at, s.updated_at, s.requested_at, r.repeated_at) < $2
  AND NOT EXISTS (SELECT FROM dead_letter l WHERE l.saga_id = s.id AND l.status = 'open')
  AND NOT EXISTS (SELECT FROM audit_finding f WHERE f.saga_id = s.id AND f.status = 'open')
FOR UPDATE OF s, r SKIP LOCKED`

// ended is a saga that may leave.
type ended struct {
	ID        uuid.UUID
	Ends      int
	Completed bool
}

// letters lists the dead letters that it can have had: all its ends but one that completed
// it.
func (e ended) letters() []uuid.UUID {
	stops := e.Ends
	if e.Completed {
		stops--
	}
	var ids []uuid.UUID
	for n := 1; n <= stops; n++ {
		ids = append(ids, saga.Saga{ID: e.ID, Ends: n}.DeadLetter())
	}
	return ids
}

// Letters whose copy is yet to be published or deleted: the publisher has to find them.
const awaitedSQL = `
SELECT dead_letter_id
FROM outbox
WHERE dead_letter_id = ANY($1)`

const deleteLettersSQL = `
DELETE FROM dead_letter
WHERE id = ANY($1) AND status <> 'open'`

const deleteSagasSQL = `
WITH request AS (
    DELETE FROM saga_request
    WHERE saga_id = ANY($1)
), purchase AS (
    DELETE FROM saga_purchase
    WHERE saga_id = ANY($1)
), answer AS (
    DELETE FROM saga_answer
    WHERE saga_id = ANY($1)
)
DELETE FROM saga
WHERE id = ANY($1)`

// History is only ever added to, and leaves by this function alone: after its saga.
const removeHistorySQL = `SELECT remove_history($1)`

// batch looks at the next n sagas and removes those that may leave, in one commit.
func (s *Sweeper) batch(ctx context.Context, before time.Time, until uuid.UUID, n int) (b batch, err error) {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, s.DB, func(tx pgx.Tx) error {
		b = batch{}
		if _, err := tx.Exec(ctx, boundedSQL); err != nil {
			return err
		}
		page, err := ids(tx.Query(ctx, pageSQL, s.after, until, n))
		if err != nil || len(page) == 0 {
			return err
		}
		b.read, b.last = len(page), page[len(page)-1]
		rows, err := tx.Query(ctx, endedSQL, page, before)
		if err != nil {
			return err
		}
		leaving, err := pgx.CollectRows(rows, pgx.RowToStructByName[ended])
		if err != nil {
			return err
		}
		if leaving, b.Letters, err = removeLetters(ctx, tx, leaving); err != nil {
			return err
		}
		if b.Sagas, err = remove(ctx, tx, deleteSagasSQL, idsOf(leaving)); err != nil {
			return err
		}
		_, err = remove(ctx, tx, removeHistorySQL, idsOf(leaving))
		return err
	})
	return b, wrap("sagas", err)
}

// removeLetters removes the dead letters of sagas, and returns the sagas that have none any
// more. Few sagas ever had one.
func removeLetters(ctx context.Context, tx pgx.Tx, sagas []ended) (leaving []ended, n int64, _ error) {
	var all []uuid.UUID
	for _, e := range sagas {
		all = append(all, e.letters()...)
	}
	if len(all) == 0 {
		return sagas, 0, nil
	}
	awaited, err := ids(tx.Query(ctx, awaitedSQL, all))
	if err != nil {
		return nil, 0, err
	}
	isAwaited := func(id uuid.UUID) bool { return slices.Contains(awaited, id) }
	leaving = slices.DeleteFunc(sagas, func(e ended) bool { return slices.ContainsFunc(e.letters(), isAwaited) })
	var gone []uuid.UUID
	for _, e := range leaving {
		gone = append(gone, e.letters()...)
	}
	n, err = remove(ctx, tx, deleteLettersSQL, gone)
	return leaving, n, err
}

func remove(ctx context.Context, tx pgx.Tx, sql string, ids []uuid.UUID) (int64, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	tag, err := tx.Exec(ctx, sql, ids)
	return tag.RowsAffected(), err
}

func idsOf(sagas []ended) []uuid.UUID {
	all := make([]uuid.UUID, len(sagas))
	for i, e := range sagas {
		all[i] = e.ID
	}
	return all
}

func ids(rows pgx.Rows, err error) ([]uuid.UUID, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// isTimeout reports that a commit was in somebody's way, or was too large: a lock or a
// statement took too long, or there was a deadlock.
func isTimeout(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.Contains([]string{"55P03", "57014", "40P01"}, pg.Code)
}
