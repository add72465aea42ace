package restore

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/message"
)

// scene is a Postgres and a NATS, and as many workers' witnesses as a test likes.
type scene struct {
	t    *testing.T
	dsn  string
	db   *pgxpool.Pool // the test's own
	nats *devstack.NATSServer
	js   jetstream.JetStream
}

func setScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, dsn: devstack.Postgres(t), nats: devstack.NATS(t)}
	var err error
	s.db, err = pgxpool.New(t.Context(), s.dsn)
	require.NoError(t, err)
	t.Cleanup(s.db.Close)
	s.js, err = jetstream.New(s.connect(), jetstream.WithDefaultTimeout(unhurried))
	require.NoError(t, err)
	for _, c := range message.Streams(1) {
		if c.Name == message.WitnessStream {
			_, err = s.js.CreateStream(t.Context(), c)
			require.NoError(t, err)
		}
	}
	return s
}

func (s *scene) connect() *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect(s.nats.URL(), nats.Timeout(unhurried), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	require.NoError(s.t, err)
	s.t.Cleanup(nc.Close)
	return nc
}

// someone is a worker, as far as its witness can see.
type someone struct {
	*Witness
	pool               *pgxpool.Pool
	refreshed, forsook atomic.Int64
	log                bytes.Buffer // of one goroutine
}

// unhurried is how long anything may take that only has to happen.
const unhurried = time.Minute

// start starts a worker that has not looked yet.
func (s *scene) start() *someone {
	s.t.Helper()
	me := &someone{Witness: NewWitness()}
	cfg, err := pgxpool.ParseConfig(s.dsn)
	require.NoError(s.t, err)
	cfg.AfterConnect = me.Greet
	me.pool, err = pgxpool.NewWithConfig(context.Background(), cfg)
	require.NoError(s.t, err)
	s.t.Cleanup(me.pool.Close)
	nc := s.connect()
	js, err := jetstream.New(nc)
	require.NoError(s.t, err)
	me.Use(Config{
		DB: me.pool, JetStream: js, Connected: nc.IsConnected,
		Refresh: func(context.Context) error { me.refreshed.Add(1); return nil },
		Wake:    func() {}, Forsake: func() { me.forsook.Add(1) },
		Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.NewTextHandler(&me.log, nil)),
		TurnTimeout: unhurried, AskTimeout: unhurried,
	})
	return me
}

// looked starts a worker that has looked.
func (s *scene) looked() *someone {
	s.t.Helper()
	me := s.start()
	require.True(s.t, me.Held())
	require.ErrorContains(s.t, me.Problem(), "nothing is submitted")
	for deadline := time.Now().Add(unhurried); me.Held() && time.Now().Before(deadline); {
		me.First(s.t.Context())
	}
	require.False(s.t, me.Held(), me.log.String())
	require.NoError(s.t, me.Problem())
	require.Positive(s.t, me.refreshed.Load(), "what is paused is read before anything is submitted")
	return me
}

func (s *scene) exec(sql string) {
	s.t.Helper()
	_, err := s.db.Exec(s.t.Context(), sql)
	require.NoError(s.t, err)
}

func (s *scene) text(sql string) (got string) {
	s.t.Helper()
	require.NoError(s.t, s.db.QueryRow(s.t.Context(), sql).Scan(&got))
	return got
}

// told is what NATS has been told.
func (s *scene) told() (m Mark) {
	s.t.Helper()
	stream, err := s.js.Stream(s.t.Context(), message.WitnessStream)
	require.NoError(s.t, err)
	last, err := stream.GetLastMsgForSubject(s.t.Context(), message.WitnessSubject)
	require.NoError(s.t, err)
	require.Equal(s.t, uint64(1), stream.CachedInfo().State.Msgs)
	require.NoError(s.t, json.Unmarshal(last.Data, &m))
	return m
}

func (s *scene) row() (m Mark) {
	s.t.Helper()
	require.NoError(s.t, s.db.QueryRow(s.t.Context(), "SELECT id, beat FROM witness").Scan(&m.Database, &m.Beat))
	return m
}

