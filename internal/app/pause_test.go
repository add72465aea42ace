package app_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// Orders go wrong while two workers are at full speed, and an operator pauses them at one worker. The other knows by the hint. What
// was in flight ends; then not one order is bought, though all are taken in and top-ups go on. After she has resumed, at the other
// worker, each order is bought once, at the first attempt.
func TestPauseStopsAllWorkers(t *testing.T) {
	b := setup(t, pressonesim.Config{Knobs: pressonesim.Knobs{Latencies: map[pressonesim.Endpoint]time.Duration{pressonesim.Orders: 800 * time.Millisecond}}})
	maps.Copy(b.env, patient)                               // an answer that comes late costs an attempt
	b.env["MAX_IN_FLIGHT"], b.env["LEASE_TTL"] = "8", "90s" // the heartbeat is half a minute away
	one, other := b.worker(), b.worker()
	b.publisher()
	const n = 300
	b.flood("o", n)
	require.Eventually(t, func() bool { return b.sim.SoldCount() > 20 }, time.Minute, time.Millisecond)
	b.post(one, "gate/pause", `{"kind":"order","actor":"ann","reason":"strange prices"}`, http.StatusOK)
	for _, w := range []*app.Worker{one, other} {
		require.Eventually(t, func() bool {
			return strings.Contains(b.fetch("http://"+w.TelemetryAddr()+"/metrics"), `esimflow_paused{name="order",what="kind"} 1`)
		}, 25*time.Second, 5*time.Millisecond, "it knows before the next heartbeat")
	}
	require.Eventually(t, func() bool { // all at once may be between two orders before they know
		return b.count("SELECT count(*) FROM saga") == n && b.count("SELECT count(*) FROM saga WHERE worker IS NOT NULL") == 0
	}, time.Minute, 5*time.Millisecond, "what is in flight ends")
	sold := b.sim.SoldCount()
	require.Less(t, sold, n)

	iccids := pressonesim.DefaultICCIDs()
	for i := range 10 { // life goes on
		id := fmt.Sprintf("t-%d", i)
		b.publish(message.Topup, fmt.Sprintf(`{"request_id":"%s","package_id":"bonbon-mobile-30days-3gb-topup","iccid":"%s"}`, id, iccids[i%len(iccids)]))
		b.completed(id)
	}
	require.Equal(t, sold+10, b.sim.SoldCount())
	require.Equal(t, n-sold, b.count("SELECT count(*) FROM saga WHERE kind = 'order' AND state = 'pending'"))

	b.sim.Tune(func(k *pressonesim.Knobs) { k.Latencies = nil })
	b.post(other, "gate/resume", `{"kind":"order","actor":"ann","reason":"explained"}`, http.StatusOK)
	b.soldOnce(n + 10)
	require.Equal(t, n+10, b.count("SELECT sum(attempts) FROM saga"), "the pause cost no attempt")
	require.Equal(t, 2, b.count("SELECT count(*) FROM gate_trail WHERE actor = 'ann' AND what = 'kind' AND name = 'order'"))
}

// What operators must not do to the gate is refused, and what it is is shown.
func TestGateAPI(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	w := b.worker()
	for body, status := range map[string]int{
		`{"actor":"ann","reason":"x"}`:                              http.StatusBadRequest,
		`{"lane":"up","actor":"ann","reason":"x"}`:                  http.StatusBadRequest,
		`{"kind":"esim","actor":"ann","reason":"x"}`:                http.StatusBadRequest,
		`{"lane":"read","kind":"order","actor":"ann","reason":"x"}`: http.StatusBadRequest,
		`{"lane":"read","actor":"ann"}`:                             http.StatusBadRequest,
		`{"lane":"read","reason":"x"}`:                              http.StatusBadRequest,
		`{"lane":"read","until":"noon","actor":"ann","reason":"x"}`: http.StatusBadRequest,
	} {
		b.post(w, "gate/pause", body, status)
		b.post(w, "gate/resume", body, status)
	}
	b.post(w, "gate/resume", `{"lane":"read","actor":"ann","reason":"x"}`, http.StatusConflict)
	b.post(w, "gate/pause", `{"lane":"read","actor":"ann","reason":"line\none"}`, http.StatusOK)
	b.post(w, "gate/pause", `{"lane":"read","actor":"bob","reason":"x"}`, http.StatusConflict)
	got := b.get(w, "gate")
	pauses, _ := got["pauses"].([]any)
	require.Len(t, pauses, 1)
	pause, _ := pauses[0].(map[string]any)
	require.Equal(t, "line; one", pause["reason"])
	metrics := b.fetch("http://" + w.TelemetryAddr() + "/metrics")
	for _, line := range []string{
		`esimflow_provider_gate_open{lane="read"} 0`, `esimflow_provider_gate_open{lane="write"} 1`,
		`esimflow_provider_gate_closed_until_timestamp_seconds{lane="read"} +Inf`,
		`esimflow_provider_gate_closures_total{lane="read",reason="paused"} 1`,
		`esimflow_provider_gate_closures_total{lane="write",reason="outage"} 0`,
		`esimflow_paused{name="read",what="lane"} 1`, `esimflow_paused{name="topup",what="kind"} 0`,
		`esimflow_provider_gate_ramp_limit{lane="write"} 0`, `esimflow_provider_gate_probes_total{lane="write",result="outage"} 0`,
	} {
		require.Contains(t, metrics, line+"\n")
	}
}
