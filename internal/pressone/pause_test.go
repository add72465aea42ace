package pressone

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
)

func TestPause(t *testing.T) {
	t.Parallel()
	cfg := GateConfig{RetryInitial: 10 * time.Second, RetryMax: time.Minute}
	write := Target{Lane: LaneWrite}

	// PressOne has asked for five minutes; an operator pauses; she resumes, and the rest of the five minutes is waited for.
	t.Run("of a lane holds whatever happens, and keeps what was beneath", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 2, cfg)
		one, other := gs.all[0], gs.all[1]
		var hinted atomic.Int32
		one.OnChange(func(Lane) { hinted.Add(1) })
		gs.call(one, 1, limitedFor(5*time.Minute))
		p, err := one.Pause(t.Context(), write, "ann", "strange answers")
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), p.Since, time.Minute)
		require.EqualValues(t, 2, hinted.Load())
		requireClosedFor(t, one, LaneWrite, 24*time.Hour)
		_, err = other.Observe(t.Context(), LaneWrite, limitedFor(time.Minute)) // was in flight
		require.NoError(t, err)
		gs.heartbeat() // does not recall it
		requireClosedFor(t, other, LaneWrite, 24*time.Hour)
		require.Zero(t, gs.call(other, 3, nil))

		v, err := other.View(t.Context())
		require.NoError(t, err)
		require.Equal(t, LaneView{Lane: LaneWrite, Reason: reasonPaused, Phase: "open", Failures: 1}, v.Lanes[1])
		require.Len(t, v.Pauses, 1)
		require.Equal(t, "ann", v.Pauses[0].Actor)
		require.Equal(t, "strange answers", v.Pauses[0].Reason)

		require.NoError(t, other.Resume(t.Context(), write, "bob", "PressOne has explained"))
		requireClosedFor(t, other, LaneWrite, 5*time.Minute)
		v, err = other.View(t.Context())
		require.NoError(t, err)
		require.Empty(t, v.Pauses)
		require.Equal(t, reasonLimited, v.Lanes[1].Reason)
		trail, err := one.Trail(t.Context(), 10)
		require.NoError(t, err)
		require.Len(t, trail, 2)
		require.Equal(t, "resume", trail[0].Action)
		require.Equal(t, "bob", trail[0].Actor)
		require.Equal(t, write, trail[1].Target)
	})

	// Nobody probes a lane that is paused, and a probe that was out changes nothing. After the pause it is time for one.
	t.Run("of a lane that is down puts off the probe", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 1, cfg)
		g := gs.all[0]
		gs.down()
		p, _, err := g.Enter(t.Context(), LaneWrite)
		require.NoError(t, err)
		require.True(t, p.Probe)
		_, err = g.Pause(t.Context(), write, "ann", "x")
		require.NoError(t, err)
		_, err = g.Leave(t.Context(), p, nil)
		require.NoError(t, err)
		requireClosedFor(t, g, LaneWrite, 24*time.Hour)
		require.NoError(t, g.Resume(t.Context(), write, "ann", "x"))
		require.Zero(t, g.ClosedFor(LaneWrite))
		require.Equal(t, 1, g.Room(LaneWrite))
		p, _, err = g.Enter(t.Context(), LaneWrite)
		require.NoError(t, err)
		require.True(t, p.Probe)
	})

	// What was in flight when she paused is answered with: wait five minutes. That is waited for after the pause.
	t.Run("of a lane does not forget what PressOne asked for meanwhile", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 1, cfg)
		g := gs.all[0]
		p, _, err := g.Enter(t.Context(), LaneWrite)
		require.NoError(t, err)
		_, err = g.Pause(t.Context(), write, "ann", "x")
		require.NoError(t, err)
		_, err = g.Leave(t.Context(), p, limitedFor(5*time.Minute))
		require.NoError(t, err)
		_, err = g.Leave(t.Context(), p, limitedFor(time.Second))
		require.NoError(t, err)
		requireClosedFor(t, g, LaneWrite, 24*time.Hour)
		require.NoError(t, g.Resume(t.Context(), write, "ann", "x"))
		requireClosedFor(t, g, LaneWrite, 5*time.Minute)
		v, err := g.View(t.Context())
		require.NoError(t, err)
		require.Equal(t, reasonLimited, v.Lanes[1].Reason)
		require.Equal(t, 1, v.Lanes[1].Failures)
	})

	// She paused because PressOne went away, and what was in flight is lost. After the pause one call finds out whether it is back.
	t.Run("of a lane does not forget an outage", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 1, cfg)
		g := gs.all[0]
		p, _, err := g.Enter(t.Context(), LaneWrite)
		require.NoError(t, err)
		_, err = g.Pause(t.Context(), write, "ann", "x")
		require.NoError(t, err)
		for range tripAfter + 3 {
			_, err = g.Leave(t.Context(), p, lost)
			require.NoError(t, err)
		}
		requireClosedFor(t, g, LaneWrite, 24*time.Hour)
		v, err := g.View(t.Context())
		require.NoError(t, err)
		require.Equal(t, LaneView{Lane: LaneWrite, Reason: reasonPaused, Phase: string(phaseDown), Failures: 1}, v.Lanes[1])
		require.NoError(t, g.Resume(t.Context(), write, "ann", "x"))
		v, err = g.View(t.Context())
		require.NoError(t, err)
		require.Equal(t, reasonOutage, v.Lanes[1].Reason)
		require.Equal(t, 1, g.Room(LaneWrite))
		p, _, err = g.Enter(t.Context(), LaneWrite)
		require.NoError(t, err)
		require.True(t, p.Probe)
	})

	// A kind is paused for all workers, and all lanes stay open.
	t.Run("of a kind is known to all workers", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 2, cfg)
		topups := Target{Kind: message.Topup}
		_, err := gs.all[0].Pause(t.Context(), topups, "ann", "x")
		require.NoError(t, err)
		require.True(t, gs.all[0].Paused(message.Topup))
		require.False(t, gs.all[0].Paused(message.Order))
		gs.heartbeat()
		require.True(t, gs.all[1].Paused(message.Topup))
		require.Equal(t, 5, gs.call(gs.all[1], 5, nil))
		require.NoError(t, gs.all[1].Resume(t.Context(), topups, "ann", "x"))
		gs.heartbeat()
		require.False(t, gs.all[0].Paused(message.Topup))
	})

	// Two operators press at once: one has paused, or resumed, and the other is told.
	t.Run("is made by one of those who press at once", func(t *testing.T) {
		t.Parallel()
		gs := newGates(t, 1, cfg)
		at := func(do func() error) (done, refused int32) {
			var d, r atomic.Int32
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					err := do()
					if _, ok := errors.AsType[*PausedError](err); ok {
						r.Add(1)
					} else if err == nil {
						d.Add(1)
					}
				})
			}
			wg.Wait()
			return d.Load(), r.Load()
		}
		done, refused := at(func() error {
			_, err := gs.all[0].Pause(t.Context(), write, "ann", "x")
			return err
		})
		require.EqualValues(t, 1, done)
		require.EqualValues(t, 7, refused)
		_, err := gs.all[0].Pause(t.Context(), write, "bob", "y")
		require.ErrorContains(t, err, "lane write is paused already, by ann since")
		done, refused = at(func() error { return gs.all[0].Resume(t.Context(), write, "ann", "x") })
		require.EqualValues(t, 1, done)
		require.EqualValues(t, 7, refused)
		trail, err := gs.all[0].Trail(t.Context(), 100)
		require.NoError(t, err)
		require.Len(t, trail, 2)
	})

	// What there is not cannot be paused.
	t.Run("is of something", func(t *testing.T) {
		t.Parallel()
		for _, tt := range []Target{{}, {Lane: "up"}, {Kind: "esim"}, {Lane: LaneRead, Kind: message.Order}} {
			require.Error(t, tt.Check())
		}
		require.NoError(t, write.Check())
		require.NoError(t, Target{Kind: message.Order}.Check())
	})

	// A worker of the version before asks as it always has, and keeps to a paused lane, and to one that is down.
	t.Run("of a lane is kept by workers of the version before", func(t *testing.T) {
		t.Parallel()
		const before = `SELECT extract(epoch FROM least(greatest(closed_until, now()), now() + interval '1 day') - now())::float8
			FROM provider_gate WHERE lane = 'write'`
		gs := newGates(t, 1, GateConfig{RetryInitial: time.Minute, RetryMax: time.Minute})
		g := gs.all[0]
		var seconds float64
		gs.call(g, tripAfter, lost)
		require.NoError(t, gs.db.QueryRow(t.Context(), before).Scan(&seconds))
		require.InDelta(t, probeEveryMax.Seconds(), seconds, 25)
		_, err := g.Pause(t.Context(), write, "ann", "x")
		require.NoError(t, err)
		require.NoError(t, g.close(t.Context(), LaneWrite, reasonLimited, time.Minute)) // as that version does it
		require.NoError(t, gs.db.QueryRow(t.Context(), before).Scan(&seconds))
		require.InDelta(t, 86400, seconds, 1)
	})
}
