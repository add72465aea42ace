package app_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

func order(id string) string {
	return fmt.Sprintf(`{"request_id":"%s","package_id":"kallur-digital-7days-1gb"}`, id)
}

func (b *bench) orders(prefix string, n int) (ids []string) {
	for i := range n {
		id := fmt.Sprintf("%s-%d", prefix, i)
		b.publish(message.Order, order(id))
		ids = append(ids, id)
	}
	return ids
}

func (b *bench) completed(ids ...string) {
	b.t.Helper()
	for _, id := range ids {
		require.Contains(b.t, b.result(id, 1).Type, ".completed.", id)
	}
}

func TestPostgresAway(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	pg := devstack.PrivatePostgres(t)
	b.env["DATABASE_URL"] = pg.URL()
	w := b.worker()
	b.publisher()
	b.completed(b.orders("before", 5)...)

	// Requests arrive, and one is on its way to PressOne, when Postgres goes.
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, Action: pressonesim.Slow, When: pressonesim.After, Delay: 300 * time.Millisecond, Times: 1})
	b.publish(message.Order, order("in-flight"))
	require.Eventually(t, func() bool { return b.sim.SoldCount() == 6 }, 60*time.Second, 5*time.Millisecond)
	require.NoError(t, pg.StopImmediate())
	ids := b.orders("during", 5)
	require.Eventually(t, func() bool { return w.Ready() != nil }, 60*time.Second, 20*time.Millisecond, "it should not be ready")
	require.Equal(t, 6, b.sim.SoldCount(), "nothing is bought that cannot be recorded")

	require.NoError(t, pg.Start(t.Context()))
	b.completed(append(ids, "in-flight")...)
	require.Eventually(t, func() bool { return w.Ready() == nil }, 60*time.Second, 20*time.Millisecond)
	require.Equal(t, 11, b.sim.SoldCount())
	require.Empty(t, b.sim.Ledger().Doubles())
}

// NATS goes while orders are with PressOne. None can be polled before it has gone, so that no result is out.
func TestNATSAway(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	w := b.worker()
	b.publisher()
	b.post(w, "gate/pause", `{"lane":"read","actor":"ann","reason":"lists are slow"}`, http.StatusOK)
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, Action: pressonesim.Slow, Delay: 500 * time.Millisecond, Times: 3})
	ids := b.orders("flying", 3)
	require.Eventually(t, func() bool {
		return b.sim.Requests(pressonesim.Orders) >= 3 && b.count("SELECT count(*) FROM saga") == 3
	}, 60*time.Second, 5*time.Millisecond)
	b.nats.Stop()
	b.resumeReading(w)
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'notifying'") == 3 },
		2*time.Minute, 20*time.Millisecond, "sagas go on, results wait in the outbox")
	require.NoError(t, b.nats.Start())
	b.completed(ids...)
	b.completed(b.orders("after", 3)...)
	require.Equal(t, 6, b.sim.SoldCount())
}

func (b *bench) count(sql string) int {
	b.t.Helper()
	var n int
	require.NoError(b.t, b.db.QueryRow(context.Background(), sql).Scan(&n))
	return n
}

func TestPublishersStandBy(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	b.worker()
	first := b.process(app.PublisherProgram)
	b.completed(b.orders("first", 2)...)
	b.publisher()
	b.completed(b.orders("second", 2)...)
	require.NoError(t, first.Process.Kill()) // it cannot resign
	_ = first.Wait()
	b.completed(b.orders("third", 2)...)
	require.Len(t, b.events(), 6, "each result once")
}

// Stopping does not cancel a POST: its outcome is committed before the worker goes.
func TestSIGTERMDuringAPost(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	maps.Copy(b.env, patient)
	b.publisher()
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, Action: pressonesim.Slow, When: pressonesim.After, Delay: time.Second, Times: 1})
	victim := b.process(app.WorkerProgram)
	b.publish(message.Order, order("slow"))
	require.Eventually(t, func() bool { return b.sim.SoldCount() == 1 }, 60*time.Second, 5*time.Millisecond)
	require.NoError(t, victim.Process.Signal(syscall.SIGTERM))
	require.NoError(t, victim.Wait(), "it should exit 0")
	require.Equal(t, 1, b.count("SELECT count(*) FROM saga WHERE order_id = 9666"), "the outcome is committed")
	require.Equal(t, 0, b.count("SELECT count(*) FROM saga_history WHERE event IN ('worker_lost', 'outcome_unknown')"))
	require.Equal(t, 0, b.count("SELECT count(*) FROM worker"), "the lease is given up")
	b.worker()
	b.completed("slow")
	require.Equal(t, 1, b.sim.SoldCount())
}

