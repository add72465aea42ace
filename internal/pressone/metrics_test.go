package pressone

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func TestMetrics(t *testing.T) {
	t.Parallel()

	t.Run("begin at zero, and lint", func(t *testing.T) {
		t.Parallel()
		reg := prometheus.NewPedanticRegistry()
		NewMetrics(reg)
		problems, err := testutil.GatherAndLint(reg)
		require.NoError(t, err)
		require.Empty(t, problems)
		n, err := testutil.GatherAndCount(reg, "esimflow_provider_requests_total")
		require.NoError(t, err)
		require.Greater(t, n, 100)
		require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP esimflow_provider_gate_open 1 when the lane is open, 0 when it is closed. Every replica reports the same: use min by (lane).
# TYPE esimflow_provider_gate_open gauge
esimflow_provider_gate_open{lane="read"} 1
esimflow_provider_gate_open{lane="token"} 1
esimflow_provider_gate_open{lane="write"} 1
# HELP esimflow_provider_token_refreshes_total Requests for an access token by result.
# TYPE esimflow_provider_token_refreshes_total counter
esimflow_provider_token_refreshes_total{result="account"} 0
esimflow_provider_token_refreshes_total{result="error"} 0
esimflow_provider_token_refreshes_total{result="limited"} 0
esimflow_provider_token_refreshes_total{result="ok"} 0
`), "esimflow_provider_gate_open", "esimflow_provider_token_refreshes_total"))
	})

	t.Run("count calls by what is known", func(t *testing.T) {
		t.Parallel()
		for _, tt := range []struct {
			answer        reply
			outcome, code string
		}{
			{answerWith(200, orderBody), "ok", ""},
			{answerWith(422, `{"code":11}`), "refused", "11"},
			{answerWith(422, `{"code":987654}`), "refused", "other"},
			{answerWith(422, `{"data":{"quantity":"x"}}`), "refused", "http_422"},
			{answerWith(429, ``), "not_applied", "http_429"},
			{answerWith(503, `{"code":4033}`), "unknown", "4033"},
			{answerWith(599, ``), "unknown", "other"},
			{reply{close: true}, "unknown", ""},
		} {
			m := NewMetrics(prometheus.NewPedanticRegistry())
			s := serveRaw(t, listen(t), func(int, string) reply { return tt.answer })
			c := newClient(t, s.url(), func(c *Config) { c.Metrics = m })
			_, _ = c.SubmitOrder(t.Context(), goAhead, anOrder)
			require.InDelta(t, 1, testutil.ToFloat64(m.requests.WithLabelValues("submit_order", tt.outcome, tt.code)), 0, tt.code)
		}
	})

	t.Run("show the gate and the token", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		m := NewMetrics(prometheus.NewPedanticRegistry())
		g := NewGate(db, GateConfig{Metrics: m})
		began := time.Now()
		_, err := g.Observe(t.Context(), LaneWrite, limitedFor(time.Minute))
		require.NoError(t, err)
		until := time.Unix(int64(testutil.ToFloat64(m.closedUntil.WithLabelValues("write"))), 0)
		require.WithinRange(t, until, began.Add(time.Minute-5*time.Second), time.Now().Add(time.Minute+5*time.Second))
		require.InDelta(t, 0, testutil.ToFloat64(m.gateOpen.WithLabelValues("write")), 0)
		require.InDelta(t, 1, testutil.ToFloat64(m.closures.WithLabelValues("write", "limited")), 0)
		rewind(t, db, LaneWrite)
		require.NoError(t, g.Refresh(t.Context()))
		require.InDelta(t, 1, testutil.ToFloat64(m.gateOpen.WithLabelValues("write")), 0)
	})
}
