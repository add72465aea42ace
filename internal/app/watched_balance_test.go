package app_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/config"
	"esimflow/internal/pressonesim"
)

// Of two workers one reads the balance, and shows it; when it stops, the other one does. While
// reading is closed nobody asks.
func TestOneWorkerReadsTheBalance(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	b.sim.SetBalance(123_45)
	b.env["LEASE_TTL"] = "1500ms" // and so the gate is read every half second
	type running struct {
		*app.Worker
		stop func()
	}
	start := func() running {
		w, err := app.NewWorker(t.Context(), b.config(config.Worker), b.logger())
		require.NoError(t, err)
		w.Watch(100 * time.Millisecond)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		stopped := false
		stop := func() {
			if !stopped {
				stopped = true
				cancel()
				require.NoError(t, <-done)
			}
		}
		t.Cleanup(stop)
		require.Eventually(t, func() bool { return w.Ready() == nil }, time.Minute, 10*time.Millisecond)
		return running{w, stop}
	}
	shows := func(w running) bool {
		text := b.fetch("http://" + w.TelemetryAddr() + "/metrics")
		require.Contains(t, text, `esimflow_collector_age_seconds{part="balance"}`)
		return strings.Contains(text, `esimflow_provider_balance{currency="USD"} 123.45`)
	}
	first := start()
	require.Eventually(t, func() bool { return shows(first) }, time.Minute, 20*time.Millisecond)
	second := start()
	asked := b.sim.Requests(pressonesim.GetBalance)
	require.Eventually(t, func() bool { return b.sim.Requests(pressonesim.GetBalance) > asked+5 }, time.Minute, 20*time.Millisecond)
	require.True(t, shows(first))
	require.False(t, shows(second), "one is enough")

	first.stop()
	require.Eventually(t, func() bool { return shows(second) }, time.Minute, 20*time.Millisecond, "it need not wait for the lease to run out")

	b.gate("read", "now() + interval '1 hour'")
	require.Eventually(t, func() bool {
		return strings.Contains(b.fetch("http://"+second.TelemetryAddr()+"/metrics"), `esimflow_provider_gate_open{lane="read"} 0`)
	}, time.Minute, 20*time.Millisecond)
	asked = b.sim.Requests(pressonesim.GetBalance)
	require.Never(t, func() bool { return b.sim.Requests(pressonesim.GetBalance) > asked+1 }, time.Second, 50*time.Millisecond, "one may have been under way")
	require.True(t, shows(second), "what was read stays")
}