// A worker that is stopped for longer than its lease, in the middle of a POST, and wakes
// up late, changes nothing that was decided meanwhile, and sends nothing again.
func TestPausedWorker(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	b.publisher()
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, Action: pressonesim.Slow, When: pressonesim.After, Delay: 500 * time.Millisecond, Times: 1})
	paused := b.process(app.WorkerProgram)
	b.publish(message.Order, order("paused"))
	require.Eventually(t, func() bool { return b.sim.SoldCount() == 1 }, 60*time.Second, 5*time.Millisecond)
	require.NoError(t, paused.Process.Signal(syscall.SIGSTOP))
	b.worker()
	b.completed("paused") // the other one took it over and found it
	require.NoError(t, paused.Process.Signal(syscall.SIGCONT))
	b.completed(b.orders("more", 5)...)
	require.NoError(t, paused.Process.Signal(syscall.SIGTERM))
	require.NoError(t, paused.Wait())
	require.Equal(t, 6, b.sim.SoldCount())
	require.Len(t, b.events(), 6)
}

// Two workers, and top-ups that all want the same eSIM.
func TestTopupsOfOneESIM(t *testing.T) {
	b := setup(t, pressonesim.Config{Knobs: pressonesim.Knobs{TopupDescription: pressonesim.Replaced}})
	maps.Copy(b.env, patient)
	b.worker()
	b.worker()
	b.publisher()
	iccid := pressonesim.DefaultICCIDs()[0]
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Topups, Action: pressonesim.Drop, When: pressonesim.After, Times: 2})
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Topups, Action: pressonesim.Drop, Skip: 3, Times: 1})
	var ids []string
	for i := range 6 {
		id := fmt.Sprintf("same-%d", i)
		b.publish(message.Topup, fmt.Sprintf(`{"request_id":"%s","package_id":"bonbon-mobile-30days-3gb-topup","iccid":"%s"}`, id, iccid))
		ids = append(ids, id)
	}
	b.completed(ids...)
	require.Len(t, b.sim.Ledger().Topups(iccid), 6)
	require.Equal(t, 6, b.count("SELECT count(DISTINCT order_id) FROM saga"))
}

// A burst above the account's rate limit waits behind the gate; that costs no attempt.
func TestBurstAboveTheRateLimit(t *testing.T) {
	b := setup(t, pressonesim.Config{Knobs: pressonesim.Knobs{
		Limits: map[pressonesim.Endpoint]pressonesim.Limit{pressonesim.Orders: {Requests: 10, Window: time.Second}},
	}})
	maps.Copy(b.env, patient) // an answer that comes late costs one
	b.env["RETRY_MAX_ATTEMPTS"] = "2"
	b.worker()
	b.publisher()
	b.completed(b.orders("burst", 30)...)
	require.Equal(t, 30, b.sim.SoldCount())
}

// The account's rate is shared by the workers that are alive, so that PressOne never has
// to say that it is too much. Two that share ten a second may begin with five calls each; two that do
// not would be through in half the time. PressOne's own limit is not asked: what is allowed while the machine
// stands still is sent at once when it goes on.
func TestWorkersShareTheRate(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	maps.Copy(b.env, patient)
	b.env["PRESSONE_RATE"], b.env["LEASE_TTL"] = "10", "15s" // when a short one runs out, who is left takes all
	b.worker()
	b.worker()
	b.publisher()
	require.Eventually(t, func() bool { // each has renewed its lease since there were two, and knows
		return b.count("SELECT count(*) FROM worker WHERE expires_at - interval '15s' > (SELECT max(started_at) FROM worker)") == 2
	}, time.Minute, 10*time.Millisecond)
	calls := func() (n int) {
		for _, e := range []pressonesim.Endpoint{pressonesim.Orders, pressonesim.OneOrder, pressonesim.OneSim, pressonesim.OrderList, pressonesim.SimList} {
			n += b.sim.Requests(e)
		}
		return n
	}
	before, start := calls(), time.Now()
	b.completed(b.orders("shared", 50)...)
	took := time.Since(start)
	require.Equal(t, 50, b.sim.SoldCount())
	require.GreaterOrEqual(t, calls()-before, 100, "each was bought and read")
	require.LessOrEqual(t, float64(calls()-before), 10*took.Seconds()+10, "%v", took)
}

