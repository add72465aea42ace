package saga

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// scriptedGate is a gate of which a test says what it answers.
type scriptedGate struct {
	openGate
	paused  atomic.Bool
	room    atomic.Int64 // on the writing lane; 0: nobody counts
	pass    pressone.Pass
	entered atomic.Int64
	left    atomic.Int64
	dropped atomic.Int64
}

func (g *scriptedGate) Paused(message.Kind) bool { return g.paused.Load() }

func (g *scriptedGate) Room(lane pressone.Lane) int {
	if n := g.room.Load(); n > 0 && lane == pressone.LaneWrite {
		return int(n)
	}
	return pressone.Unlimited
}

func (g *scriptedGate) Enter(_ context.Context, lane pressone.Lane) (pressone.Pass, time.Duration, error) {
	if lane == pressone.LaneWrite {
		g.entered.Add(1)
		return g.pass, 0, nil
	}
	return pressone.Pass{}, 0, nil
}

func (g *scriptedGate) Leave(_ context.Context, p pressone.Pass, _ error) (bool, error) {
	if p.Counted() {
		g.left.Add(1)
	}
	return false, nil
}

func (g *scriptedGate) Drop(context.Context, pressone.Pass) error {
	g.dropped.Add(1)
	return nil
}

// silentGate is a gate whose reading lane is closed, nobody knows for how long.
type silentGate struct{ openGate }

func (silentGate) Room(lane pressone.Lane) int {
	if lane == pressone.LaneRead {
		return 0
	}
	return pressone.Unlimited
}

func (g silentGate) ClosedFor(lane pressone.Lane) time.Duration {
	if g.Room(lane) == 0 {
		return 24 * time.Hour
	}
	return 0
}

func (g silentGate) Enter(_ context.Context, lane pressone.Lane) (pressone.Pass, time.Duration, error) {
	return pressone.Pass{}, g.ClosedFor(lane), nil
}

// While reading is closed, a top-up, whose list is read first, is not even claimed. An order is bought, and what then waits is due
// again soon, since the lane may be opened at any time; whoever is due is not claimed while it is closed.
func TestWhatIsReadWaitsForTheLane(t *testing.T) {
	b := setupStore(t)
	r := b.runner(oneProvider{submit: func(context.Context, pressone.Guard) (pressone.Receipt, error) {
		return pressone.Receipt{Order: bought(77).Order, Status: 200, Raw: []byte("raw")}, nil
	}})
	r.Gate = silentGate{}
	topup := b.accept(message.Request{Kind: message.Topup, PackageID: "p", ICCID: "8934000000000000001"}, false)
	b.accept(message.Request{}, false)
	b.run(r)
	require.Eventually(t, func() bool {
		return b.count("SELECT count(*) FROM saga WHERE state = 'polling' AND worker IS NULL") == 1
	}, 60*time.Second, time.Millisecond)
	require.Zero(t, b.count("SELECT count(*) FROM saga WHERE due_at > now() + interval '30 seconds'"), "LEASE_TTL is a minute")
	got, err := b.store.Get(t.Context(), topup.ID)
	require.NoError(t, err)
	require.Equal(t, topup.Version, got.Version)
}

// pausingLimiter is a wait in which an operator pauses.
type pausingLimiter struct{ gate *scriptedGate }

func (l pausingLimiter) Wait(context.Context) error {
	l.gate.paused.Store(true)
	return nil
}

// A saga is claimed and waits for its turn; meanwhile an operator pauses. It is not submitted, no intent is recorded, and it waits.
func TestAPauseTakesEffectBetweenClaimAndIntent(t *testing.T) {
	b := setupStore(t)
	gate := &scriptedGate{}
	r := b.runner(oneProvider{})
	r.Gate, r.Limiter = gate, pausingLimiter{gate}
	s := b.accept(message.Request{}, false)
	_, err := r.prepare(t.Context(), s)
	_, postponed := errors.AsType[*postponeError](err)
	require.True(t, postponed, "%v", err)
	require.Zero(t, gate.entered.Load(), "it asks for no pass that it cannot use")
	_, err = r.prepare(t.Context(), s)
	_, postponed = errors.AsType[*postponeError](err)
	require.True(t, postponed)
}

