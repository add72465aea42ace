package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"esimflow/internal/saga"
)

// deleteSagas takes all sagas out of the database, as one that was restored lacks them.
func (s *stack) deleteSagas() {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.env["DATABASE_URL"])
	require.NoError(s.t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	for _, table := range []string{"saga", "saga_request", "saga_purchase", "saga_history", "saga_answer", "outbox"} {
		_, err := conn.Exec(s.t.Context(), "DELETE FROM "+table)
		require.NoError(s.t, err)
	}
}

// An operator opens a database that was restored to before all that it ever did: refused while a
// worker runs, and then, without one order bought again, until somebody has explained the order
// that nobody here has asked for.
func TestRestore(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	for i := range 3 {
		s.ok("order", "submit", "--package", aPackage, "--request-id", fmt.Sprintf("lost-%d", i), "--wait")
	}
	strange := buyByHand(s, "by another program")
	require.Equal(t, 4, s.sim.SoldCount())
	begin := []string{"restore", "begin", "--copied-at", time.Now().UTC().Format(time.RFC3339), "--reason", "disk-lost"}
	require.Contains(t, s.exits(exitRefused, begin...).err, "stop them")
	require.Contains(t, s.exits(exitRefused, "restore", "finish", "--reason", "x").err, "not paused by esimctl restore begin")
	require.Contains(t, s.exits(exitRefused, "restore", "redeliver", "--yes", "--reason", "x").err, "not paused by esimctl restore begin")
	require.Contains(t, s.exits(exitUsage, "restore", "begin", "--copied-at", "noon", "--reason", "x").err, "is not a time")

	s.stop()
	s.deleteSagas()
	require.Contains(t, s.ok(begin...), "order, topup")
	require.Contains(t, s.ok(begin...), "order, topup") // again
	require.Contains(t, s.exits(exitRefused, "restore", "begin", "--copied-at", "2999-01-01T00:00:00Z", "--reason", "x").err, "to come")
	s.restart()
	require.Contains(t, s.exits(exitUsage, "restore", "redeliver", "--reason", "x").err, "--yes")
	require.Contains(t, s.exits(exitOK, "restore", "redeliver", "--yes", "--reason", "disk-lost").err, "3 requests")
	finish := []string{"restore", "finish", "--settle", "1s", "--reason", "audited"}
	r := s.exits(exitRefused, finish...)
	require.Contains(t, r.err, "1 orders have no owner")
	require.Contains(t, r.out, fmt.Sprint(strange.ID))
	for i := range 3 {
		s.awaitState(fmt.Sprintf("lost-%d", i), saga.Completed)
	}
	require.Contains(t, s.ok("gate", "show"), "disk-lost")

	findings := okJSON[[]struct{ ID string }](s, "audit", "findings")
	require.Len(t, findings, 1)
	s.ok("audit", "dismiss", findings[0].ID, "--reason", "theirs")
	require.Contains(t, s.exits(exitOK, finish...).err, "kind order is resumed")
	require.NotContains(t, s.ok("gate", "show"), "disk-lost")
	require.Contains(t, s.ok("gate", "trail"), "disk-lost")
	s.ok("order", "submit", "--package", aPackage, "--request-id", "new", "--wait")
	require.Equal(t, 5, s.sim.SoldCount(), "nothing was bought again")
	require.Empty(t, s.sim.Ledger().Doubles())
}
