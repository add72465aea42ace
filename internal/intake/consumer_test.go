package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/saga"
)

type intakeBench struct {
	t        *testing.T
	js       jetstream.JetStream
	db       *pgxpool.Pool
	consumer *Consumer
}

func setup(t *testing.T, stall time.Duration) *intakeBench {
	t.Helper()
	t.Parallel()
	nc, err := nats.Connect(devstack.NATS(t).URL(), nats.Timeout(time.Minute))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(time.Minute))
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), message.Streams(1)[0])
	require.NoError(t, err)
	_, err = js.CreateConsumer(t.Context(), message.RequestsStream, message.Consumers()[0])
	require.NoError(t, err)
	db, err := pgxpool.New(t.Context(), devstack.Postgres(t))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	metrics := saga.NewMetrics(prometheus.NewRegistry())
	lease := saga.NewLease(db, "test", time.Minute, metrics)
	require.NoError(t, lease.Renew(t.Context()))
	c := NewConsumer(Config{
		JetStream: js, DB: db, Store: saga.NewStore(db, metrics), Kind: message.Order, Lease: lease,
		Policy:  saga.Policy{SubmitTimeout: time.Minute, Deadline: time.Hour, RetryInitial: time.Second, RetryMax: time.Minute},
		Runner:  saga.NewRunner(saga.RunnerConfig{MaxInFlight: 10, Lease: lease}), // does not run: there is no room
		Metrics: NewMetrics(prometheus.NewRegistry(), metrics), Published: func() {},
		Log: slog.New(slog.DiscardHandler), Stall: stall,
	})
	return &intakeBench{t, js, db, c}
}

func (b *intakeBench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { b.consumer.Run(ctx) })
	b.t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

func (b *intakeBench) publish(id string) {
	b.t.Helper()
	_, err := b.js.Publish(b.t.Context(), message.RequestSubject(message.Order), fmt.Appendf(nil, `{"request_id":%q,"package_id":"p"}`, id))
	require.NoError(b.t, err)
}

func (b *intakeBench) sagas() (n int) {
	b.t.Helper()
	require.NoError(b.t, b.db.QueryRow(b.t.Context(), "SELECT count(*) FROM saga").Scan(&n))
	return n
}

func (b *intakeBench) eventually(what string, f func() bool) {
	b.t.Helper()
	require.Eventually(b.t, f, time.Minute, 5*time.Millisecond, what)
}

// counting counts what is logged.
type counting struct {
	slog.Handler
	n *atomic.Int64
}

func (counting) Enabled(context.Context, slog.Level) bool { return true }

func (c counting) Handle(context.Context, slog.Record) error {
	c.n.Add(1)
	return nil
}

func TestConsumer(t *testing.T) {
	t.Run("acknowledges only what is committed", func(t *testing.T) {
		b := setup(t, 0)
		_, err := b.db.Exec(t.Context(), "ALTER TABLE saga RENAME TO away") // commits fail
		require.NoError(t, err)
		b.publish("a")
		b.run()
		b.eventually("not ready", func() bool { return b.consumer.Ready() != nil && b.consumer.committing.Load() })
		consumer, err := b.js.Consumer(t.Context(), message.RequestsStream, message.Consumer(message.Order))
		require.NoError(t, err)
		require.Zero(t, consumer.CachedInfo().AckFloor.Stream)
		_, err = b.db.Exec(t.Context(), "ALTER TABLE away RENAME TO saga")
		require.NoError(t, err)
		b.eventually("acknowledged", func() bool {
			info, err := consumer.Info(t.Context())
			return err == nil && info.AckFloor.Stream == 1
		})
		require.Equal(t, 1, b.sagas())
		b.eventually("ready", func() bool { return b.consumer.Ready() == nil })
	})
	t.Run("rebuilds a subscription that delivers nothing, then fails readiness, then recovers", func(t *testing.T) {
		b := setup(t, 150*time.Millisecond)
		b.run()
		b.publish("a")
		b.eventually("taken", func() bool { return b.sagas() == 1 })
		_, err := b.js.PauseConsumer(t.Context(), message.RequestsStream, message.Consumer(message.Order), time.Now().Add(time.Hour))
		require.NoError(t, err)
		b.publish("b")
		b.eventually("rebuilt", func() bool {
			b.consumer.mu.Lock()
			defer b.consumer.mu.Unlock()
			return b.consumer.rebuilt
		})
		b.eventually("not ready", func() bool { return errors.Is(b.consumer.Ready(), errStalled) })
		_, err = b.js.ResumeConsumer(t.Context(), message.RequestsStream, message.Consumer(message.Order))
		require.NoError(t, err)
		b.eventually("taken", func() bool { return b.sagas() == 2 })
		b.eventually("ready", func() bool { return b.consumer.Ready() == nil })
	})
	t.Run("waits for a consumer that is not there yet", func(t *testing.T) {
		b := setup(t, 0)
		require.NoError(t, b.js.DeleteConsumer(t.Context(), message.RequestsStream, message.Consumer(message.Order)))
		b.run()
		b.eventually("says why", func() bool {
			err := b.consumer.Ready()
			return err != nil && strings.Contains(err.Error(), "esimctl streams apply")
		})
		b.publish("a")
		_, err := b.js.CreateConsumer(t.Context(), message.RequestsStream, message.Consumers()[0])
		require.NoError(t, err)
		b.eventually("taken", func() bool { return b.sagas() == 1 })
	})
	// Postgres is away, and far more arrives than there is memory for. What does not fit stays in the stream.
	t.Run("takes no more than it has memory for", func(t *testing.T) {
		b := setup(t, 0)
		var failures atomic.Int64
		b.consumer.Log = slog.New(counting{slog.DiscardHandler, &failures})
		_, err := b.db.Exec(t.Context(), "ALTER TABLE saga RENAME TO away")
		require.NoError(t, err)
		const n = 100
		for i := range n {
			body := fmt.Appendf(nil, `{"request_id":"r-%d","package_id":"p","description":%q}`, i, strings.Repeat("x", 1_000_000))
			_, err := b.js.Publish(t.Context(), message.RequestSubject(message.Order), body)
			require.NoError(t, err)
		}
		b.run()
		consumer, err := b.js.Consumer(t.Context(), message.RequestsStream, message.Consumer(message.Order))
		require.NoError(t, err)
		b.eventually("tried several times", func() bool { return failures.Load() >= 5 })
		info, err := consumer.Info(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, info.NumAckPending, 4*maxBytes/1_000_000)
		_, err = b.db.Exec(t.Context(), "ALTER TABLE away RENAME TO saga")
		require.NoError(t, err)
		require.Eventually(t, func() bool { return b.sagas() == n }, 5*time.Minute, 5*time.Millisecond, "all are taken")
	})
	t.Run("takes a batch apart that Postgres refuses, and buries the one it is about", func(t *testing.T) {
		b := setup(t, 0)
		_, err := b.db.Exec(t.Context(), "ALTER TABLE saga ADD CHECK (request_id <> 'cursed')")
		require.NoError(t, err)
		for _, id := range []string{"a", "cursed", "b"} {
			b.publish(id)
		}
		b.run()
		b.eventually("the others are taken", func() bool { return b.sagas() == 2 })
		var body []byte
		b.eventually("it is buried", func() bool {
			return b.db.QueryRow(t.Context(), "SELECT body FROM dead_letter WHERE code = 'malformed'").Scan(&body) == nil
		})
		require.Contains(t, string(body), "cursed")
	})
}
