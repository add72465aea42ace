package retention

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/saga"
)

// keep is RETENTION in these tests.
const keep = 90 * day

const day = 24 * time.Hour

// bench is a database with sagas of all ages.
type bench struct {
	*Sweeper

	tb  testing.TB
	now time.Time
}

func setup(tb testing.TB) *bench {
	tb.Helper()
	return setupOn(tb, devstack.Postgres(tb))
}

func setupOn(tb testing.TB, url string) *bench {
	tb.Helper()
	db, err := pgxpool.New(context.Background(), url)
	require.NoError(tb, err)
	tb.Cleanup(db.Close)
	b := &bench{tb: tb}
	b.Sweeper = b.process(db, "one")
	require.NoError(tb, db.QueryRow(context.Background(), "SELECT now()").Scan(&b.now))
	return b
}

func (b *bench) process(db *pgxpool.Pool, name string) *Sweeper {
	return New(Config{
		DB: db, Holder: name, Keep: keep, Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	})
}

func (b *bench) exec(sql string, args ...any) {
	b.tb.Helper()
	_, err := b.DB.Exec(context.Background(), sql, args...)
	require.NoError(b.tb, err)
}

func (b *bench) count(sql string, args ...any) (n int) {
	b.tb.Helper()
	require.NoError(b.tb, b.DB.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

// row is a saga as a test wants it: days ago, and what is not usual about it.
type row struct {
	accepted, requested, ended float64 // days ago; zero: as accepted
	repeated                   float64 // days ago, if it was
	state                      saga.State
	ends                       int // 1 unless set
}

// saga inserts a saga with one of everything that can belong to it.
func (b *bench) saga(r row) uuid.UUID {
	b.tb.Helper()
	ago := func(days float64) time.Time { return b.now.Add(-time.Duration(days * float64(day))) }
	or := func(days float64) time.Time {
		if days == 0 {
			days = r.accepted
		}
		return ago(days)
	}
	id := saga.FirstID(ago(r.accepted))
	_, _ = rand.Read(id[8:])
	if r.state == "" {
		r.state = saga.Completed
	}
	if r.ends == 0 {
		r.ends = 1
	}
	var repeated *time.Time
	if r.repeated != 0 {
		at := ago(r.repeated)
		repeated = &at
	}
	b.exec(`
		WITH s AS (
		    INSERT INTO saga (id, kind, request_id, state, version, deadline_at, reference, fingerprint, package_id, quantity,
		                      order_id, ends, requested_at, created_at, updated_at)
		    VALUES ($1::uuid, 'order', $1::text, $2, 4, now(), $1::text, 'f', 'p', 1, (random() * 1e15)::bigint, $3, $4, $5, $6)
		), h AS (
		    INSERT INTO saga_history (saga_id, version, event, to_state, attempt) VALUES ($1, 1, 'accepted', 'pending', 0), ($1, 2, 'x', 'x', 1)
		), a AS (
		    INSERT INTO saga_answer (saga_id, attempt, status, body) VALUES ($1, 1, 200, '{}')
		), p AS (
		    INSERT INTO saga_purchase (saga_id, data) VALUES ($1, '{}')
		)
		INSERT INTO saga_request (saga_id, subject, sequence, headers, body, metadata, repeated_at)
		VALUES ($1, 'esim.request.order', 1, '{}', '{}', '{}', $7)`,
		id, r.state, r.ends, or(r.requested), ago(r.accepted), or(r.ended), repeated)
	return id
}

// letter inserts a dead letter that was resolved so many days ago; 0: it is open.
func (b *bench) letter(id uuid.UUID, of *uuid.UUID, resolved float64) {
	b.tb.Helper()
	status := "discarded"
	var at *time.Time
	if resolved == 0 {
		status = "open"
	} else {
		t := b.now.Add(-time.Duration(resolved * float64(day)))
		at = &t
	}
	b.exec(`
		INSERT INTO dead_letter (id, kind, saga_id, code, class, reason, purchased, replayable, subject, sequence, headers, body,
		                         created_at, status, resolved_at)
		VALUES ($1, 'order', $2, 'x', 'x', 'x', 'no', true, 'x', 1, '{}', '', $3, $4, $5)`,
		id, of, b.now.Add(-200*day), status, at)
}

// stop inserts the dead letter of a saga's n-th end.
func (b *bench) stop(id uuid.UUID, n int, resolved float64) uuid.UUID {
	b.tb.Helper()
	letter := saga.Saga{ID: id, Ends: n}.DeadLetter()
	b.letter(letter, &id, resolved)
	return letter
}

// finding inserts a finding of the audit.
func (b *bench) finding(of *uuid.UUID, run uuid.UUID, status string, days float64) {
	b.tb.Helper()
	at := b.now.Add(-time.Duration(days * float64(day)))
	b.exec(`
		INSERT INTO audit_finding (id, finding, order_id, saga_id, data, why, advice, run_id, status, first_seen, last_seen, resolved_at)
		VALUES ($1, 'phantom', (random() * 1e9)::bigint, $2, '{}', 'x', 'x', $3, $4, $5, $5, CASE WHEN $4 <> 'open' THEN $5::timestamptz END)`,
		uuid.New(), of, run, status, at)
}

// run inserts a run of the audit.
func (b *bench) run(state string, days float64) uuid.UUID {
	b.tb.Helper()
	id, at := uuid.New(), b.now.Add(-time.Duration(days*float64(day)))
	b.exec(`
		INSERT INTO audit_run (id, from_day, to_day, next_day, state, started_at, finished_at)
		VALUES ($1, '2026-01-01', '2026-01-01', '2026-01-01', $2, $3, CASE WHEN $2 <> 'running' THEN $3::timestamptz END)`, id, state, at)
	return id
}

// sweepAll removes all that RETENTION lets leave.
func (b *bench) sweepAll() Removed {
	b.tb.Helper()
	before := b.now.Add(-keep)
	require.NoError(b.tb, b.Announce(context.Background(), before))
	removed, err := b.Sweep(context.Background(), before)
	require.NoError(b.tb, err)
	return removed
}

func (b *bench) has(table string, id uuid.UUID) bool {
	b.tb.Helper()
	return b.count(fmt.Sprintf("SELECT count(*) FROM %s WHERE id = $1", table), id) == 1
}
