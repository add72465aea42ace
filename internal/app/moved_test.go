package app_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// at lets b look at another NATS, and start programs there.
func (b *bench) at(url string) {
	b.t.Helper()
	nc, err := nats.Connect(url, nats.Timeout(unhurried))
	require.NoError(b.t, err)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(unhurried))
	require.NoError(b.t, err)
	lastConn, last := b.nc, b.js
	b.nc, b.js, b.env["NATS_URL"] = nc, js, url
	b.t.Cleanup(func() {
		b.checkContracts()
		nc.Close()
		b.nc, b.js = lastConn, last
	})
}

// idle waits until both consumers have nothing left.
func (b *bench) idle() {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		for _, c := range message.Consumers() {
			consumer, err := b.js.Consumer(b.t.Context(), message.RequestsStream, c.Durable)
			if err != nil || consumer.CachedInfo().NumPending+uint64(consumer.CachedInfo().NumAckPending) > 0 {
				return false
			}
		}
		return true
	}, time.Minute, 20*time.Millisecond)
}

// leadsLong lets whoever leads the outbox do so for 25 seconds without a sign of life: on a machine that
// stands still for three, another publisher would begin to, which may announce what the first one has.
func (b *bench) leadsLong() {
	b.t.Helper()
	for _, sql := range []string{
		`CREATE FUNCTION lead_long() RETURNS trigger LANGUAGE plpgsql AS $$
		 BEGIN NEW.expires_at := now() + interval '25 seconds'; RETURN NEW; END $$`,
		`CREATE TRIGGER lead_long BEFORE INSERT OR UPDATE ON lease FOR EACH ROW WHEN (NEW.name = 'outbox') EXECUTE FUNCTION lead_long()`,
	} {
		_, err := b.db.Exec(b.t.Context(), sql)
		require.NoError(b.t, err)
	}
}

// An installation moves to another NATS while requests come in, as docs/operations.md says:
// workers on both sides, upstream moves, the old stream is read to its end, the publisher moves.
// Upstream, which cannot be sure, sends everything again on the other side. Each request is
// bought once, and announced once on the two streams together.
func TestNATSMovesToAnotherServer(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	b.leadsLong()
	old := b.env["NATS_URL"]
	_, stopOld := b.brief()
	b.completed(b.orders("before", 5)...)
	letters := b.stopped("letter", "no-such-package", 2)
	ids := b.orders("late", 20)

	fresh := devstack.NATS(t)
	b.at(fresh.URL())
	for _, s := range message.Streams(1) {
		_, err := b.js.CreateStream(t.Context(), s)
		require.NoError(t, err)
	}
	for _, c := range message.Consumers() {
		_, err := b.js.CreateConsumer(t.Context(), message.RequestsStream, c)
		require.NoError(t, err)
	}
	w, _ := b.brief() // its publisher stands by as long as the old one leads
	ids = append(ids, b.orders("moved", 20)...)

	b.at(old)
	b.idle()
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM outbox") == 0 }, time.Minute, 20*time.Millisecond)
	stopOld()
	before := b.events()
	require.Len(t, b.copies(), 2)

	b.at(fresh.URL())
	for i := range 20 {
		b.publish(message.Order, order(fmt.Sprintf("late-%d", i)))
		b.publish(message.Order, order(fmt.Sprintf("moved-%d", i)))
	}
	b.idle()
	require.Eventually(t, func() bool {
		return b.count("SELECT count(*) FROM saga WHERE state = 'completed'") == 5+len(ids) && b.count("SELECT count(*) FROM outbox") == 0
	}, time.Minute, 20*time.Millisecond)
	b.completed(b.orders("after", 5)...)

	require.Equal(t, 10+len(ids), b.sim.SoldCount())
	require.Empty(t, b.sim.Ledger().Doubles())
	results, seen := map[string]int{}, map[string]bool{}
	for _, e := range append(before, b.events()...) {
		require.False(t, seen[e.ID], "%s is on both", e.ID)
		seen[e.ID] = true
		results[e.Subject]++
	}
	for _, id := range append(ids, letters...) {
		require.Equal(t, 1, results[id], id)
	}

	// The copies of the letters stay behind. Postgres has the record: what is resolved there
	// takes nothing away on the new side.
	require.Empty(t, b.copies())
	for _, id := range b.openLetters() {
		b.post(w, "dead-letters/"+id+"/discard", `{"actor":"ann","reason":"gone"}`, http.StatusOK)
	}
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM outbox") == 0 }, time.Minute, 20*time.Millisecond)
}
