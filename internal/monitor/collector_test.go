package monitor

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

var testDesc = prometheus.NewDesc("esimflow_test_age_seconds", "For tests.", nil, nil)

// value is the one value that the collector shows for the test's gauge, and for how long it
// has been read ago.
func show(t *testing.T, reg *prometheus.Registry) (value, age float64, shown bool) {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		switch f.GetName() {
		case "esimflow_test_age_seconds":
			value, shown = f.Metric[0].Gauge.GetValue(), true
		case "esimflow_collector_age_seconds":
			age = f.Metric[0].Gauge.GetValue()
		}
	}
	return value, age, shown
}

// What was never read is not shown; what cannot be read any more stays, its age grows on, and
// so does the time since it was read; and a reading that hangs holds up no scrape.
func TestCollector(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var reads atomic.Int32
		part := &Part{name: "test", descs: []*prometheus.Desc{testDesc}, read: func(ctx context.Context) ([]sample, error) {
			switch reads.Add(1) {
			case 1:
				return nil, errors.New("away")
			case 2:
				return []sample{{desc: testDesc, since: ago(time.Now(), 100)}}, nil
			}
			<-ctx.Done() // it hangs
			return nil, ctx.Err()
		}}
		reg := prometheus.NewPedanticRegistry()
		c := NewCollector(reg, slog.New(slog.DiscardHandler), 0, part)
		done := make(chan struct{})
		go func() { c.Run(ctx); close(done) }()
		synctest.Wait()
		_, _, shown := show(t, reg)
		require.False(t, shown, "it was never read")
		require.InDelta(t, 1, testutil.ToFloat64(c.errors.WithLabelValues("test")), 0)

		elapse(17 * time.Second) // 15, and a tenth
		value, age, shown := show(t, reg)
		require.True(t, shown)
		require.InDelta(t, 102, value, 2)
		require.Less(t, age, 4.0)

		elapse(20 * time.Second) // now it hangs
		start := time.Now()
		value, age, _ = show(t, reg)
		require.InDelta(t, 122, value, 2)
		require.Greater(t, age, 19.0)
		require.Equal(t, start, time.Now(), "the scrape has waited for nobody")
		cancel()
		<-done
	})
}

// elapse lets the bubble's time go by.
func elapse(d time.Duration) {
	pause(context.Background(), d)
	synctest.Wait()
}

// A part that takes long to read is read less often.
func TestReadingIsRationed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var reads atomic.Int32
		part := &Part{name: "test", read: func(ctx context.Context) ([]sample, error) {
			reads.Add(1)
			pause(ctx, 9*time.Second)
			return nil, nil
		}}
		c := NewCollector(prometheus.NewPedanticRegistry(), slog.New(slog.DiscardHandler), 0, part)
		done := make(chan struct{})
		go func() { c.Run(ctx); close(done) }()
		elapse(30 * time.Minute)
		require.InDelta(t, 30*60/(21*9), reads.Load(), 2)
		cancel()
		<-done
	})
}
