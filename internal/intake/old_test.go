package intake

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/retention"
	"esimflow/internal/saga"
)

// delivery is a message as the stream delivers it, of any age.
type delivery struct {
	jetstream.Msg // what is not asked for

	body     string
	sequence uint64
	at       time.Time
	acked    *int
}

func (d delivery) Data() []byte         { return []byte(d.body) }
func (d delivery) Subject() string      { return message.RequestSubject(message.Order) }
func (d delivery) Headers() nats.Header { return nil }
func (d delivery) Ack() error           { *d.acked++; return nil }
func (d delivery) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: d.sequence}, Timestamp: d.at}, nil
}

// oldBench is a consumer that is given messages by hand, and what removes sagas.
type oldBench struct {
	*Consumer

	sweeper  *retention.Sweeper
	sequence uint64
}

func newOldBench(t *testing.T) *oldBench {
	t.Helper()
	db, err := pgxpool.New(t.Context(), devstack.Postgres(t))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	metrics := saga.NewMetrics(prometheus.NewRegistry())
	lease := saga.NewLease(db, "test", time.Minute, metrics)
	require.NoError(t, lease.Renew(t.Context()))
	return &oldBench{
		Consumer: NewConsumer(Config{
			DB: db, Store: saga.NewStore(db, metrics), Kind: message.Order, Lease: lease, Young: -24 * time.Hour, // nothing is too young
			Policy:  saga.Policy{SubmitTimeout: time.Minute, Deadline: time.Hour, RetryInitial: time.Second, RetryMax: time.Minute},
			Runner:  saga.NewRunner(saga.RunnerConfig{MaxInFlight: 10, Lease: lease}), // does not run: there is no room
			Metrics: NewMetrics(prometheus.NewRegistry(), metrics), Published: func() {}, Log: slog.New(slog.DiscardHandler),
		}),
		sweeper: retention.New(retention.Config{
			DB: db, Holder: "test", Keep: time.Hour, Metrics: retention.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
		}),
	}
}

// fatal is a test, or a law that is being tried.
type fatal interface {
	require.TestingT
	Helper()
}

// publish makes a message that reached the stream at that time.
func (b *oldBench) publish(id string, quantity int, at time.Time) delivery {
	b.sequence++
	body := fmt.Sprintf(`{"request_id":%q,"package_id":"p","quantity":%d}`, id, quantity)
	return delivery{body: body, sequence: b.sequence, at: at, acked: new(int)}
}

// deliver delivers messages and says what became of each.
func (b *oldBench) deliver(t fatal, all ...delivery) (results []string) {
	t.Helper()
	var batch []jetstream.Msg
	for _, d := range all {
		batch = append(batch, d)
	}
	arrivals, err := b.store(context.Background(), batch, time.Now(), nil)
	require.NoError(t, err)
	require.NoError(t, b.remember(context.Background(), arrivals))
	require.NoError(t, b.bury(context.Background(), arrivals))
	for _, a := range arrivals {
		results = append(results, a.result)
	}
	return results
}

func (b *oldBench) exec(t fatal, sql string, args ...any) {
	t.Helper()
	_, err := b.DB.Exec(context.Background(), sql, args...)
	require.NoError(t, err)
}

// end completes the sagas that there are.
func (b *oldBench) end(t fatal) {
	t.Helper()
	b.exec(t, "UPDATE saga SET state = 'completed', due_at = NULL, order_id = COALESCE(order_id, (random() * 1e15)::bigint), ends = 1, updated_at = now() WHERE state <> 'completed'")
}

// remove has all leave that has ended before a moment.
func (b *oldBench) remove(t fatal, before time.Time) {
	t.Helper()
	require.NoError(t, b.sweeper.Announce(context.Background(), before))
	_, err := b.sweeper.Sweep(context.Background(), before)
	require.NoError(t, err)
}

func (b *oldBench) now(t fatal) (now time.Time) {
	t.Helper()
	require.NoError(t, b.DB.QueryRow(context.Background(), "SELECT clock_timestamp()").Scan(&now))
	return now
}

