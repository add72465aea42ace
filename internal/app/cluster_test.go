package app_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// clusterPatience is how long a cluster is given for whatever it does by itself: an election
// takes up to ten seconds, and on a busy machine it may fail.
const clusterPatience = 90 * time.Second

var clusterStreams = []string{message.RequestsStream, message.EventsStream, message.DeadLettersStream}

// clusterBench is two workers and two publishers on three NATS servers, three replicas of
// everything, and an upstream that never stops asking.
type clusterBench struct {
	*bench
	nodes  *devstack.NATSNodes
	worker *app.Worker
	asks   *clusterUpstream
}

func setupCluster(t *testing.T) *clusterBench {
	t.Helper()
	t.Parallel()
	nodes := devstack.NATSCluster(t)
	b := &clusterBench{bench: setupOn(t, pressonesim.Config{}, nodes.URL(), 3), nodes: nodes}
	b.env["NATS_REPLICAS"] = "3"
	b.sim.AddPackage(pressonesim.Package{ID: "sold-out", Price: 1})
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, PackageID: "sold-out", Action: pressonesim.Status, Status: 422, Code: 33})
	b.worker = b.bench.worker()
	b.bench.worker()
	b.publisher()
	b.publisher()
	b.asks = b.ask()
	return b
}

// clusterUpstream publishes requests of every kind one after the other, without a
// Nats-Msg-Id, and each again until it is acknowledged, as upstreams do: an ack that got lost
// makes a duplicate, and some are made on purpose.
type clusterUpstream struct {
	t    *testing.T
	js   jetstream.JetStream
	stop func() // ends when the request at hand is acknowledged

	mu       sync.Mutex
	orders   []string // acknowledged, and to be bought
	topups   []string // acknowledged, and to be bought
	sold     []string // acknowledged, and to be refused
	garbage  int      // acknowledged, and no request
	failures int      // publishes without an ack
}

func (b *clusterBench) ask() *clusterUpstream {
	u := &clusterUpstream{t: b.t, js: b.js}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan struct{})
	u.stop = func() { cancel(); <-done }
	b.t.Cleanup(u.stop)
	go func() {
		defer close(done)
		tick := time.NewTicker(25 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			u.next(ctx, i)
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
	return u
}

// next asks for one thing. A request that it was stopped in the middle of counts, too: it may
// be on the stream.
func (u *clusterUpstream) next(ctx context.Context, i int) {
	id := fmt.Sprintf("c-%d", i)
	iccids := pressonesim.DefaultICCIDs()
	switch {
	case i%16 == 7:
		u.publish(ctx, message.Order, fmt.Sprintf("garbage %d", i), func() { u.garbage++ })
	case i%16 == 3:
		u.publish(ctx, message.Order, fmt.Sprintf(`{"request_id":"%s","package_id":"sold-out"}`, id), func() { u.sold = append(u.sold, id) })
	case i%4 == 1:
		body := fmt.Sprintf(`{"request_id":"%s","package_id":"bonbon-mobile-30days-3gb-topup","iccid":"%s"}`, id, iccids[i/4%len(iccids)])
		u.publish(ctx, message.Topup, body, func() { u.topups = append(u.topups, id) })
	default:
		u.publish(ctx, message.Order, order(id), func() { u.orders = append(u.orders, id) })
		if i%8 == 0 {
			u.publish(ctx, message.Order, order(id), func() {})
		}
	}
}

func (u *clusterUpstream) publish(ctx context.Context, k message.Kind, body string, acked func()) {
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), clusterPatience)
	defer cancel()
	for patience.Err() == nil {
		try, cancel := context.WithTimeout(patience, time.Second)
		_, err := u.js.PublishMsg(try, &nats.Msg{Subject: message.RequestSubject(k), Data: []byte(body)}, jetstream.WithRetryAttempts(0))
		cancel()
		u.mu.Lock()
		if err == nil {
			acked()
			u.mu.Unlock()
			return
		}
		u.failures++
		u.mu.Unlock()
		select {
		case <-time.After(50 * time.Millisecond):
		case <-patience.Done():
		}
	}
	u.t.Errorf("%s was never acknowledged", body)
}

