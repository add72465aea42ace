package pressone

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

var lost = &Error{Operation: OpSubmitOrder, Lost: true}

// gates are workers that share a database.
type gates struct {
	testing.TB
	db  *pgxpool.Pool
	all []*Gate
}

func newGates(tb testing.TB, n int, cfg GateConfig) *gates {
	tb.Helper()
	gs := &gates{TB: tb, db: database(tb)}
	for range n {
		g := NewGate(gs.db, cfg)
		g.SetWorkers(n)
		gs.all = append(gs.all, g)
	}
	return gs
}

// call makes n calls on the writing lane that end so, and returns how many were allowed.
func (gs *gates) call(g *Gate, n int, err error) (made int) {
	gs.Helper()
	for range n {
		p, wait, enterErr := g.Enter(gs.Context(), LaneWrite)
		require.NoError(gs, enterErr)
		if wait > 0 {
			continue
		}
		made++
		_, leaveErr := g.Leave(gs.Context(), p, err)
		require.NoError(gs, leaveErr)
	}
	return made
}

// heartbeat has every worker read the gate, after what closed the lane has run out.
func (gs *gates) heartbeat() {
	gs.Helper()
	for _, g := range gs.all {
		require.NoError(gs, g.Refresh(gs.Context()))
	}
}

// down lets PressOne go away, and time pass until the probe is due.
func (gs *gates) down() {
	gs.Helper()
	require.Equal(gs, tripAfter, gs.call(gs.all[0], tripAfter, lost))
	rewind(gs, gs.db, LaneWrite)
	gs.heartbeat()
}

func (gs *gates) phase() (p phase, limit, failures int) {
	gs.Helper()
	require.NoError(gs, gs.db.QueryRow(gs.Context(), "SELECT phase, ramp, failures FROM provider_gate WHERE lane = 'write'").Scan(&p, &limit, &failures))
	return p, limit, failures
}