const (
	pausesSQL = "SELECT coalesce(string_agg(name || ' ' || actor, ', ' ORDER BY name), '') FROM gate_pause"
	lossesSQL = "SELECT losses::text FROM witness"
)

// Workers come, go and take their turns at once: the row and NATS rise together, and nobody is
// accused. Then the row is set back, as by a backup: whoever looks first pauses both kinds, and
// it is said once. An operator's end of the pause holds.
func TestWorkersTakeTurns(t *testing.T) {
	t.Parallel()
	s := setScene(t)
	var crew []*someone
	for range 4 {
		crew = append(crew, s.looked())
	}
	var all sync.WaitGroup
	for _, me := range crew {
		all.Go(func() {
			for turns, began := 0, time.Now(); turns < 10 && time.Since(began) < unhurried; {
				if me.try(t.Context()) == nil {
					turns++
				}
			}
		})
	}
	all.Wait()
	last := s.looked()
	require.Equal(t, s.row(), s.told())
	require.Greater(t, s.row().Beat, int64(20))
	require.Equal(t, "0", s.text(lossesSQL))
	require.Empty(t, s.text(pausesSQL))
	require.Positive(t, testutil.ToFloat64(last.cfg.Metrics.seen))
	require.Zero(t, testutil.ToFloat64(last.cfg.Metrics.losses))

	before := s.told()
	s.exec("UPDATE witness SET beat = 3")
	finder := s.looked()
	require.Equal(t, "1", s.text(lossesSQL))
	require.Equal(t, "order esimflow, topup esimflow", s.text(pausesSQL))
	require.Contains(t, s.text("SELECT reason FROM gate_pause WHERE name = 'order'"), "EsimflowPostgresForgot in docs/runbook.md")
	require.Equal(t, "2", s.text("SELECT count(*)::text FROM gate_trail WHERE actor = 'esimflow' AND action = 'pause'"))
	require.Contains(t, finder.log.String(), "level=ERROR")
	require.InDelta(t, 1, testutil.ToFloat64(finder.cfg.Metrics.losses), 0)
	require.InDelta(t, 2, testutil.ToFloat64(finder.cfg.Metrics.paused), 0)
	require.Greater(t, s.row().Beat, before.Beat)
	require.Equal(t, s.row(), s.told())

	s.exec("DELETE FROM gate_pause")
	next := s.looked()
	require.NoError(t, next.try(t.Context()))
	require.Equal(t, "1", s.text(lossesSQL))
	require.Empty(t, s.text(pausesSQL), "it is the operator's word now")
}

// What is paused when a loss is found stays paused for two reasons, and whoever resumes reads both.
// What the copy was in the middle of is ended, and nobody gives up, as when an operator opens the database.
func TestALossIsToldWithWhatWasPausedBefore(t *testing.T) {
	t.Parallel()
	s := setScene(t)
	s.looked()
	s.exec("INSERT INTO gate_pause (what, name, actor, reason) VALUES ('kind', 'order', 'ann', 'prices')")
	s.exec(`INSERT INTO saga (id, kind, request_id, state, due_at, deadline_at, reference, fingerprint, package_id, quantity, requested_at)
		VALUES (gen_random_uuid(), 'order', 'late', 'pending', now(), now() - interval '1 hour', 'r1', 'f', 'p', 1, now())`)
	s.exec(`INSERT INTO replay (id, actor, reason, filter, rate, ramp, letters) VALUES (gen_random_uuid(), 'bob', 'credit', '{}', 1, '{1}', 3)`)
	for range 2 {
		s.exec("UPDATE witness SET beat = 0")
		s.looked()
	}
	require.Equal(t, "2", s.text(lossesSQL))
	require.Regexp(t, `^Postgres has lost commits: .* \(paused before by ann: prices\)$`, s.text("SELECT reason FROM gate_pause WHERE name = 'order'"))
	require.Equal(t, "2", s.text("SELECT count(*)::text FROM gate_trail"), "what is paused for it already is left alone")
	require.Equal(t, "aborted", s.text("SELECT state FROM replay"))
	require.Equal(t, "late", s.text("SELECT request_id FROM saga WHERE deadline_at > now() + interval '23 hours'"))
}

