package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/config"
	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// securedBench is a bench without any connection of its own to NATS: upstream publishes, the
// reader reads, and each program has its user.
type securedBench struct {
	*bench
	nats     *securedNATS
	upstream *natsUser
	reader   *natsUser
	looker   *natsUser        // once somebody has looked
	results  map[string]event // by request
}

func setupSecured(t *testing.T) *securedBench {
	t.Helper()
	t.Parallel()
	dsn := devstack.Postgres(t)
	return setupSecuredOn(t, dsn, dsn)
}

func setupSecuredOn(t *testing.T, programs, dsn string) *securedBench {
	t.Helper()
	ns := secureNATS(t)
	ns.provision()
	simulator := pressonesim.New(pressonesim.Config{ClientID: "client", ClientSecret: "canary-client-secret-4711"})
	provider, err := simulator.Serve("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(provider.Close)
	b := &securedBench{nats: ns, results: map[string]event{}, bench: &bench{t: t, log: &lockedBuffer{}, sim: simulator}}
	b.db, err = pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(b.db.Close)
	b.env = map[string]string{
		"DATABASE_URL":      programs,
		"PRESSONE_BASE_URL": provider.URL(), "PRESSONE_CLIENT_ID": "client", "PRESSONE_CLIENT_SECRET": "canary-client-secret-4711",
		"HTTP_ADDR": "127.0.0.1:0", "TELEMETRY_ADDR": "127.0.0.1:0", "LIST_LAG": "100ms", "SETTLE_DELAY": "200ms",
		"RETRY_INITIAL": "20ms", "RETRY_MAX": "200ms", "POLL_INITIAL": "20ms", "POLL_MAX": "200ms",
	}
	maps.Copy(b.env, patient) // PressOne's refusal has to arrive
	b.upstream, b.reader = ns.as("upstream"), ns.as("reader")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.log.String())
			return
		}
		require.NotContains(t, b.log.String(), "canary-", "no password is logged")
	})
	return b
}

// worker starts a worker as its user of NATS, and does not wait for it; publisher a publisher.
func (b *securedBench) worker() *app.Worker {
	b.t.Helper()
	maps.Copy(b.env, b.nats.env("worker"))
	w, err := app.NewWorker(b.t.Context(), b.config(config.Worker), b.logger())
	require.NoError(b.t, err)
	b.run(w.Run)
	return w
}

func (b *securedBench) publisher() *app.Publisher {
	b.t.Helper()
	maps.Copy(b.env, b.nats.env("publisher"))
	p, err := app.NewPublisher(b.t.Context(), b.config(config.Publisher), b.logger())
	require.NoError(b.t, err)
	b.run(p.Run)
	return p
}

func ready(t *testing.T, w *app.Worker) {
	t.Helper()
	require.Eventually(t, func() bool { return w.Ready() == nil }, time.Minute, 10*time.Millisecond, "worker is not ready")
}

func (b *securedBench) ask(k message.Kind, body string) {
	b.t.Helper()
	_, err := b.upstream.js.PublishMsg(b.t.Context(), &nats.Msg{Subject: message.RequestSubject(k), Data: []byte(body)})
	require.NoError(b.t, err)
}

// answer waits for a request's result of that type, as the reader does.
func (b *securedBench) answer(requestID, outcome string) {
	b.t.Helper()
	consumer, err := b.reader.js.Consumer(b.t.Context(), message.EventsStream, "results")
	require.NoError(b.t, err)
	require.Eventually(b.t, func() bool {
		batch, err := consumer.Fetch(10, jetstream.FetchMaxWait(200*time.Millisecond))
		require.NoError(b.t, err)
		for m := range batch.Messages() {
			var e event
			require.NoError(b.t, json.Unmarshal(m.Data(), &e))
			require.NoError(b.t, m.DoubleAck(b.t.Context()))
			b.results[e.Subject] = e
		}
		return b.results[requestID].Type != ""
	}, time.Minute, time.Millisecond, "no result of %s", requestID)
	require.Contains(b.t, b.results[requestID].Type, "."+outcome+".")
	delete(b.results, requestID)
}

// refuseOnce makes PressOne refuse one order of a package of its own.
func (b *securedBench) refuseOnce(pkg string) {
	b.sim.AddPackage(pressonesim.Package{ID: pkg, Price: 450})
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, PackageID: pkg, Action: pressonesim.Status, Status: 422, Code: 33, Times: 1})
}

