package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"esimflow/api/apitest"
	"esimflow/internal/app"
	"esimflow/internal/config"
	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
	"esimflow/internal/restore"
)

// bench is everything: Postgres, NATS, the simulator, and whatever a test starts.
type bench struct {
	t    *testing.T
	env  map[string]string
	nats *devstack.NATSServer
	nc   *nats.Conn
	js   jetstream.JetStream
	db   *pgxpool.Pool
	sim  *pressonesim.Sim
	log  *lockedBuffer
}

// setup starts the outside world with settings that make seconds of hours.
func setup(t *testing.T, sim pressonesim.Config) *bench {
	t.Helper()
	t.Parallel()
	ns := devstack.NATS(t)
	b := setupOn(t, sim, ns.URL(), 1)
	b.nats = ns
	return b
}

// setupOn is setup for a NATS of the caller's, with that many replicas. It leaves it to the
// caller to be parallel.
func setupOn(t *testing.T, sim pressonesim.Config, natsURL string, replicas int) *bench {
	t.Helper()
	dsn := devstack.Postgres(t)
	return setupAt(t, sim, natsURL, replicas, dsn, dsn)
}

// setupAt is setupOn for a database of the caller's, which programs and the test may reach as
// different roles.
func setupAt(t *testing.T, sim pressonesim.Config, natsURL string, replicas int, programs, dsn string) *bench {
	t.Helper()
	b := &bench{t: t, log: &lockedBuffer{}}
	if sim.ClientID == "" {
		sim.ClientID, sim.ClientSecret = "client", "canary-client-secret-4711"
	}
	simulator := pressonesim.New(sim)
	server, err := simulator.Serve("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(server.Close)
	b.sim = simulator
	b.env = map[string]string{
		"DATABASE_URL": programs, "NATS_URL": natsURL,
		"PRESSONE_BASE_URL": server.URL(), "PRESSONE_CLIENT_ID": sim.ClientID, "PRESSONE_CLIENT_SECRET": sim.ClientSecret,
		"HTTP_ADDR": "127.0.0.1:0", "TELEMETRY_ADDR": "127.0.0.1:0", "LOG_FORMAT": "text", "LOG_LEVEL": "debug",
		"SUBMIT_TIMEOUT": "3s", "READ_TIMEOUT": "2s", "LIST_LAG": "100ms", "SETTLE_DELAY": "200ms",
		"RETRY_INITIAL": "20ms", "RETRY_MAX": "200ms", "POLL_INITIAL": "20ms", "POLL_MAX": "200ms", "LEASE_TTL": "5s",
	}
	b.nc, b.js = connectPatiently(t, natsURL)
	for _, s := range message.Streams(replicas) {
		create(t, func(ctx context.Context) error { _, err := b.js.CreateStream(ctx, s); return err })
	}
	for _, c := range message.Consumers() {
		create(t, func(ctx context.Context) error {
			_, err := b.js.CreateConsumer(ctx, message.RequestsStream, c)
			return err
		})
	}
	b.db, err = pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(b.db.Close)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.log.String())
			return
		}
		b.checkContracts()
		b.checkSecrets()
	})
	return b
}

// connectPatiently connects to NATS for a test, which has the time: the library's own patience is
// a matter of seconds.
func connectPatiently(t *testing.T, url string, options ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(url, append(options, nats.Timeout(unhurried))...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(unhurried))
	require.NoError(t, err)
	return nc, js
}

// create makes a stream or a consumer. It asks again: what a cluster is asked while it changes its
// leader is lost, and what is there as it should be is no error.
func create(t *testing.T, ask func(ctx context.Context) error) {
	t.Helper()
	var err error
	for range 4 {
		ctx, cancel := context.WithTimeout(t.Context(), unhurried/4)
		err = ask(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			break
		}
	}
	require.NoError(t, err)
}

// checkContracts validates everything that a test has seen against api/.
func (b *bench) checkContracts() {
	b.t.Helper()
	for _, m := range b.messages(message.EventsStream) {
		parts := strings.Split(m.Subject, ".")
		apitest.CheckEvent(b.t, message.Kind(parts[2]), message.Outcome(parts[3]), m.Data)
	}
	for _, m := range b.messages(message.DeadLettersStream) {
		apitest.CheckDeadLetter(b.t, m.Header)
	}
	for _, m := range b.messages(message.RequestsStream) {
		kind := message.Kind(strings.TrimPrefix(m.Subject, "esim.request."))
		if strings.Contains(message.Header(m.Header, "content-type"), "cloudevents") {
			continue
		}
		if _, err := message.DecodeRequest(kind, m.Header, m.Data); err == nil {
			require.NoError(b.t, apitest.CheckRequest(b.t, kind, m.Data))
		}
	}
}