func TestGateBreaker(t *testing.T) {
	t.Parallel()
	cfg := GateConfig{RetryInitial: 10 * time.Second, RetryMax: 5 * time.Minute}

	// An outage is five calls in a row that PressOne did not answer. One worker finds out, all know.
	t.Run("closes a lane after outages in a row, for every worker", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 2, cfg)
		one, other := gs.all[0], gs.all[1]
		gs.call(one, tripAfter-1, lost)
		gs.call(one, 1, &Error{Status: 422, Code: "34", Disposition: Refused})
		gs.call(one, tripAfter-1, lost)
		require.Zero(t, one.ClosedFor(LaneWrite), "PressOne answered in between")
		gs.call(one, 1, lost)
		requireClosedFor(t, one, LaneWrite, 10*time.Second)
		require.Zero(t, one.ClosedFor(LaneRead))
		require.Zero(t, one.Room(LaneWrite))
		gs.heartbeat()
		requireClosedFor(t, other, LaneWrite, 10*time.Second)
		_, _, failures := gs.phase()
		require.Equal(t, 1, failures)
	})

	// When it is time to see whether PressOne is back, all workers come at once, and one of them goes.
	t.Run("lets one of all workers probe", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 4, cfg)
		gs.down()
		var probes atomic.Int32
		var wg sync.WaitGroup
		for _, g := range gs.all {
			for range 4 {
				wg.Go(func() {
					p, wait, err := g.Enter(t.Context(), LaneWrite)
					if err == nil && p.Probe && wait == 0 {
						probes.Add(1)
					}
				})
			}
		}
		wg.Wait()
		require.EqualValues(t, 1, probes.Load())
		gs.heartbeat()
		for _, g := range gs.all {
			require.Zero(t, g.Room(LaneWrite))
		}
	})

	// Each probe in vain doubles the wait, up to half a minute.
	t.Run("waits longer after every probe in vain", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 1, cfg)
		gs.down()
		for _, want := range []time.Duration{20 * time.Second, 30 * time.Second, 30 * time.Second} {
			require.Equal(t, 1, gs.call(gs.all[0], 3, lost))
			requireClosedFor(t, gs.all[0], LaneWrite, want)
			rewind(t, gs.db, LaneWrite)
			gs.heartbeat()
		}
	})

	// The probe is answered. What is let through doubles with the answers, each worker has its share, and in the end
	// nobody counts any more.
	t.Run("opens by a ramp that the workers share", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 2, GateConfig{RetryInitial: time.Nanosecond, RetryMax: 5 * time.Minute})
		gs.down()
		require.Equal(t, 1, gs.call(gs.all[0], 1, nil))
		for limit := 1; limit <= rampLast; limit *= 2 {
			gs.heartbeat()
			p, got, failures := gs.phase()
			require.Equal(t, phaseRamp, p)
			require.Equal(t, limit, got)
			require.Equal(t, 1, failures)
			share := max(1, limit/2)
			for _, g := range gs.all {
				require.Equal(t, share, g.Room(LaneWrite))
			}
			var passes []Pass
			for range share + 3 {
				pass, wait, err := gs.all[1].Enter(t.Context(), LaneWrite)
				require.NoError(t, err)
				if wait == 0 {
					passes = append(passes, pass)
				}
			}
			require.Len(t, passes, share)
			require.Zero(t, gs.all[1].Room(LaneWrite))
			for _, pass := range passes {
				_, err := gs.all[1].Leave(t.Context(), pass, nil)
				require.NoError(t, err)
			}
		}
		gs.heartbeat()
		p, limit, failures := gs.phase()
		require.Equal(t, phaseOpen, p)
		require.Zero(t, limit)
		require.Zero(t, failures)
		require.Equal(t, Unlimited, gs.all[0].Room(LaneWrite))
	})

	// PressOne goes away again while it is being let in.
	t.Run("closes again when two in a row are lost in the ramp", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 1, cfg)
		gs.down()
		gs.call(gs.all[0], 1, nil)
		gs.call(gs.all[0], 1, lost)
		require.Zero(t, gs.all[0].ClosedFor(LaneWrite))
		gs.call(gs.all[0], 1, lost)
		requireClosedFor(t, gs.all[0], LaneWrite, 20*time.Second)
	})

	// The probe was for nothing: its saga was not sent after all. Or its worker has died.
	t.Run("lets another probe when one was not made, or is missed", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 2, cfg)
		gs.down()
		p, _, err := gs.all[0].Enter(t.Context(), LaneWrite)
		require.NoError(t, err)
		require.True(t, p.Probe)
		require.NoError(t, gs.all[0].Drop(t.Context(), p))
		requireClosedFor(t, gs.all[0], LaneWrite, 10*time.Second)
		rewind(t, gs.db, LaneWrite)
		gs.heartbeat()
		p, _, err = gs.all[1].Enter(t.Context(), LaneWrite)
		require.NoError(t, err)
		require.True(t, p.Probe)
		rewind(t, gs.db, LaneWrite) // it died: its time runs out
		gs.heartbeat()
		require.Equal(t, 1, gs.call(gs.all[0], 1, nil))
		state, _, _ := gs.phase()
		require.Equal(t, phaseRamp, state)
	})

	// The probe is answered, by being told to come later. That counts, and so does the time.
	t.Run("waits for as long as PressOne asks the probe to", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 1, cfg)
		gs.down()
		gs.call(gs.all[0], 1, limitedFor(2*time.Minute))
		requireClosedFor(t, gs.all[0], LaneWrite, 2*time.Minute)
		p, _, _ := gs.phase()
		require.Equal(t, phaseRamp, p)
	})

	// PressOne is down for maintenance, and its gateway says for how long. Nobody probes before that, or every half a minute would
	// cost a submission.
	t.Run("waits for as long as whoever answers for PressOne asks", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 1, cfg)
		away := &Error{Operation: OpSubmitOrder, Status: 503, RetryAfter: 2 * time.Minute}
		require.Equal(t, tripAfter, gs.call(gs.all[0], tripAfter+3, away))
		gs.heartbeat() // does not recall it
		requireClosedFor(t, gs.all[0], LaneWrite, 2*time.Minute)
		rewind(t, gs.db, LaneWrite)
		gs.heartbeat()
		require.Equal(t, 1, gs.call(gs.all[0], 1, away))
		requireClosedFor(t, gs.all[0], LaneWrite, 2*time.Minute)
		p, _, failures := gs.phase()
		require.Equal(t, phaseDown, p)
		require.Equal(t, 2, failures)
	})

	// An audit reads without a pass, one among all workers.
	t.Run("takes a call without a pass for the probe when it is time for one", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 1, cfg)
		g := gs.all[0]
		for range tripAfter {
			_, err := g.Observe(t.Context(), LaneWrite, lost)
			require.NoError(t, err)
		}
		requireClosedFor(t, g, LaneWrite, 10*time.Second)
		_, err := g.Observe(t.Context(), LaneWrite, nil)
		require.NoError(t, err)
		requireClosedFor(t, g, LaneWrite, 10*time.Second)
		rewind(t, gs.db, LaneWrite)
		gs.heartbeat()
		_, err = g.Observe(t.Context(), LaneWrite, lost)
		require.NoError(t, err)
		requireClosedFor(t, g, LaneWrite, 20*time.Second)
		rewind(t, gs.db, LaneWrite)
		gs.heartbeat()
		_, err = g.Observe(t.Context(), LaneWrite, nil)
		require.NoError(t, err)
		p, _, _ := gs.phase()
		require.Equal(t, phaseRamp, p)
	})

	// Postgres is gone. Calls on an open lane do not notice.
	t.Run("asks nobody while a lane is open", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 1, GateConfig{RetryInitial: 30 * time.Second, RetryMax: 5 * time.Minute})
		gs.heartbeat()
		gs.db.Close()
		require.Equal(t, 100, gs.call(gs.all[0], 100, nil))
		gs.call(gs.all[0], tripAfter-1, lost)
		p, _, err := gs.all[0].Enter(t.Context(), LaneWrite)
		require.NoError(t, err)
		closed, err := gs.all[0].Leave(t.Context(), p, lost)
		require.Error(t, err)
		require.True(t, closed)
		requireClosedFor(t, gs.all[0], LaneWrite, 30*time.Second)
	})

	// The token's lane is closed. Those who have a token go on; when it has run out, nobody submits to no avail.
	t.Run("closes all lanes when there is no token and none to be had", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 1, cfg)
		g := gs.all[0]
		_, err := gs.db.Exec(t.Context(), "UPDATE provider_token SET ciphertext = 'x', expires_at = now() + interval '1 hour'")
		require.NoError(t, err)
		gs.heartbeat()
		require.NoError(t, g.close(t.Context(), LaneToken, reasonOutage, time.Minute))
		require.Zero(t, g.ClosedFor(LaneWrite))
		require.Equal(t, Unlimited, g.Room(LaneRead))
		_, err = gs.db.Exec(t.Context(), rejectTokenSQL, 0)
		require.NoError(t, err)
		gs.heartbeat()
		requireClosedFor(t, g, LaneWrite, time.Minute)
		requireClosedFor(t, g, LaneRead, time.Minute)
		require.Zero(t, g.Room(LaneRead))
		rewind(t, gs.db, LaneToken)
		gs.heartbeat()
		require.Equal(t, 1, g.Room(LaneWrite), "one saga sees whether there are tokens again")
		require.NoError(t, g.reset(t.Context(), LaneToken))
		require.Equal(t, Unlimited, g.Room(LaneWrite))
	})
}