// While orders are paused none is accepted with its intent; nor while somebody counts what is in flight.
func TestNothingIsAdmittedPastTheGate(t *testing.T) {
	b := setupStore(t)
	gate := &scriptedGate{}
	r := b.runner(oneProvider{})
	r.Gate = gate
	b.run(r)
	room := func() int {
		a := r.Admit(message.Order, 1, time.Now().Add(time.Second))
		defer a.Cancel()
		return a.Room
	}
	require.Equal(t, 1, room())
	gate.paused.Store(true)
	require.Zero(t, room())
	gate.paused.Store(false)
	gate.room.Store(8)
	require.Zero(t, room())
}

// The ramp has room for two. Two sagas are claimed for it, and no more before they have got there.
func TestClaimsKeepToTheRamp(t *testing.T) {
	b := setupStore(t)
	gate := &scriptedGate{}
	gate.room.Store(2)
	r := b.runner(oneProvider{})
	r.Gate = gate
	turns, counted := r.turns(10)
	require.True(t, counted)
	require.Equal(t, []turn{{states: []State{Unknown, Polling}, n: 10}, {states: []State{Pending}, lane: pressone.LaneWrite, n: 2}}, turns)
	one, two := uuid.New(), uuid.New()
	r.passes.come(one, pressone.LaneWrite)
	r.passes.come(two, pressone.LaneWrite)
	turns, counted = r.turns(10)
	require.True(t, counted)
	require.Len(t, turns, 1)
	r.passes.arrive(one, pressone.LaneRead)
	require.Equal(t, 2, r.passes.coming(pressone.LaneWrite), "a top-up's list comes before it")
	r.passes.arrive(one, pressone.LaneWrite)
	r.drop(t.Context(), two)
	turns, _ = r.turns(1)
	require.Equal(t, 1, turns[1].n)
	gate.room.Store(0)
	turns, counted = r.turns(10)
	require.False(t, counted)
	require.Equal(t, []turn{{states: []State{Pending, Unknown, Polling}, n: 10}}, turns)
}

// A saga has the probe's pass, and its intent cannot be committed: somebody else has moved it. The pass is given back.
func TestAPassThatIsNotUsedIsGivenBack(t *testing.T) {
	b := setupStore(t)
	gate := &scriptedGate{pass: pressone.Pass{Probe: true}}
	r := b.runner(oneProvider{})
	r.Gate = gate
	b.run(r)
	s := b.accept(message.Request{}, false)
	s.Worker = b.lease.ID()
	s.Version += 5 // it has moved on
	r.slots <- struct{}{}
	r.held.add(s.ID)
	r.start(t.Context(), t.Context(), s, false)
	require.Eventually(t, func() bool { return gate.dropped.Load() == 1 }, 60*time.Second, time.Millisecond)
	require.EqualValues(t, 1, gate.entered.Load())
	require.Zero(t, gate.left.Load())
}

// The probe's own attempt does not count, whether it was lost or refused for the moment; what it may have bought is looked for all the
// same. Anybody else's does count.
func TestAProbeSpendsNoAttempt(t *testing.T) {
	t.Parallel()
	s := Saga{State: Submitting, Attempts: 3, Tries: 2}
	for _, name := range []EventName{OutcomeUnknown, NotApplied} {
		for free, tries := range map[bool]int{true: 1, false: 2} {
			d, err := testPolicy.Decide(s, Event{Name: name, Free: free}, time.Now(), 0.5)
			require.NoError(t, err)
			require.Equal(t, tries, d.After.Tries, "%s %v", name, free)
			require.Equal(t, 3, d.After.Attempts)
		}
	}
	d, err := testPolicy.Decide(s, Event{Name: OutcomeUnknown, Free: true}, time.Now(), 0.5)
	require.NoError(t, err)
	require.Equal(t, Unknown, d.After.State)
}