// acked is how many requests were acknowledged, and how many publishes were not.
func (u *clusterUpstream) acked() (requests, failures int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.orders) + len(u.topups) + len(u.sold) + u.garbage, u.failures
}

// flows waits until that many more requests were acknowledged, and that many more sagas
// completed, so that every part of the way works.
func (b *clusterBench) flows(n int, when string) {
	b.t.Helper()
	acked, _ := b.asks.acked()
	const completedSQL = "SELECT count(*) FROM saga WHERE state = 'completed'"
	completed := b.count(completedSQL)
	start := time.Now()
	require.Eventually(b.t, func() bool {
		now, _ := b.asks.acked()
		return now >= acked+n && b.count(completedSQL) >= completed+n
	}, clusterPatience, 20*time.Millisecond, "nothing moves %s", when)
	b.t.Logf("%s: %d requests went through in %v", when, n, time.Since(start).Round(time.Millisecond))
}

// node waits for the answer to a question about leaders.
func (b *clusterBench) node(find func() (int, bool)) int {
	b.t.Helper()
	var node int
	require.Eventually(b.t, func() (ok bool) {
		node, ok = find()
		return ok
	}, clusterPatience, 10*time.Millisecond, "there is no leader")
	return node
}

// back starts a node and waits until it has everything.
func (b *clusterBench) back(node int) {
	b.t.Helper()
	require.NoError(b.t, b.nodes.Start(node))
	b.current(node)
}

func (b *clusterBench) current(node int) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return b.nodes.Current(node, clusterStreams...) }, clusterPatience, 20*time.Millisecond,
		"node %d does not catch up", node)
}

// judge ends the asking and compares what was asked for, and acknowledged, with what became
// of it in Postgres, at PressOne and on the streams.
func (b *clusterBench) judge() {
	b.t.Helper()
	b.asks.stop()
	require.False(b.t, b.t.Failed())
	bought := slices.Concat(b.asks.orders, b.asks.topups)
	sagas := len(bought) + len(b.asks.sold)
	require.Eventually(b.t, func() bool {
		return b.count("SELECT count(*) FROM saga WHERE state = 'completed'") >= len(bought) &&
			b.count("SELECT count(*) FROM saga WHERE state = 'dead_lettered' OR state = 'discarded'") >= len(b.asks.sold) &&
			b.count("SELECT count(*) FROM dead_letter WHERE code = 'malformed'") >= b.asks.garbage &&
			b.count("SELECT count(*) FROM outbox") == 0
	}, clusterPatience, 50*time.Millisecond, "everything that was acknowledged ends")
	require.Equal(b.t, sagas, b.count("SELECT count(*) FROM saga"), "one saga for each, and none else")
	require.Equal(b.t, len(bought), b.sim.SoldCount(), "bought once")
	require.Empty(b.t, b.sim.Ledger().Doubles())

	stored := map[string]int{}
	ends := map[string][]string{}
	for _, e := range b.events() {
		stored[e.ID]++
		ends[e.Subject] = append(ends[e.Subject], e.Type)
	}
	for id, n := range stored {
		require.Equal(b.t, 1, n, "%s is stored once", id)
	}
	require.Len(b.t, ends, sagas, "each is announced")
	for want, ids := range map[string][]string{
		"esimflow.order.completed.v1": b.asks.orders, "esimflow.topup.completed.v1": b.asks.topups, "esimflow.order.failed.v1": b.asks.sold,
	} {
		for _, id := range ids {
			require.Equal(b.t, []string{want}, ends[id], id)
		}
	}
	require.Eventually(b.t, func() bool { return slices.Equal(b.openLetters(), b.copies()) }, // garbage whose ack was lost may be there twice
		clusterPatience, 50*time.Millisecond, "ESIM_DLQ holds what is open")
	_, failures := b.asks.acked()
	b.t.Logf("%d requests, %d of them bought, %d publishes without an ack", sagas+b.asks.garbage, len(bought), failures)
}

