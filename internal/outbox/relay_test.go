package outbox

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/message"
)

const subject = "esim.event.order.completed"

type bench struct {
	t  *testing.T
	db *pgxpool.Pool
	nc *nats.Conn
	js jetstream.JetStream

	mu     sync.Mutex
	copies map[uuid.UUID]uint64
}

func setup(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	db, err := pgxpool.New(t.Context(), devstack.Postgres(t))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	nc, err := nats.Connect(devstack.NATS(t).URL(), nats.Timeout(time.Minute))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(time.Minute))
	require.NoError(t, err)
	return &bench{t: t, db: db, nc: nc, js: js, copies: map[uuid.UUID]uint64{}}
}

func (b *bench) streams(change ...func(*jetstream.StreamConfig)) {
	b.t.Helper()
	for _, s := range message.Streams(1) {
		for _, c := range change {
			c(&s)
		}
		_, err := b.js.CreateOrUpdateStream(b.t.Context(), s)
		require.NoError(b.t, err)
	}
}

// relay makes one; published adds to the commit that settles.
func (b *bench) relay(name string, published func(*pgx.Batch)) *Relay {
	return NewRelay(Config{
		DB: b.db, NATS: b.nc, Name: name, Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(),
		Hooks: Hooks{
			Published: func(q *pgx.Batch, acked []Acked) func() {
				b.mu.Lock()
				for _, a := range acked {
					b.copies[a.DeadLetter] = a.Sequence
				}
				b.mu.Unlock()
				published(q)
				return func() {}
			},
			Copies: func(_ context.Context, ids []uuid.UUID) (map[uuid.UUID]uint64, error) {
				b.mu.Lock()
				defer b.mu.Unlock()
				at := map[uuid.UUID]uint64{}
				for _, id := range ids {
					if seq := b.copies[id]; seq != 0 {
						at[id] = seq
					}
				}
				return at, nil
			},
		},
	})
}

func nothing(*pgx.Batch) {}

func (b *bench) run(r *Relay) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		require.NoError(b.t, <-done)
	})
}

func (b *bench) put(messages ...Message) {
	b.t.Helper()
	require.NoError(b.t, pgx.BeginFunc(b.t.Context(), b.db, func(tx pgx.Tx) error {
		return Append(b.t.Context(), tx, messages...)
	}))
}

// restricted is a bench of which the relays' user may not delete what is on a stream. NATS tells whoever tries by silence.
func restricted(t *testing.T) *bench {
	t.Helper()
	b := setup(t)
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		AuthTimeout: 60, // seconds
		Users: []*server.User{
			{Username: "all", Password: "all"},
			{Username: "some", Password: "some", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.MSG.DELETE.>"}},
			}},
		},
	})
	require.NoError(t, err)
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	require.True(t, srv.ReadyForConnections(time.Minute))
	all, err := nats.Connect(srv.ClientURL(), nats.UserInfo("all", "all"), nats.Timeout(time.Minute))
	require.NoError(t, err)
	t.Cleanup(all.Close)
	b.js, err = jetstream.New(all, jetstream.WithDefaultTimeout(time.Minute))
	require.NoError(t, err)
	b.nc, err = nats.Connect(srv.ClientURL(), nats.UserInfo("some", "some"), nats.Timeout(time.Minute), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	require.NoError(t, err)
	t.Cleanup(b.nc.Close)
	return b
}

func result(id string) Message {
	return Message{Message: message.Message{Subject: subject, ID: id, Body: []byte("{}")}}
}

func letter(id uuid.UUID) Message {
	return Message{Message: message.Message{Subject: "esim.dlq.order.11", ID: id.String(), Body: []byte("{}")}, DeadLetter: id}
}

func (b *bench) on(stream string) uint64 {
	b.t.Helper()
	s, err := b.js.Stream(b.t.Context(), stream)
	require.NoError(b.t, err)
	return s.CachedInfo().State.Msgs
}

func (b *bench) rows() (n int) {
	b.t.Helper()
	require.NoError(b.t, b.db.QueryRow(b.t.Context(), "SELECT count(*) FROM outbox").Scan(&n))
	return n
}