// Postgres's clock was set back by ten minutes while a lane was down. The probe does not come ten minutes late.
func TestProbeAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	gs := newGates(t, 1, GateConfig{ProbeBudget: time.Minute})
	gs.down()
	_, err := gs.db.Exec(t.Context(), "UPDATE provider_gate SET closed_until = now() + interval '10 minutes' WHERE lane = 'write'")
	require.NoError(t, err)
	gs.heartbeat()
	requireClosedFor(t, gs.all[0], LaneWrite, probeEveryMax)
	rewind(t, gs.db, LaneWrite)
	gs.heartbeat()
	p, _, err := gs.all[0].Enter(t.Context(), LaneWrite)
	require.NoError(t, err)
	require.True(t, p.Probe)
	_, err = gs.db.Exec(t.Context(), "UPDATE provider_gate SET closed_until = now() + interval '10 minutes' WHERE lane = 'write'")
	require.NoError(t, err)
	gs.heartbeat()
	requireClosedFor(t, gs.all[0], LaneWrite, time.Minute)
}

// What is scraped tells an outage from a probe from a ramp. A lane that is down is closed, also while nobody has come to probe it.
func TestGateMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	gs := newGates(t, 1, GateConfig{RetryInitial: time.Nanosecond, Metrics: NewMetrics(reg)})
	shows := func(open, ramp, closures, lost, made int) {
		t.Helper()
		require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(fmt.Sprintf(`
# HELP esimflow_provider_gate_open 1 when the lane is open, 0 when it is closed. Every replica reports the same: use min by (lane).
# TYPE esimflow_provider_gate_open gauge
esimflow_provider_gate_open{lane="read"} 1
esimflow_provider_gate_open{lane="token"} 1
esimflow_provider_gate_open{lane="write"} %d
`, open)), "esimflow_provider_gate_open"))
		require.InDelta(t, ramp, testutil.ToFloat64(gs.all[0].cfg.Metrics.rampLimit.WithLabelValues("write")), 0)
		require.InDelta(t, closures, testutil.ToFloat64(gs.all[0].cfg.Metrics.closures.WithLabelValues("write", reasonOutage)), 0)
		require.InDelta(t, lost, testutil.ToFloat64(gs.all[0].cfg.Metrics.probes.WithLabelValues("write", "outage")), 0)
		require.InDelta(t, made, testutil.ToFloat64(gs.all[0].cfg.Metrics.probes.WithLabelValues("write", "answered")), 0)
	}
	shows(1, 0, 0, 0, 0)
	gs.down()
	shows(0, 0, 1, 0, 0)
	gs.call(gs.all[0], 1, lost)
	shows(0, 0, 1, 1, 0)
	rewind(t, gs.db, LaneWrite)
	gs.heartbeat()
	gs.call(gs.all[0], 1, nil)
	shows(1, 1, 1, 1, 1)
	gs.call(gs.all[0], 1, nil)
	shows(1, 2, 1, 1, 1)
}
