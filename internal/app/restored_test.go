package app_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// JetStream forgets what it has acknowledged: a server without replicas comes back with the disk that it had some time ago, as
// after a power cut or from a backup. Then its consumers are made anew, so that it delivers everything again. What was accepted
// is safe in Postgres: nothing is bought twice, whatever is sent again, and nothing is taken for something else although the
// streams count from an earlier number on.
func TestNATSIsRestoredFromABackup(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	ns, err := devstack.StartNATS(devstack.NATSConfig{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(ns.Stop)
	b := setupOn(t, pressonesim.Config{}, ns.URL(), 1)
	w := b.worker()
	b.publisher()
	back := func(times uint64) { // a connection that has ended looks like one for a moment
		t.Helper()
		require.Eventually(t, func() bool {
			return b.nc.Stats().Reconnects >= times && b.nc.IsConnected() && w.Ready() == nil
		}, 60*time.Second, 20*time.Millisecond)
	}
	garbage := func(text string) string {
		t.Helper()
		known := len(b.openLetters())
		b.publish(message.Order, text)
		require.Eventually(t, func() bool { return len(b.openLetters()) == known+1 && b.count("SELECT count(*) FROM outbox") == 0 },
			60*time.Second, 20*time.Millisecond)
		var id string
		require.NoError(t, b.db.QueryRow(t.Context(), "SELECT id::text FROM dead_letter WHERE body = $1", []byte(text)).Scan(&id))
		return id
	}
	discard := func(id string) {
		t.Helper()
		b.post(w, "dead-letters/"+id+"/discard", `{"actor":"ann","reason":"x"}`, http.StatusOK)
		require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM outbox") == 0 }, 60*time.Second, 20*time.Millisecond)
	}

	b.completed(b.orders("before", 3)...)
	kept := garbage("garbage before")
	backup := filepath.Join(t.TempDir(), "backup")
	ns.Stop()
	require.NoError(t, os.CopyFS(backup, os.DirFS(dir)))
	require.NoError(t, ns.Start())
	back(1)
	since := b.orders("since", 3)
	b.completed(since...)
	lost := garbage("garbage since")

	ns.Stop()
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.CopyFS(dir, os.DirFS(backup)))
	require.NoError(t, ns.Start())
	back(2)
	require.Equal(t, []string{kept}, b.copies(), "the stream is the old one")
	for _, id := range since {
		b.publish(message.Order, order(id)) // upstream hears of the loss, and sends again what it has
	}
	b.completed(b.orders("after", 3)...)
	require.Equal(t, 9, b.sim.SoldCount(), "what was accepted before is not bought again")
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'completed'") == 9 }, // an event comes before its commit
		60*time.Second, 20*time.Millisecond)

	next := garbage("garbage after") // which has the place on the stream that the lost one had
	discard(lost)
	require.Contains(t, b.copies(), next, "an open letter's copy must not go for another's sake")
	discard(kept)
	require.Equal(t, []string{next}, b.copies())
	require.Equal(t, []string{next}, b.openLetters())

	b.redeliver()
	b.publish(message.Order, order("marker"))
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'completed'") == 10 },
		60*time.Second, 50*time.Millisecond, "everything is delivered again, and then the last one")
	require.Equal(t, 10, b.sim.SoldCount())
	require.Equal(t, 10, b.count("SELECT count(*) FROM saga"))
	require.Equal(t, []string{next}, b.openLetters(), "what was resolved stays so")
	require.Equal(t, 3, b.count("SELECT count(*) FROM dead_letter"))
	results := map[string]int{} // those that JetStream lost are not announced again: docs/nats.md says so
	for _, e := range b.events() {
		results[e.Subject]++
	}
	for _, id := range since {
		require.Zero(t, results[id])
	}
	stored := map[string]bool{}
	for _, e := range b.events() {
		require.False(t, stored[e.ID], "%s is there once", e.ID)
		stored[e.ID] = true
	}
}