// mainJob is all that travels on NATS: an order, a top-up, a dead letter that is replayed and
// whose copy is deleted then, and one that never was a request and that is published again.
func (b *securedBench) mainJob(w *app.Worker) {
	t := b.t
	t.Helper()
	b.refuseOnce("scarce")
	b.ask(message.Order, order("good"))
	b.ask(message.Topup, fmt.Sprintf(`{"request_id":"more","package_id":"bonbon-mobile-30days-3gb-topup","iccid":"%s"}`, pressonesim.DefaultICCIDs()[1]))
	b.ask(message.Order, `{"request_id":"stopped","package_id":"scarce"}`)
	b.ask(message.Order, `{"request_id":"bytes"`)
	b.answer("good", "completed")
	b.answer("more", "completed")
	b.answer("stopped", "failed")
	require.Eventually(t, func() bool {
		return b.count("SELECT count(*) FROM dead_letter WHERE dlq_sequence IS NOT NULL") == 2
	}, time.Minute, 20*time.Millisecond, "both letters have a copy")
	require.EqualValues(t, 2, b.copies())

	b.post(w, "replays", `{"code":"33","actor":"ann","reason":"in stock again"}`, http.StatusOK)
	b.answer("stopped", "completed")
	var id string
	require.NoError(t, b.db.QueryRow(t.Context(), "SELECT id::text FROM dead_letter WHERE saga_id IS NULL AND status = 'open'").Scan(&id))
	b.post(w, "dead-letters/replay", fmt.Sprintf(`{"ids":["%s"],"actor":"ann","reason":"once more"}`, id), http.StatusOK)
	require.Eventually(t, func() bool {
		return b.count("SELECT count(*) FROM dead_letter WHERE saga_id IS NULL") == 2 && b.count("SELECT count(*) FROM outbox") == 0
	}, time.Minute, 20*time.Millisecond, "the publisher publishes it as a request, and the worker refuses it again")
	require.Eventually(t, func() bool { return b.copies() == 1 }, time.Minute, 50*time.Millisecond, "copies of what is resolved are deleted")
	require.Equal(t, 3, b.sim.SoldCount())
}

// copies counts what is on ESIM_DLQ, as people who look do.
func (b *securedBench) copies() uint64 {
	b.t.Helper()
	if b.looker == nil {
		b.looker = b.nats.as("ops")
	}
	stream, err := b.looker.js.Stream(b.t.Context(), message.DeadLettersStream)
	require.NoError(b.t, err)
	return stream.CachedInfo().State.Msgs
}

// The main job runs with the users of deploy/nats/nats-server.conf, over TLS with certificates on
// both sides, and nobody asks for what it may not have.
func TestTheMainJobWithTheUsersOfNATS(t *testing.T) {
	b := setupSecured(t)
	w := b.worker()
	p := b.publisher()
	ready(t, w)
	b.mainJob(w)
	require.Equal(t, map[string]float64{"publish": 0, "subscribe": 0}, denied(t, w.TelemetryAddr()))
	require.Equal(t, map[string]float64{"publish": 0, "subscribe": 0}, denied(t, p.TelemetryAddr()))
	for _, u := range []*natsUser{b.upstream, b.reader, b.looker} {
		require.Empty(t, u.denials())
	}
}

// A publisher that logs in as somebody else loses nothing: what it may not publish waits in the
// outbox, the log names the subject, and a metric counts. The right user sends it all.
func TestDeniedByNATS(t *testing.T) {
	b := setupSecured(t)
	ready(t, b.worker())
	maps.Copy(b.env, b.nats.env("ops"))
	wrong, err := app.NewPublisher(t.Context(), b.config(config.Publisher), b.logger())
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- wrong.Run(ctx) }()
	b.ask(message.Order, order("waits"))
	require.Eventually(t, func() bool {
		d := denied(t, wrong.TelemetryAddr())
		return d["publish"] > 0 && d["subscribe"] > 0
	}, time.Minute, 50*time.Millisecond)
	for _, said := range []string{
		"NATS denies it", `operation=publish subject=` + message.EventSubject(message.Order, message.Completed), `operation=subscribe subject=` + message.OutboxHint,
	} {
		b.says(said) // it is counted first
	}
	require.Equal(t, 1, b.count("SELECT count(*) FROM outbox"))
	require.Equal(t, 1, b.count("SELECT count(*) FROM saga WHERE state = 'notifying'"))

	stop()
	require.NoError(t, <-ended)
	b.publisher()
	b.answer("waits", "completed")
}

// A worker outlives a rotation that is done in the wrong order: its password is refused for as
// long as the server has another, and taken when it has the right one.
func TestARefusedPasswordIsTriedAgain(t *testing.T) {
	b := setupSecured(t)
	w := b.worker()
	ready(t, w)
	was := b.nats.passwords["worker"]
	b.nats.passwords["worker"] = "canary-another"
	b.nats.restart()
	require.Eventually(t, func() bool {
		err := w.Ready()
		return err != nil && strings.Contains(b.log.String(), "authorization violation")
	}, time.Minute, 20*time.Millisecond, "it is refused, and says so")
	require.Eventually(t, func() bool {
		z, err := b.nats.server.Varz(nil)
		require.NoError(t, err)
		return z.TotalConnections > 4
	}, time.Minute, 20*time.Millisecond, "more often than the library would by itself")
	b.nats.passwords["worker"] = was
	b.nats.restart()
	ready(t, w)
}