// openLetters is the ids of the letters that are open.
func (b *bench) openLetters() []string {
	b.t.Helper()
	var ids []string
	require.NoError(b.t, b.db.QueryRow(context.Background(),
		`SELECT COALESCE(array_agg(id::text ORDER BY id::text), '{}') FROM dead_letter WHERE status = 'open'`).Scan(&ids))
	return ids
}

// copies is the ids of the letters on ESIM_DLQ.
func (b *bench) copies() []string {
	b.t.Helper()
	ids := []string{}
	for _, m := range b.messages(message.DeadLettersStream) {
		ids = append(ids, m.Header.Get(message.HeaderDeadLetterID))
	}
	slices.Sort(ids)
	return ids
}

// discardOne closes an open letter.
func (b *clusterBench) discardOne() {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return len(b.openLetters()) > 0 }, clusterPatience, 20*time.Millisecond)
	b.post(b.worker, "dead-letters/"+b.openLetters()[0]+"/discard", `{"actor":"ann","reason":"x"}`, http.StatusOK)
}

// Whoever leads is stopped and started while requests come in: the leader of each stream, of
// each consumer, and of the cluster itself. Nothing is lost and nothing is doubled.
func TestNATSLosesItsLeaders(t *testing.T) {
	b := setupCluster(t)
	b.flows(20, "at first")
	leaders := map[string]func() (int, bool){
		"the cluster's leader":        b.nodes.MetaLeader,
		"the leader of ESIM_REQUESTS": func() (int, bool) { return b.nodes.StreamLeader(message.RequestsStream) },
		"the leader of ESIM_EVENTS":   func() (int, bool) { return b.nodes.StreamLeader(message.EventsStream) },
		"the leader of ESIM_DLQ":      func() (int, bool) { return b.nodes.StreamLeader(message.DeadLettersStream) },
	}
	for _, k := range message.Kinds() {
		leaders["the leader of "+message.Consumer(k)] = func() (int, bool) {
			return b.nodes.ConsumerLeader(message.RequestsStream, message.Consumer(k))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(leaders)) {
		node := b.node(leaders[name])
		b.nodes.Stop(node)
		b.discardOne()
		b.flows(10, "without "+name)
		b.back(node)
	}
	b.flows(10, "with all of them")
	b.judge()
}

// Two of three are down, so that nothing can be stored, and come back.
func TestNATSLosesItsQuorum(t *testing.T) {
	b := setupCluster(t)
	b.flows(20, "at first")
	left := b.node(func() (int, bool) { return b.nodes.StreamLeader(message.RequestsStream) })
	var away []int
	for i := range b.nodes.Len() {
		if i != left {
			away = append(away, i)
			b.nodes.Stop(i)
		}
	}
	_, before := b.asks.acked()
	require.Eventually(t, func() bool {
		_, failures := b.asks.acked()
		return failures >= before+3
	}, clusterPatience, 20*time.Millisecond, "a leader without followers acknowledges nothing")
	b.discardOne()
	for _, node := range away {
		require.NoError(t, b.nodes.Start(node))
	}
	b.flows(10, "with a quorum again")
	for _, node := range away {
		b.current(node)
	}
	b.judge()
}

// A node comes back without its disk, catches up, and is as good as any other then: the next
// one to go is one that has never lost anything.
func TestNATSLosesADisk(t *testing.T) {
	b := setupCluster(t)
	b.flows(20, "at first")
	wiped := b.node(func() (int, bool) { return b.nodes.StreamLeader(message.EventsStream) })
	b.nodes.Stop(wiped)
	b.flows(10, "without the node")
	require.NoError(t, b.nodes.Wipe(wiped))
	b.back(wiped)
	other := (wiped + 1) % b.nodes.Len()
	b.nodes.Stop(other)
	b.flows(10, "on the node that was empty")
	b.back(other)
	b.judge()
}