// checkSecrets looks for what may be nowhere but in results: activation codes, the
// account's secret, tokens.
func (b *bench) checkSecrets() {
	b.t.Helper()
	secrets := []string{b.env["PRESSONE_CLIENT_SECRET"], "LPA:1$", "Bearer "}
	for _, o := range b.sim.Ledger().Sold {
		for _, sim := range o.Sims {
			secrets = append(secrets, sim.MatchingID)
		}
	}
	var texts string
	require.NoError(b.t, b.db.QueryRow(context.Background(), `
		SELECT COALESCE((SELECT string_agg(h::text, '') FROM saga_history h), '') ||
		       COALESCE((SELECT string_agg(reason, '') FROM dead_letter), '')`).Scan(&texts))
	texts += b.log.String()
	for _, s := range secrets {
		require.NotContains(b.t, texts, s)
	}
}

func (b *bench) config(need config.Need) config.Config {
	b.t.Helper()
	cfg, err := config.Load(func(name string) string { return b.env[name] }, need)
	require.NoError(b.t, err)
	return cfg
}

// run runs a program until the end of the test.
func (b *bench) run(f func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		require.NoError(b.t, <-done)
	})
}

// worker starts a worker and waits until it is ready.
// worker runs a worker, with what the configuration would refuse changed as these say.
func (b *bench) worker(change ...func(*config.Config)) *app.Worker {
	b.t.Helper()
	cfg := b.config(config.Worker)
	for _, c := range change {
		c(&cfg)
	}
	w, err := app.NewWorker(b.t.Context(), cfg, b.logger())
	require.NoError(b.t, err)
	b.run(w.Run)
	require.Eventually(b.t, func() bool { return w.Ready() == nil }, 60*time.Second, 10*time.Millisecond, "worker is not ready")
	return w
}

func (b *bench) publisher() {
	b.t.Helper()
	p, err := app.NewPublisher(b.t.Context(), b.config(config.Publisher), b.logger())
	require.NoError(b.t, err)
	b.run(p.Run)
}

func (b *bench) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// redeliver has everything on the stream of requests delivered again.
func (b *bench) redeliver() {
	b.t.Helper()
	_, err := restore.Redeliver(b.t.Context(), b.js)
	require.NoError(b.t, err)
}

// publish puts a request on the stream.
func (b *bench) publish(k message.Kind, body string, header ...string) {
	b.t.Helper()
	m := &nats.Msg{Subject: message.RequestSubject(k), Data: []byte(body), Header: nats.Header{}}
	for i := 0; i+1 < len(header); i += 2 {
		m.Header[header[i]] = []string{header[i+1]}
	}
	_, err := b.js.PublishMsg(b.t.Context(), m)
	require.NoError(b.t, err)
}

// event is a result as it arrives.
type event struct {
	ID      string         `json:"id"`
	Type    string         `json:"type"`
	Subject string         `json:"subject"`
	Data    map[string]any `json:"data"`
	header  nats.Header
}

// result waits for the n-th result of a request, from 1.
func (b *bench) result(requestID string, n int) event {
	b.t.Helper()
	var got event
	require.Eventually(b.t, func() bool {
		found := 0
		for _, e := range b.events() {
			if e.Subject == requestID {
				if found++; found == n {
					got = e
					return true
				}
			}
		}
		return false
	}, 60*time.Second, 20*time.Millisecond, "no result %d of %s", n, requestID)
	return got
}

// events lists everything on ESIM_EVENTS.
func (b *bench) events() []event {
	b.t.Helper()
	var all []event
	for _, m := range b.messages(message.EventsStream) {
		var e event
		require.NoError(b.t, json.Unmarshal(m.Data, &e))
		e.header = m.Header
		all = append(all, e)
	}
	return all
}

// messages lists what is on a stream. It asks until it is answered: what is asked while
// the server is being restarted is lost.
func (b *bench) messages(stream string) (all []*jetstream.RawStreamMsg) {
	b.t.Helper()
	var err error
	for began := time.Now(); ; <-time.After(20 * time.Millisecond) {
		if all, err = b.read(stream); err == nil || time.Since(began) > unhurried {
			break
		}
	}
	require.NoError(b.t, err)
	return all
}

func (b *bench) read(stream string) ([]*jetstream.RawStreamMsg, error) {
	ask := func(f func(ctx context.Context) error) error { // the next attempt comes soon
		ctx, cancel := context.WithTimeout(context.Background(), unhurried/6)
		defer cancel()
		return f(ctx)
	}
	var s jetstream.Stream
	err := ask(func(ctx context.Context) (err error) { s, err = b.js.Stream(ctx, stream); return err })
	if err != nil {
		return nil, err
	}
	state := s.CachedInfo().State
	var all []*jetstream.RawStreamMsg
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		var m *jetstream.RawStreamMsg
		err := ask(func(ctx context.Context) (err error) { m, err = s.GetMsg(ctx, seq); return err })
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// steadyAddr is an address for a server that is told it, or that keeps it while it is away.
func steadyAddr(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", steadyPort(t))
}

func steadyPort(t *testing.T) int {
	t.Helper()
	port, err := devstack.FreePort()
	require.NoError(t, err)
	return port
}

// lockedBuffer is a log that tests read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if os.Getenv("ESIMFLOW_TEST_LOG") != "" {
		_, _ = os.Stderr.Write(p)
	}
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
