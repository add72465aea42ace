package restore_test

import (
	"context"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/restore"
)

// connect logs in as the programs do, where there are roles: it is their address that an operator has.
func connect(t *testing.T) *pgx.Conn {
	t.Helper()
	s := devstack.PostgresWithRoles(t, filepath.Join("..", "..", "deploy", "postgres", "roles.sql"), devstack.PostgresConfig{})
	return connectTo(t, s.RoleURL("esimflow_app", "127.0.0.1", url.Values{"sslmode": {"disable"}}))
}

func connectTo(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

var ann = restore.By{Actor: "ann", Reason: "disk lost"}

// What the copy was in the middle of must not go on by itself: a replay would release what was
// released since, an audit would be taken for one that has read everything, a saga would give up
// and say that nothing was bought. What has ended stays as it is.
func TestBeginStopsWhatTheCopyWasInTheMiddleOf(t *testing.T) {
	t.Parallel()
	db := connect(t)
	for _, sql := range []string{
		`INSERT INTO replay (id, actor, reason, filter, rate, ramp, letters, done)
		 VALUES ('00000000-0000-7000-8000-000000000001', 'bob', 'credit', '{}', 1, '{1}', 3, 1)`,
		`INSERT INTO replay_letter (replay_id, position, letter_id, kind, request_id, package_id, code, class, purchased, state, at)
		 VALUES ('00000000-0000-7000-8000-000000000001', 1, gen_random_uuid(), 'order', 'a', 'p', '11', 'c', 'no', 'done', now()),
		        ('00000000-0000-7000-8000-000000000001', 2, gen_random_uuid(), 'order', 'b', 'p', '11', 'c', 'no', 'waiting', NULL),
		        ('00000000-0000-7000-8000-000000000001', 3, gen_random_uuid(), 'order', 'c', 'p', '11', 'c', 'no', 'waiting', NULL)`,
		`INSERT INTO audit_run (id, from_day, to_day, next_day) VALUES (gen_random_uuid(), '2026-11-01', '2026-11-03', '2026-11-02')`,
		`INSERT INTO saga (id, kind, request_id, state, due_at, deadline_at, reference, fingerprint, package_id, quantity, order_id, requested_at)
		 VALUES (gen_random_uuid(), 'order', 'late', 'pending', now(), now() - interval '1 hour', 'r1', 'f', 'p', 1, NULL, now()),
		        (gen_random_uuid(), 'order', 'early', 'pending', now(), now() + interval '40 hours', 'r2', 'f', 'p', 1, NULL, now()),
		        (gen_random_uuid(), 'order', 'ended', 'completed', NULL, now() - interval '1 hour', 'r3', 'f', 'p', 1, 7, now())`,
		`INSERT INTO gate_pause (what, name, actor, reason) VALUES ('kind', 'topup', 'bob', 'prices')`,
	} {
		_, err := db.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	copiedAt := time.Now().Add(-time.Hour)
	for range 2 { // it may be repeated
		begun, err := restore.Begin(t.Context(), db, copiedAt, ann)
		require.NoError(t, err)
		require.Equal(t, []string{"order", "topup"}, begun.Paused)
	}
	text := func(sql string) (got string) {
		require.NoError(t, db.QueryRow(t.Context(), sql).Scan(&got))
		return got
	}
	require.Equal(t, "aborted 1 2", text("SELECT concat_ws(' ', state, done, skipped) FROM replay"))
	require.Equal(t, "done skipped skipped", text("SELECT string_agg(state, ' ' ORDER BY position) FROM replay_letter"))
	require.Equal(t, "failed", text("SELECT state FROM audit_run"))
	require.Equal(t, "late", text("SELECT request_id FROM saga WHERE deadline_at BETWEEN now() + interval '23 hours' AND now() + interval '25 hours'"))
	require.Equal(t, "early", text("SELECT request_id FROM saga WHERE deadline_at > now() + interval '39 hours'"))
	require.Equal(t, "pending", text("SELECT DISTINCT state FROM saga WHERE version = 1 AND state <> 'completed'"), "no saga has moved")
	reason := text("SELECT reason FROM gate_pause WHERE name = 'topup'")
	require.Contains(t, reason, "disk lost (paused before by bob: prices)")
	for _, name := range []string{"order", "topup"} {
		got, ours := restore.CopiedAt(text("SELECT reason FROM gate_pause WHERE name = '" + name + "'"))
		require.True(t, ours)
		require.Equal(t, copiedAt.UTC().Truncate(time.Second), got)
	}
	require.Equal(t, "ann ann ann ann", text("SELECT string_agg(actor, ' ') FROM gate_trail"))
}

// A database that workers are at work on is not a restored one, and a time that is to come is
// not that of a copy: nothing is changed.
func TestBeginIsRefused(t *testing.T) {
	t.Parallel()
	db := connect(t)
	_, err := restore.Begin(t.Context(), db, time.Now().Add(time.Hour), ann)
	require.ErrorAs(t, err, new(*restore.RefusedError))
	_, err = db.Exec(t.Context(), "INSERT INTO worker (id, host, expires_at) VALUES (gen_random_uuid(), 'h', now() + interval '1 minute')")
	require.NoError(t, err)
	_, err = restore.Begin(t.Context(), db, time.Now().Add(-time.Hour), ann)
	require.ErrorContains(t, err, "1 workers hold a lease")
	var pauses int
	require.NoError(t, db.QueryRow(t.Context(), "SELECT count(*) FROM gate_pause").Scan(&pauses))
	require.Zero(t, pauses)
}

// A worker that takes its lease at the same moment is seen, or has to wait until the database is paused: it cannot have looked
// at the pauses before and work on without them.
func TestBeginAndAWorkerThatStarts(t *testing.T) {
	t.Parallel()
	dsn := devstack.Postgres(t)
	db, other, watch := connectTo(t, dsn), connectTo(t, dsn), connectTo(t, dsn)
	starting, err := other.Begin(t.Context())
	require.NoError(t, err)
	_, err = starting.Exec(t.Context(), "INSERT INTO worker (id, host, expires_at) VALUES (gen_random_uuid(), 'h', now() + interval '1 minute')")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := restore.Begin(t.Context(), db, time.Now().Add(-time.Hour), ann)
		done <- err
	}()
	require.Eventually(t, func() bool {
		var waits bool
		require.NoError(t, watch.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)").Scan(&waits))
		return waits || len(done) > 0
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, starting.Commit(t.Context()))
	require.ErrorContains(t, <-done, "1 workers hold a lease")
}

// The reason of an operator's own pause is not taken for a restoration.
func TestCopiedAtIsOfRestorationsOnly(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{"", "prices", "the database was restored to", "the database was restored to last Tuesday, about noon: x"} {
		_, ours := restore.CopiedAt(reason)
		require.False(t, ours, reason)
	}
}