// A certificate that is renewed in place is shown with the next connection.
func TestARenewedCertificateIsUsed(t *testing.T) {
	b := setupSecured(t)
	env := b.nats.env("worker")
	b.nats.ca.IssueTo(devstack.Leaf{Name: "before"}, env["NATS_CERT"], env["NATS_KEY"])
	maps.Copy(b.env, env)
	w, err := app.NewWorker(t.Context(), b.config(config.Worker), b.logger())
	require.NoError(t, err)
	b.run(w.Run)
	ready(t, w)
	require.Contains(t, b.nats.clientNames(), "before")
	b.nats.ca.IssueTo(devstack.Leaf{Name: "after"}, env["NATS_CERT"], env["NATS_KEY"])
	b.nats.restart()
	require.Eventually(t, func() bool {
		return b.nats.clientNames()["after"]
	}, time.Minute, 20*time.Millisecond)
	ready(t, w)
}

// A server that is not who it should be is not talked to, and the worker says why.
func TestNATSIsVerified(t *testing.T) {
	for name, c := range map[string]struct {
		leaf  devstack.Leaf
		other bool // the server's authority is not the one that is trusted
		host  string
		want  string
	}{
		"the right host":       {leaf: devstack.Leaf{Hosts: []string{"localhost"}}, host: "localhost"},
		"another host":         {leaf: devstack.Leaf{Hosts: []string{"nats.example.com"}}, host: "localhost", want: "certificate is valid for nats.example.com, not localhost"},
		"an address":           {leaf: devstack.Leaf{Hosts: []string{"localhost"}}, host: "127.0.0.1", want: "doesn't contain any IP SANs"},
		"an unknown authority": {leaf: devstack.Leaf{Hosts: []string{"localhost"}}, host: "localhost", other: true, want: "certificate signed by unknown authority"},
		"one that has expired": {leaf: devstack.Leaf{Hosts: []string{"localhost"}, Expired: true}, host: "localhost", want: "certificate has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := secureNATSAs(t, devstack.NewAuthority(t), c.leaf)
			ns.host = c.host
			env := ns.env("worker")
			if c.other {
				env["NATS_CA"] = devstack.NewAuthority(t).File
			}
			b := &bench{t: t, log: &lockedBuffer{}, env: map[string]string{
				"DATABASE_URL": devstack.Postgres(t), "HTTP_ADDR": "127.0.0.1:0", "TELEMETRY_ADDR": "127.0.0.1:0",
			}}
			maps.Copy(b.env, env)
			p, err := app.NewPublisher(t.Context(), b.config(config.Publisher), b.logger())
			require.NoError(t, err)
			b.run(p.Run)
			if c.want == "" {
				require.Eventually(t, func() bool {
					status, _ := fetch(t, p.TelemetryAddr(), "/readyz")
					return status == http.StatusOK
				}, time.Minute, 20*time.Millisecond)
				return
			}
			require.Eventually(t, func() bool {
				_, body := fetch(t, p.TelemetryAddr(), "/readyz")
				return strings.Contains(body, c.want)
			}, time.Minute, 20*time.Millisecond, "it says why")
			b.says(c.want) // at the next attempt, perhaps
			require.NotContains(t, b.log.String(), "canary-")
		})
	}
}

// says waits until the log says something. What is said once a minute may not be said at the first occasion.
func (b *bench) says(what string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return strings.Contains(b.log.String(), what) }, 2*time.Minute, 20*time.Millisecond, what)
}

// fetch asks a program's telemetry for a page.
func fetch(t *testing.T, addr, path string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, http.NoBody)
	require.NoError(t, err)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(page)
}

// denied is what a program has counted of its denials, by operation.
func denied(t *testing.T, addr string) map[string]float64 {
	t.Helper()
	_, page := fetch(t, addr, "/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	require.NoError(t, err)
	all := map[string]float64{}
	for _, m := range families["esimflow_nats_permission_denied_total"].GetMetric() {
		all[m.Label[0].GetValue()] = m.Counter.GetValue()
	}
	return all
}

// clientNames is the common names of the certificates that connected clients have shown.
func (s *securedNATS) clientNames() map[string]bool {
	s.t.Helper()
	z, err := s.server.Connz(&server.ConnzOptions{Username: true})
	require.NoError(s.t, err)
	names := map[string]bool{}
	for _, c := range z.Conns {
		for _, cert := range c.TLSPeerCerts {
			names[strings.TrimPrefix(cert.Subject, "CN=")] = true
		}
	}
	return names
}

// A worker's user of NATS has the permissions of before there was a witness: at an upgrade, or because whoever runs NATS grants no
// others. It works as before, and what it lacks is said, counted, and an alert's (EsimflowWitnessStale).
func TestAWorkerThatIsDeniedTheWitnessWorks(t *testing.T) {
	b := setupSecured(t)
	b.nats.earlier = true
	b.nats.restart()
	w := b.worker()
	b.publisher()
	ready(t, w)
	b.ask(message.Order, order("denied"))
	b.answer("denied", "completed")
	require.NotZero(t, denied(t, w.TelemetryAddr())["publish"])
	b.says("NATS does not let this user use ESIM_WITNESS")
	_, metrics := fetch(t, w.TelemetryAddr(), "/metrics")
	require.Contains(t, metrics, "esimflow_witness_acknowledged_timestamp_seconds 0\n")
}
