package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/config"
	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
	"esimflow/internal/saga"
)

const (
	aPackage = "kallur-digital-7days-1gb"
	aTopup   = "bonbon-mobile-30days-3gb-topup"
	opsToken = "the-token-of-the-operators"
)

// stack is all that esimctl talks to, and the environment that leads there.
type stack struct {
	t   *testing.T
	env map[string]string
	sim *pressonesim.Sim
	nc  *nats.Conn

	stop, restart func() // worker and publisher
}

// startStack starts Postgres, NATS, the simulator, a worker and a publisher. Streams are
// made by esimctl. An unknown outcome is held for an operator, and a machine that is busy is not
// to look like a provider that is slow, so it is patient.
func startStack(t *testing.T) *stack {
	t.Helper()
	ns := devstack.NATS(t)
	s := &stack{t: t, sim: pressonesim.New(pressonesim.Config{})}
	server, err := s.sim.Serve("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(server.Close)
	s.env = map[string]string{
		"DATABASE_URL": devstack.Postgres(t), "NATS_URL": ns.URL(),
		"PRESSONE_BASE_URL": server.URL(), "PRESSONE_CLIENT_ID": "client", "PRESSONE_CLIENT_SECRET": "secret",
		"HTTP_ADDR": "127.0.0.1:0", "TELEMETRY_ADDR": "127.0.0.1:0", "OPS_TOKEN": opsToken, "UNKNOWN_POLICY": "hold",
		"SUBMIT_TIMEOUT": "30s", "READ_TIMEOUT": "30s", "LIST_LAG": "50ms", "SETTLE_DELAY": "100ms", "LEASE_TTL": "30s",
		"RETRY_INITIAL": "20ms", "RETRY_MAX": "100ms", "POLL_INITIAL": "20ms", "POLL_MAX": "100ms", "USER": "maria",
	}
	s.ok("streams", "apply")
	s.nc, err = nats.Connect(ns.URL(), nats.Timeout(time.Minute))
	require.NoError(t, err)
	t.Cleanup(s.nc.Close)

	var log logBuffer
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.String())
		}
	})
	logger := slog.New(slog.NewTextHandler(&log, nil))
	s.stop = s.startPrograms(logger)
	s.restart = func() { s.stop = s.startPrograms(logger) }
	t.Cleanup(func() { s.stop() })
	return s
}

// startPrograms starts a worker and a publisher, and waits until the worker is ready. What it
// returns stops them.
func (s *stack) startPrograms(logger *slog.Logger) (stop func()) {
	s.t.Helper()
	worker, err := app.NewWorker(s.t.Context(), s.config(config.Worker), logger)
	require.NoError(s.t, err)
	publisher, err := app.NewPublisher(s.t.Context(), s.config(config.Publisher), logger)
	require.NoError(s.t, err)
	s.env["ESIMFLOW_URL"] = "http://" + worker.APIAddr()
	stopWorker, stopPublisher := s.start(worker.Run), s.start(publisher.Run)
	require.Eventually(s.t, func() bool { return worker.Ready() == nil }, 60*time.Second, 10*time.Millisecond)
	return func() { stopPublisher(); stopWorker() }
}

func (s *stack) config(need config.Need) config.Config {
	s.t.Helper()
	cfg, err := config.Load(lookupIn(s.env), need)
	require.NoError(s.t, err)
	return cfg
}

// start runs a program; what it returns stops it.
func (s *stack) start(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	return func() {
		cancel()
		require.NoError(s.t, <-done)
	}
}

// ran is what a command line did.
type ran struct {
	code     int
	out, err string
}

func lookupIn(env map[string]string) func(string) string {
	return func(name string) string { return env[name] }
}

// run runs a command line, whose tables have to fit a terminal.
func (s *stack) run(args ...string) ran {
	s.t.Helper()
	r := runIn(s.t, s.env, args...)
	if !slices.Contains(args, "--reveal") && args[0] != "__complete" && !slices.Equal(args[:min(2, len(args))], []string{"dlq", "show"}) {
		checkWidth(s.t, "esimctl "+strings.Join(args, " "), r.out)
	}
	return r
}

// runIn runs a command line in an environment, with nobody at the terminal.
func runIn(t *testing.T, env map[string]string, args ...string) ran {
	t.Helper()
	var out, errOut logBuffer
	code := run(t.Context(), args, lookupIn(env), strings.NewReader(""), &out, &errOut)
	return ran{code: code, out: out.String(), err: errOut.String()}
}

// with is the environment with some variables changed: name, value, and so on.
func (s *stack) with(pairs ...string) map[string]string {
	env := maps.Clone(s.env)
	for i := 0; i+1 < len(pairs); i += 2 {
		env[pairs[i]] = pairs[i+1]
	}
	return env
}

// ok runs a command line that has to succeed and returns its data.
func (s *stack) ok(args ...string) string {
	s.t.Helper()
	r := s.run(args...)
	require.Equal(s.t, exitOK, r.code, "esimctl %s\n%s%s", strings.Join(args, " "), r.out, r.err)
	return r.out
}

// exits runs a command line that has to end with a code, and returns what it said.
func (s *stack) exits(code int, args ...string) ran {
	s.t.Helper()
	r := s.run(args...)
	require.Equal(s.t, code, r.code, "esimctl %s\n%s%s", strings.Join(args, " "), r.out, r.err)
	return r
}

// okJSON runs a command line with --json and reads its data.
func okJSON[T any](s *stack, args ...string) T {
	s.t.Helper()
	return fromJSON[T](s.t, s.ok(append(args, "--json")...))
}

func fromJSON[T any](t *testing.T, data string) T {
	t.Helper()
	var v T
	dec := json.NewDecoder(strings.NewReader(data))
	require.NoError(t, dec.Decode(&v), data)
	require.False(t, dec.More(), "more than one value: %s", data)
	return v
}

// awaitState waits until a request's saga is in a state.
func (s *stack) awaitState(requestID string, want saga.State) saga.Summary {
	s.t.Helper()
	var got saga.Summary
	require.Eventually(s.t, func() bool {
		all := okJSON[[]saga.Summary](s, "saga", "list", "--request-id", requestID)
		if len(all) != 1 {
			return false
		}
		got = all[0]
		return got.State == want
	}, 60*time.Second, 20*time.Millisecond, "%s is not %s", requestID, want)
	return got
}

// letter waits for the one dead letter that the arguments of dlq list choose.
func (s *stack) letter(args ...string) string {
	s.t.Helper()
	var id string
	require.Eventually(s.t, func() bool {
		all := okJSON[[]struct{ ID string }](s, append([]string{"dlq", "list"}, args...)...)
		if len(all) == 1 {
			id = all[0].ID
		}
		return len(all) == 1
	}, 60*time.Second, 20*time.Millisecond)
	return id
}

// publish puts bytes on a request subject, as they are.
func (s *stack) publish(k message.Kind, body []byte) {
	s.t.Helper()
	require.NoError(s.t, s.nc.PublishMsg(&nats.Msg{
		Subject: message.RequestSubject(k), Data: body, Header: nats.Header{"X-Sender": {"shop"}},
	}))
}

// logBuffer is a buffer that may be written and read at the same time.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