// An operator has said that the database is an older one before the worker sees it: nothing is
// changed about that pause, and nobody is alarmed.
func TestBeginComesBeforeTheWitness(t *testing.T) {
	t.Parallel()
	s := setScene(t)
	s.looked()
	conn, err := pgx.Connect(t.Context(), s.dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	s.exec("UPDATE witness SET beat = 0")
	_, err = Begin(t.Context(), conn, time.Now().Add(-time.Hour), By{Actor: "ann", Reason: "disk lost"})
	require.NoError(t, err)
	me := s.looked()
	require.Equal(t, "order ann, topup ann", s.text(pausesSQL))
	open, err := Opening(t.Context(), conn)
	require.NoError(t, err)
	require.True(t, open)
	require.NotContains(t, me.log.String(), "level=ERROR")
	require.Zero(t, testutil.ToFloat64(me.cfg.Metrics.losses))
	require.Zero(t, testutil.ToFloat64(me.cfg.Metrics.paused))

	// The other way round an operator takes over what the witness has paused.
	s.exec("DELETE FROM gate_pause")
	s.exec("UPDATE witness SET beat = 0")
	s.looked()
	_, err = Begin(t.Context(), conn, time.Now().Add(-time.Hour), By{Actor: "ann", Reason: "disk lost"})
	require.NoError(t, err)
	require.Equal(t, "order ann, topup ann", s.text(pausesSQL))
	require.Contains(t, s.text("SELECT reason FROM gate_pause WHERE name = 'order'"), "(paused before by esimflow: Postgres has lost commits")
	require.NoError(t, me.try(t.Context()))
	require.Zero(t, testutil.ToFloat64(me.cfg.Metrics.paused), "the alert ends when somebody has begun")
}

// NATS has seen another database, or bytes that mean nothing: nobody is accused, and the
// message is replaced.
func TestNewDatabasesAreWelcome(t *testing.T) {
	t.Parallel()
	s := setScene(t)
	for _, body := range []string{`{"database":"` + uuid.NewString() + `","beat":900}`, `{"beat":900}`, "bytes that mean nothing"} {
		_, err := s.js.Publish(t.Context(), message.WitnessSubject, []byte(body))
		require.NoError(t, err)
		me := s.looked()
		require.Contains(t, me.log.String(), "another database")
		require.Equal(t, s.row(), s.told())
	}
	require.Equal(t, "0", s.text(lossesSQL))
}

// Without the stream there is no witness: that is said, and work goes on.
func TestWithoutAStreamWorkGoesOn(t *testing.T) {
	t.Parallel()
	s := setScene(t)
	require.NoError(t, s.js.DeleteStream(t.Context(), message.WitnessStream))
	begin := func() *someone {
		me := s.start()
		me.First(t.Context())
		require.False(t, me.Held(), me.log.String())
		return me
	}
	me := begin()
	require.Contains(t, me.log.String(), "esimctl streams apply")
	require.Zero(t, testutil.ToFloat64(me.cfg.Metrics.seen))
	s.exec("UPDATE witness SET beat = 0")
	me = begin()
	require.Equal(t, "0", s.text(lossesSQL), "nobody knows")
	s.exec("UPDATE witness SET beat = 0")
	require.ErrorIs(t, me.try(t.Context()), errNoStream)
	require.Equal(t, "1", s.text(lossesSQL), "but for who was there")
	require.Equal(t, int64(1), me.forsook.Load())
}

// While NATS is away a worker that runs goes on, and still knows what it has seen; one that starts
// submits nothing until NATS is back.
func TestNATSIsAwayFromTheWitness(t *testing.T) {
	t.Parallel()
	s := setScene(t)
	me := s.looked()
	s.nats.Stop()
	require.Eventually(t, func() bool { return !me.cfg.Connected() }, unhurried, 5*time.Millisecond)
	require.ErrorIs(t, me.try(t.Context()), errAway)
	require.False(t, me.Held())
	require.NoError(t, me.Problem())

	require.NoError(t, s.nats.Start())
	late := s.start()
	s.nats.Stop()
	require.Eventually(t, func() bool { return !late.cfg.Connected() && !me.cfg.Connected() }, unhurried, 5*time.Millisecond)
	late.First(t.Context())
	require.True(t, late.Held())
	require.ErrorContains(t, late.Problem(), "NATS is away")

	s.exec("UPDATE witness SET beat = 0")
	require.ErrorIs(t, me.try(t.Context()), errAway)
	require.Equal(t, "order esimflow, topup esimflow", s.text(pausesSQL))
	require.False(t, me.Held(), "it knows what is paused")

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { late.Run(ctx) })
	require.NoError(t, s.nats.Start())
	require.Eventually(t, func() bool { return !late.Held() }, unhurried, 5*time.Millisecond)
	stop()
	running.Wait()
	require.Equal(t, "1", s.text(lossesSQL))
}