func (b *bench) eventually(what string, f func() bool) {
	b.t.Helper()
	require.Eventually(b.t, f, 60*time.Second, 20*time.Millisecond, what)
}

func TestRelay(t *testing.T) {
	t.Run("publishes what was committed, and what was not, not", func(t *testing.T) {
		b := setup(t)
		b.streams()
		b.run(b.relay("a", nothing))
		tx, err := b.db.Begin(t.Context())
		require.NoError(t, err)
		require.NoError(t, Append(t.Context(), tx, result("never")))
		require.NoError(t, tx.Rollback(t.Context()))
		b.put(result("1"), result("2"))
		b.eventually("empty", func() bool { return b.rows() == 0 })
		require.Equal(t, uint64(2), b.on(message.EventsStream))
	})
	t.Run("publishes again what it could not settle, under the same id", func(t *testing.T) {
		b := setup(t)
		b.streams()
		failures := 2
		b.run(b.relay("a", func(q *pgx.Batch) {
			if failures--; failures >= 0 {
				q.Queue("SELECT 1 / 0")
			}
		}))
		b.put(result("1"))
		b.eventually("empty", func() bool { return b.rows() == 0 })
		require.Equal(t, uint64(1), b.on(message.EventsStream))
	})
	t.Run("lets one message that is refused hold up nobody", func(t *testing.T) {
		b := setup(t)
		b.streams(func(s *jetstream.StreamConfig) {
			if s.Name == message.DeadLettersStream {
				s.MaxMsgs = 1
			}
		})
		b.run(b.relay("a", nothing))
		b.put(letter(uuid.New()), letter(uuid.New()), result("1"))
		b.eventually("all but one", func() bool { return b.rows() == 1 && b.on(message.EventsStream) == 1 })
		b.streams()
		b.eventually("empty", func() bool { return b.rows() == 0 })
		require.Equal(t, uint64(2), b.on(message.DeadLettersStream))
	})
	t.Run("forgets copies, however the forgetting meets the copying", func(t *testing.T) {
		b := setup(t)
		b.streams(func(s *jetstream.StreamConfig) {
			if s.Name == message.DeadLettersStream {
				s.MaxMsgs = 1
			}
		})
		early, together, late := uuid.New(), uuid.New(), uuid.New()
		b.put(letter(early))
		b.run(b.relay("a", nothing))
		b.eventually("copied", func() bool { return b.on(message.DeadLettersStream) == 1 })
		b.put(letter(late), Forget(late)) // refused for now: the stream is full
		b.eventually("refused", func() bool {
			var failures int
			require.NoError(t, b.db.QueryRow(t.Context(), "SELECT COALESCE(max(failures), 0) FROM outbox").Scan(&failures))
			return failures > 0
		})
		b.put(Forget(early))
		b.put(letter(together), Forget(together))
		b.put(Forget(uuid.New())) // there never was a copy
		b.eventually("empty", func() bool { return b.rows() == 0 })
		require.Zero(t, b.on(message.DeadLettersStream))
	})
	t.Run("does not run dry on acknowledgements that never come", func(t *testing.T) {
		b := setup(t)
		// No stream, and somebody who listens: nobody says that nobody is there.
		sub, err := b.nc.SubscribeSync("esim.event.>")
		require.NoError(t, err)
		b.run(b.relay("a", nothing))
		var all []Message
		for range 2 * batchSize {
			all = append(all, result(uuid.NewString()))
		}
		b.put(all...)
		b.eventually("all sent", func() bool {
			n, _, _ := sub.Pending()
			return n >= len(all)
		})
		require.NoError(t, sub.Unsubscribe())
		b.streams()
		b.eventually("empty", func() bool { return b.rows() == 0 })
		require.Equal(t, uint64(len(all)), b.on(message.EventsStream))
	})
	// Nobody acknowledges the copies of dead letters, and there are more than can be tried in the time after which they are
	// tried again. A result does not wait behind them.
	t.Run("lets a stream that never answers hold up no other", func(t *testing.T) {
		b := setup(t)
		b.streams()
		require.NoError(t, b.js.DeleteStream(t.Context(), message.DeadLettersStream))
		_, err := b.nc.SubscribeSync("esim.dlq.>") // nobody says that nobody is there
		require.NoError(t, err)
		var all []Message
		for range 4 * batchSize {
			all = append(all, letter(uuid.New()))
		}
		b.put(all...)
		b.run(b.relay("a", nothing))
		b.eventually("all are refused", func() bool {
			var fresh int
			require.NoError(t, b.db.QueryRow(t.Context(), "SELECT count(*) FROM outbox WHERE failures = 0").Scan(&fresh))
			return fresh == 0
		})
		b.put(result("1"))
		b.eventually("published", func() bool { return b.on(message.EventsStream) == 1 })
		b.eventually("all others wait", func() bool { return b.rows() == len(all) })
	})
	// Many copies are to be forgotten, and nobody answers. It is not waited for each of them while results wait.
	t.Run("lets copies that cannot be deleted hold up no result", func(t *testing.T) {
		b := restricted(t)
		b.streams()
		b.run(b.relay("a", nothing))
		var letters, forgets []Message
		for range 60 {
			id := uuid.New()
			letters, forgets = append(letters, letter(id)), append(forgets, Forget(id))
		}
		b.put(letters...)
		b.eventually("copied", func() bool { return b.rows() == 0 })
		b.put(forgets...)
		b.eventually("one is refused", func() bool {
			var failures int
			require.NoError(t, b.db.QueryRow(t.Context(), "SELECT COALESCE(max(failures), 0) FROM outbox").Scan(&failures))
			return failures > 0
		})
		b.put(result("1"))
		b.eventually("published", func() bool { return b.on(message.EventsStream) == 1 })
		b.eventually("all others wait", func() bool { return b.rows() == len(forgets) })
	})
	// Far more than there is memory for waits, among it what was refused before. It is read a part at a time, and what nobody
	// has refused yet is in each.
	t.Run("reads no more at a time than it has memory for", func(t *testing.T) {
		b := setup(t)
		b.streams()
		large := func() (m Message) {
			m = letter(uuid.New())
			m.Body = make([]byte, 1<<20-1<<14)
			return m
		}
		for range 20 {
			b.put(large())
		}
		_, err := b.db.Exec(t.Context(), "UPDATE outbox SET failures = 1")
		require.NoError(t, err)
		for range 20 {
			b.put(large())
		}
		b.put(result("1"))
		r := b.relay("a", nothing)
		rows, err := r.due(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, len(rows), batchBytes>>20+1)
		require.Greater(t, len(rows), 1)
		var refused int
		require.NoError(t, b.db.QueryRow(t.Context(), "SELECT max(id) FROM outbox WHERE failures > 0").Scan(&refused))
		for _, m := range rows {
			require.Greater(t, m.id, int64(refused))
		}
		b.run(r)
		b.eventually("empty", func() bool { return b.rows() == 0 })
		require.Equal(t, uint64(40), b.on(message.DeadLettersStream))
	})
	t.Run("is not stopped by another that is frozen while it settles", func(t *testing.T) {
		b := setup(t)
		b.streams()
		frozen, thaw := make(chan struct{}), make(chan struct{})
		var once sync.Once
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		first := b.relay("a", func(*pgx.Batch) {
			once.Do(func() { close(frozen); <-thaw })
		})
		go func() {
			defer close(done)
			_ = first.Run(ctx)
		}()
		b.put(result("1"))
		<-frozen
		b.run(b.relay("b", nothing))
		b.put(result("2"))
		b.eventually("both announced", func() bool { return b.on(message.EventsStream) == 2 && b.rows() == 0 })
		b.put(result("3"))
		close(thaw) // what it settles then is settled already
		b.eventually("the third as well", func() bool { return b.on(message.EventsStream) == 3 && b.rows() == 0 })
		cancel()
		<-done
	})
}