// A 200 that says little is completed by what PressOne shows later.
func TestAnAnswerThatSaysLittle(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	b.sim.Inject(pressonesim.Fault{
		Endpoint: pressonesim.Orders, When: pressonesim.After, Action: pressonesim.Status, Status: 200, Times: 1,
		Body: `{"data":{"id":"9666"}}`, ContentType: "application/json",
	})
	b.worker()
	b.publisher()
	b.publish(message.Order, `{"request_id":"little","package_id":"kallur-digital-7days-1gb","quantity":2}`)
	got, _ := b.result("little", 1).Data["order"].(map[string]any)
	require.Equal(t, "kallur-digital-7days-1gb", got["package_id"])
	require.InDelta(t, 2, got["quantity"], 0)
	require.InDelta(t, 9.5, got["price"], 0)
	require.Equal(t, "USD", got["currency"])
	require.NotNil(t, got["created_at"])
	require.Regexp(t, `-009666$`, got["code"])
}

func TestDeadlines(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	maps.Copy(b.env, patient) // what is not sent in time is an attempt more
	b.env["RETRY_MAX_ATTEMPTS"], b.env["POLL_DEADLINE"] = "3", "300ms"
	b.worker()
	b.publisher()
	b.sim.AddPackage(pressonesim.Package{ID: "busy", Price: 1})
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, PackageID: "busy", Action: pressonesim.Status, Status: 503, Code: 4033})
	b.publish(message.Order, `{"request_id":"busy","package_id":"busy"}`)
	b.sim.AddPackage(pressonesim.Package{ID: "late", Price: 1, ReadyAfter: time.Hour})
	b.publish(message.Order, `{"request_id":"late","package_id":"late"}`)

	e := b.result("busy", 1)
	require.Equal(t, "retries_exhausted", e.Data["code"])
	require.Equal(t, "no", e.Data["purchased"])
	require.InDelta(t, 3, e.Data["attempts"], 0)
	e = b.result("late", 1)
	require.Equal(t, "poll_deadline", e.Data["code"])
	require.Equal(t, "yes", e.Data["purchased"])
	require.Equal(t, true, e.Data["replayable"])
}

func TestTelemetry(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	maps.Copy(b.env, patient)
	w := b.worker()
	b.publisher()
	b.completed(b.orders("m", 3)...)
	b.publish(message.Order, order("m-0"))
	b.publish(message.Order, "bad")
	b.letters(1)
	for _, line := range []string{
		`esimflow_intake_messages_total{kind="order",result="accepted"} 3`,
		`esimflow_intake_messages_total{kind="order",result="duplicate"} 1`,
		`esimflow_intake_messages_total{kind="order",result="malformed"} 1`,
		`esimflow_intake_messages_total{kind="topup",result="conflict"} 0`,
		`esimflow_saga_transitions_total{event="ready",from="polling",to="notifying"} 3`,
		`esimflow_saga_ends_total{end="dead_lettered",kind="order"} 0`,
		`esimflow_dead_letters_total{class="malformed",code="malformed",kind="order"} 1`,
		`esimflow_provider_requests_total{code="",operation="submit_order",outcome="ok"} 3`,
	} {
		require.Eventually(t, func() bool { // it is counted once it is done, and somebody may have seen that before
			return strings.Contains(b.fetch("http://"+w.TelemetryAddr()+"/metrics"), line)
		}, time.Minute, 20*time.Millisecond, line)
	}
	require.Equal(t, "ok\n", b.fetch("http://"+w.TelemetryAddr()+"/healthz"))
	require.Equal(t, "ok\n", b.fetch("http://"+w.TelemetryAddr()+"/readyz"))
}

func (b *bench) fetch(url string) string {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(b.t, err)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(b.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(b.t, err)
	return string(text)
}