// After a failover all connections are new. The first that shows less than the worker knows has it
// stop submitting, forsake what it has claimed, and look; so does one that shows that another worker has
// found a loss. One that shows what was there, or more, does nothing.
func TestConnectionsAreGreeted(t *testing.T) {
	t.Parallel()
	s := setScene(t)
	me, other := s.looked(), s.looked()
	require.NoError(t, me.try(t.Context()))
	reconnect := func(m *someone) {
		t.Helper()
		m.pool.Reset()
		conn, err := m.pool.Acquire(t.Context())
		require.NoError(t, err)
		conn.Release()
	}
	reconnect(me)
	require.False(t, me.Held())
	s.exec("UPDATE witness SET beat = beat - 1")
	reconnect(me)
	require.True(t, me.Held())
	require.ErrorContains(t, me.Problem(), "lost commits")
	require.Equal(t, int64(1), me.forsook.Load())
	reconnect(other)
	require.False(t, other.Held(), "it has not seen that one")
	require.NoError(t, me.try(t.Context()))
	require.False(t, me.Held())
	require.Equal(t, "1", s.text(lossesSQL))

	reconnect(other)
	require.True(t, other.Held(), "somebody else has found it")
	refreshed := other.refreshed.Load()
	require.NoError(t, other.try(t.Context()))
	require.False(t, other.Held())
	require.Greater(t, other.refreshed.Load(), refreshed)
	require.Equal(t, "1", s.text(lossesSQL))

	third := s.looked()
	s.exec("UPDATE witness SET beat = 0")
	require.NoError(t, other.try(t.Context()), "it has no new connection, and finds it in its turn")
	require.Equal(t, int64(2), other.forsook.Load())
	require.NoError(t, third.try(t.Context()))
	require.Equal(t, int64(1), third.forsook.Load(), "a loss that others have found is news to it")
	require.Equal(t, "2", s.text(lossesSQL))
}

// Whoever has a turn keeps nobody waiting: the others go without theirs.
func TestNobodyWaitsForATurn(t *testing.T) {
	t.Parallel()
	s := setScene(t)
	me := s.looked()
	tx, err := s.db.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT FROM witness FOR UPDATE")
	require.NoError(t, err)
	require.ErrorIs(t, me.try(t.Context()), errTurn)
	require.False(t, me.Held())
	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, me.try(t.Context()))
}

// A process is stopped in the middle of its turn, as by SIGSTOP or in a machine that is suspended. Others that start meanwhile have their
// first look all the same, before long.
func TestATurnThatIsFrozenEnds(t *testing.T) {
	t.Parallel()
	s := setScene(t)
	frozen := s.looked()
	frozen.cfg.TurnTimeout = turnTimeout
	stopped, thaw, turned := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	frozen.cfg.Connected = func() bool { close(stopped); <-thaw; return false }
	go func() { turned <- frozen.try(context.Background()) }()
	<-stopped
	me := s.start()
	require.Eventually(t, func() bool { _ = me.try(t.Context()); return !me.Held() }, unhurried, 100*time.Millisecond)
	close(thaw)
	require.Error(t, <-turned)
}