func (b *oldBench) sagas(t fatal) (n int) {
	t.Helper()
	require.NoError(t, b.DB.QueryRow(context.Background(), "SELECT count(*) FROM saga").Scan(&n))
	return n
}

func TestOldRequests(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) *oldBench {
		t.Helper()
		t.Parallel()
		return newOldBench(t)
	}
	t.Run("are not bought again after their saga has left, and are kept whole", func(t *testing.T) {
		b := setup(t)
		first := b.publish("a", 1, b.now(t))
		require.Equal(t, []string{"accepted"}, b.deliver(t, first))
		b.end(t)
		b.remove(t, b.now(t).Add(time.Second))
		require.Zero(t, b.sagas(t))
		require.Equal(t, []string{"expired"}, b.deliver(t, first))
		require.Equal(t, []string{"expired", "expired"}, b.deliver(t, first, first), "however often")
		require.Zero(t, b.sagas(t))

		var code, class, requestID, packageID, purchased, reason string
		var body []byte
		var replayable bool
		require.NoError(t, b.DB.QueryRow(t.Context(), // which is one row
			"SELECT code, class, request_id, package_id, purchased, reason, body, replayable FROM dead_letter WHERE status = 'open'").
			Scan(&code, &class, &requestID, &packageID, &purchased, &reason, &body, &replayable))
		require.Equal(t, []string{"expired", "expired", "a", "p", "unknown"}, []string{code, class, requestID, packageID, purchased})
		require.Equal(t, first.body, string(body))
		require.False(t, replayable)
		require.Contains(t, reason, "it should send it again")
		var letters int
		require.NoError(t, b.DB.QueryRow(t.Context(), "SELECT count(*) FROM dead_letter").Scan(&letters))
		require.Equal(t, 1, letters)
	})
	t.Run("are still duplicates and conflicts while their saga is there", func(t *testing.T) {
		b := setup(t)
		first, other := b.publish("a", 1, b.now(t)), b.publish("a", 2, b.now(t))
		fresh := b.publish("b", 1, b.now(t).Add(time.Hour))
		require.Equal(t, []string{"accepted", "conflict"}, b.deliver(t, first, other))
		b.remove(t, b.now(t).Add(time.Second)) // it has not ended
		require.Equal(t, []string{"duplicate", "conflict", "accepted"}, b.deliver(t, first, other, fresh))
	})
	t.Run("are taken when nothing has left yet that is as young", func(t *testing.T) {
		b := setup(t)
		year := b.now(t).Add(-365 * 24 * time.Hour)
		require.Equal(t, []string{"accepted"}, b.deliver(t, b.publish("a", 1, year)))
		b.remove(t, year.Add(time.Hour))
		require.Equal(t, []string{"expired", "accepted"}, b.deliver(t, b.publish("b", 1, year), b.publish("c", 1, year.Add(time.Hour))))
	})
	t.Run("are not asked about while they are young", func(t *testing.T) {
		b := setup(t)
		b.Young = time.Hour
		b.exec(t, "ALTER TABLE retention RENAME TO away")
		require.Equal(t, []string{"accepted"}, b.deliver(t, b.publish("a", 1, b.now(t))))
		arrivals, err := b.store(t.Context(), []jetstream.Msg{b.publish("b", 1, b.now(t).Add(-2*time.Hour))}, time.Now(), nil)
		require.ErrorContains(t, err, "what has left")
		require.Empty(t, arrivals)
	})
	t.Run("that were duplicates keep their saga until they are too old themselves", func(t *testing.T) {
		b := setup(t)
		start := b.now(t)
		first, second, other := b.publish("a", 1, start), b.publish("a", 1, start.Add(time.Hour)), b.publish("a", 2, start.Add(2*time.Hour))
		require.Equal(t, []string{"accepted", "duplicate", "conflict"}, b.deliver(t, first, second, other))
		b.end(t)
		b.remove(t, start.Add(90*time.Minute))
		require.Equal(t, []string{"duplicate", "duplicate", "conflict"}, b.deliver(t, first, second, other))
		b.remove(t, start.Add(3*time.Hour))
		require.Equal(t, []string{"expired", "expired", "expired"}, b.deliver(t, first, second, other))
		require.Zero(t, b.sagas(t))
	})
	t.Run("whose saga leaves while they are found to be duplicates are decided again", func(t *testing.T) {
		b := setup(t)
		first := b.publish("a", 1, b.now(t))
		second := b.publish("a", 1, b.now(t).Add(time.Hour))
		b.deliver(t, first)
		b.end(t)
		arrivals, err := b.store(t.Context(), []jetstream.Msg{second}, time.Now(), nil)
		require.NoError(t, err)
		require.Equal(t, resultDuplicate, arrivals[0].result)
		b.remove(t, b.now(t).Add(time.Second))
		require.ErrorIs(t, b.remember(t.Context(), arrivals), errLeft)
		require.Zero(t, *second.acked)
		b.commit(t.Context(), []jetstream.Msg{second})
		require.Equal(t, 1, *second.acked)
		require.Equal(t, 1, b.sagas(t), "it came after RETENTION: a new request")
	})
}

