package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ErrNotFound says that there is no such run or finding.
var ErrNotFound = errors.New("audit: not found")

const runColumns = `
    id, from_day, to_day, next_day, state, requested_by, orders, paired, free, unsettled, trouble,
    started_at, updated_at, finished_at`

const openRunSQL = `
SELECT` + runColumns + `
FROM audit_run
WHERE state = 'running'
ORDER BY started_at
LIMIT 1`

const getRunSQL = `
SELECT` + runColumns + `
FROM audit_run
WHERE id = $1`

const latestRunsSQL = `
SELECT` + runColumns + `
FROM audit_run
ORDER BY started_at DESC
LIMIT $1`

func (a *Auditor) runs(ctx context.Context, sql string, args ...any) ([]Run, error) {
	rows, err := a.DB.Query(ctx, sql, args...)
	if err != nil {
		return nil, wrap("runs", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Run])
	return all, wrap("runs", err)
}

// Runs lists runs, the latest first.
func (a *Auditor) Runs(ctx context.Context, limit int) ([]Run, error) {
	return a.runs(ctx, latestRunsSQL, limit)
}

const dueSQL = `
SELECT max(finished_at) <= now() - $1::interval
FROM audit_run
WHERE requested_by = ''`

// due reports whether it is time for a run. The first one ever comes an interval after the
// worker has started.
func (a *Auditor) due(ctx context.Context) (bool, error) {
	var due *bool
	if err := a.DB.QueryRow(ctx, dueSQL, a.Interval).Scan(&due); err != nil {
		return false, wrap("due", err)
	}
	if due == nil {
		return time.Since(a.made) >= a.Interval, nil
	}
	return *due, nil
}

// Pressing twice gives one run, whoever presses.
const beginSQL = `
WITH same AS (
    SELECT id
    FROM audit_run
    WHERE state = 'running' AND from_day = $2 AND to_day = $3 AND next_day < $2
    LIMIT 1
), made AS (
    INSERT INTO audit_run (id, from_day, to_day, next_day, requested_by)
    SELECT $1, $2, $3, $2::date - 1, $4
    WHERE NOT EXISTS (SELECT FROM same)
    RETURNING id
)
SELECT id FROM made
UNION ALL
SELECT id FROM same`

// begin makes a run. It reads the day before the first one too: see proceed.
func (a *Auditor) begin(ctx context.Context, from, to time.Time, actor string) (Run, error) {
	var id uuid.UUID
	if err := a.DB.QueryRow(ctx, beginSQL, uuid.Must(uuid.NewV7()), from, to, actor).Scan(&id); err != nil {
		return Run{}, wrap("begin", err)
	}
	all, err := a.runs(ctx, getRunSQL, id)
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	return first(all), err
}

// counts is what one day adds to a run.
type counts struct{ orders, paired, free, unsettled int64 }

// The last day is the day after to_day: see proceed.
const advanceSQL = `
UPDATE audit_run
SET next_day = next_day + 1, orders = orders + $3, paired = paired + $4, free = free + $5, unsettled = unsettled + $6,
    trouble = '', updated_at = now(),
    state = CASE WHEN next_day > to_day THEN 'done' ELSE state END,
    finished_at = CASE WHEN next_day > to_day THEN now() END
WHERE id = $1 AND next_day = $2 AND state = 'running'`

// advance moves the run's cursor past a day. If somebody else has, it is errNotOurs.
func (a *Auditor) advance(ctx context.Context, run *Run, c counts) error {
	tag, err := a.DB.Exec(ctx, advanceSQL, run.ID, run.Next, c.orders, c.paired, c.free, c.unsettled)
	if err == nil && tag.RowsAffected() == 0 {
		return errNotOurs
	}
	run.Next = run.Next.Add(oneDay)
	return wrap("advance", err)
}

const noteSQL = `
UPDATE audit_run
SET trouble = left($2, 1000)
WHERE id = $1 AND state = 'running' AND updated_at > now() - $3::interval`

// patience is for how long a run may get nowhere. While it is open, no other one begins.
const patience = 24 * time.Hour

// note records why a run waits, or that it has waited for too long.
func (a *Auditor) note(ctx context.Context, id uuid.UUID, trouble string) error {
	tag, err := a.DB.Exec(ctx, noteSQL, id, trouble, patience)
	if err == nil && tag.RowsAffected() == 0 {
		return a.fail(ctx, id, "it gets nowhere: "+trouble)
	}
	return wrap("note", err)
}

const failSQL = `
UPDATE audit_run
SET state = 'failed', trouble = left($2, 1000), updated_at = now(), finished_at = now()
WHERE id = $1 AND state = 'running'`

// fail ends a run that makes no sense to go on with.
func (a *Auditor) fail(ctx context.Context, id uuid.UUID, why string) error {
	a.Log.ErrorContext(ctx, "the audit has failed", "run_id", id, "why", why)
	_, err := a.DB.Exec(ctx, failSQL, id, why)
	return wrap("fail", err)
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("audit: %s: %w", what, err)
}