// However messages are published, delivered once and again, sagas end and leave, at
// whatever times: a message that was decided on is never bought after that, and a key is
// bought again only by a message that nobody had seen when the saga before it had left.
func TestLeavingNeverBuysTwice(t *testing.T) {
	t.Parallel()
	b := newOldBench(t)
	rapid.Check(t, func(rt *rapid.T) {
		b.exec(rt, "TRUNCATE saga, saga_request, saga_history, dead_letter, outbox")
		b.exec(rt, "UPDATE retention SET removed_before = NULL")
		type published struct {
			delivery
			key     string
			decided bool
		}
		var stream []*published
		onRecord := map[string]bool{}
		start := b.now(rt)
		moment := func(label string) time.Time { // all that happens takes less than an hour
			return start.Add(time.Duration(rapid.Int64Range(-10, 70).Draw(rt, label)) * time.Minute)
		}
		keys := []string{"a", "a", "a", "b"}
		refresh := func() {
			clear(onRecord)
			rows, err := b.DB.Query(context.Background(), "SELECT request_id FROM saga")
			require.NoError(rt, err)
			for rows.Next() {
				var key string
				require.NoError(rt, rows.Scan(&key))
				onRecord[key] = true
			}
			require.NoError(rt, rows.Err())
		}
		rt.Repeat(map[string]func(*rapid.T){
			"publish": func(rt *rapid.T) {
				key := rapid.SampledFrom(keys).Draw(rt, "key")
				stream = append(stream, &published{delivery: b.publish(key, rapid.IntRange(1, 2).Draw(rt, "quantity"), moment("at")), key: key})
			},
			"deliver": func(rt *rapid.T) {
				if len(stream) == 0 {
					rt.Skip("nothing was published")
				}
				batch := rapid.SliceOfNDistinct(rapid.IntRange(0, len(stream)-1), 1, min(3, len(stream)), rapid.ID[int]).Draw(rt, "messages")
				refresh()
				had := maps.Clone(onRecord)
				var all []delivery
				for _, i := range batch {
					all = append(all, stream[i].delivery)
				}
				for n, result := range b.deliver(rt, all...) {
					m := stream[batch[n]]
					switch result {
					case resultAccepted:
						require.False(rt, m.decided, "%s was decided on before", m.body)
						require.False(rt, had[m.key], "%s is on record", m.key)
						had[m.key] = true
					case resultDuplicate, saga.CodeConflict:
						require.True(rt, had[m.key], "%s is not on record", m.key)
					default:
						require.Equal(rt, saga.CodeExpired, result)
						require.False(rt, onRecord[m.key], "%s is on record", m.key)
					}
					m.decided = true
				}
			},
			"end": func(rt *rapid.T) {
				b.exec(rt, "UPDATE saga SET state = 'completed', order_id = (random() * 1e15)::bigint, due_at = NULL, ends = 1, updated_at = $2 WHERE state <> 'completed' AND request_id = $1",
					rapid.SampledFrom(keys).Draw(rt, "key"), moment("ended"))
			},
			"leave": func(rt *rapid.T) { b.remove(rt, moment("before")) },
		})
	})
}
