package pressone

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// What each answer, or the lack of one, says about PressOne as a whole.
func TestJudge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want verdict
	}{
		{nil, answered},
		{errors.New("ours"), silent},
		{context.Canceled, silent},
		{&Error{NotSent: true, Disposition: NotApplied, Err: context.Canceled}, silent},
		{&Error{NotSent: true, Disposition: NotApplied, Lost: true}, outage}, // connection refused
		{&Error{Lost: true}, outage}, // a reset, a time-out
		{&Error{Status: 500}, outage},
		{&Error{Status: 502}, outage},
		{&Error{Status: 503}, outage},
		{&Error{Status: 504}, outage},
		{&Error{Status: 408}, outage},
		{&Error{Status: 307}, outage},
		{&Error{Status: 503, Code: "14"}, outage}, // a gateway's own code
		{&Error{Status: 503, Code: "4033", Answered: true}, outage},
		{&Error{Status: 422, Code: "4033", Answered: true}, outage},
		{&Error{Status: 503, Code: "4033", Answered: true, Disposition: NotApplied}, outage},
		{&Error{Status: 500, Code: "5001", Answered: true}, answered}, // it cannot deal with this one
		{&Error{Status: 422, Code: "53", Answered: true}, answered},
		{&Error{Status: 200, Err: ErrUnreadable}, answered},
		{&Error{Status: 409}, answered},
		{&Error{Status: 404, Disposition: Refused}, answered},
		{&Error{Status: 401, Account: true, Disposition: NotApplied}, answered},
		{&Error{Status: 429, Limited: true, Disposition: NotApplied}, answered},
		{&Error{Status: 422, Maintenance: true, Disposition: NotApplied}, answered},
	} {
		require.Equal(t, tt.want, judge(tt.err), "%v", tt.err)
	}
}

// What a breaker does in each phase with each verdict.
func TestBreaker(t *testing.T) {
	t.Parallel()
	const step = time.Second
	began := time.Now()
	later := began.Add(step)
	for name, tt := range map[string]struct {
		b    breaker
		v    verdict
		p    Pass
		do   change
		want func(breaker) bool
	}{
		"an outage is counted": {
			breaker{phase: phaseOpen, outages: 3}, outage, Pass{}, stay, func(b breaker) bool { return b.outages == 4 },
		},
		"an answer forgets those before": {
			breaker{phase: phaseOpen, outages: 4}, answered, Pass{}, stay, func(b breaker) bool { return b.outages == 0 },
		},
		"silence changes nothing": {
			breaker{phase: phaseOpen, outages: 4}, silent, Pass{}, stay, func(b breaker) bool { return b.outages == 4 },
		},
		"the fifth outage in a row closes the lane": {
			breaker{phase: phaseOpen, outages: 4}, outage, Pass{}, trip, nil,
		},
		"a failed write is tried again with the next outage": {
			breaker{phase: phaseOpen, outages: 7}, outage, Pass{}, trip, nil,
		},
		"while it is down, others say nothing": {
			breaker{phase: phaseDown}, answered, Pass{begun: later}, stay, nil,
		},
		"the probe is answered": {
			breaker{phase: phaseDown, began: later}, answered, Pass{Probe: true}, reopen, nil,
		},
		"the probe is not answered": {
			breaker{phase: phaseDown, began: later}, outage, Pass{Probe: true}, trip, nil,
		},
		"one outage in the ramp is forgiven": {
			breaker{phase: phaseRamp, limit: 1, answers: 1},
			outage,
			Pass{ramp: true},
			stay,
			func(b breaker) bool { return b.answers == 1 && b.outages == 1 },
		},
		"two at its foot are not": {
			breaker{phase: phaseRamp, limit: 4, outages: 1}, outage, Pass{ramp: true}, trip, nil,
		},
		"further up they are": {
			breaker{phase: phaseRamp, limit: 16, outages: 3},
			outage,
			Pass{ramp: true},
			stay,
			func(b breaker) bool { return b.outages == 4 },
		},
		"but not five": {
			breaker{phase: phaseRamp, limit: 16, outages: 4}, outage, Pass{ramp: true}, trip, nil,
		},
		"a worker's share of answers widens the ramp": {
			breaker{phase: phaseRamp, limit: 8, answers: 3, step: began}, answered, Pass{ramp: true}, widen, nil,
		},
		"but not before the step has had its time": {
			breaker{phase: phaseRamp, limit: 8, answers: 3, step: began.Add(1)}, answered, Pass{ramp: true}, stay, nil,
		},
		"what was lost in the outage says nothing about the ramp": {
			breaker{phase: phaseRamp, limit: 8, outages: 1, began: later},
			outage,
			Pass{begun: began},
			stay,
			func(b breaker) bool { return b.outages == 1 },
		},
		"a pass that was not used is given back": {
			breaker{phase: phaseRamp, limit: 8, inFlight: 4},
			silent,
			Pass{ramp: true},
			stay,
			func(b breaker) bool { return b.inFlight == 3 },
		},
	} {
		got, do := tt.b.ended(tt.v, tt.p, 2, later, step)
		require.Equal(t, tt.do, do, name)
		require.True(t, tt.want == nil || tt.want(got), "%s: %+v", name, got)
	}
}

// lane is what Postgres would keep of a lane, and what the world sees of it.
type lane struct {
	phase   phase
	limit   int
	probing bool
}

// apply is what the statements do, by compare-and-set.
func (l *lane) apply(do change, from phase, limit int) {
	switch {
	case do == trip && l.phase == from:
		l.phase, l.limit, l.probing = phaseDown, 0, false
	case do == reopen && l.phase == phaseDown:
		l.phase, l.limit, l.probing = phaseRamp, 1, false
	case do == widen && l.phase == phaseRamp && l.limit == limit:
		if l.limit *= 2; l.limit > rampLast {
			l.phase, l.limit = phaseOpen, 0
		}
	}
}

// PressOne loses every fifth call for good. Once that has closed the lane it opens all the same, within a hundred probes, and stays open
// most of the time.
func TestBreakerOfAFlakyProvider(t *testing.T) {
	t.Parallel()
	roll := rand.New(rand.NewPCG(1, 2))
	b := breaker{phase: phaseDown}
	shared := lane{phase: phaseDown}
	now, probes := time.Now(), 0
	for range 10_000 {
		now = now.Add(time.Second)
		p := Pass{begun: now, Probe: b.phase == phaseDown}
		if p.Probe {
			probes++
		}
		v := answered
		if roll.IntN(5) == 0 {
			v = outage
		}
		before := b
		var do change
		b, do = b.ended(v, p, 1, now, time.Second)
		shared.apply(do, before.phase, before.limit)
		b = b.become(shared.phase, shared.limit, now)
	}
	require.Equal(t, phaseOpen, b.phase)
	require.Less(t, probes, 100)
}

// Law: whatever happens, in whatever order, while a lane is down one call at the most is under way that was begun since; in a ramp
// a worker has no more calls in flight than its share; what is in flight is never miscounted; and when PressOne answers
// everything, the lane is open in the end.
func TestBreakerLaw(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		workers := rapid.IntRange(1, 4).Draw(t, "workers")
		now := time.Now()
		shared := lane{phase: phaseOpen}
		breakers := make([]breaker, workers)
		calls := make([][]Pass, workers)
		begin := func(w int) {
			b := &breakers[w]
			p := Pass{begun: now}
			switch room := b.room(workers); {
			case b.phase == phaseDown && (shared.probing || shared.phase != phaseDown):
				return // somebody else was quicker
			case b.phase == phaseDown:
				shared.probing, p.Probe = true, true
			case room == 0:
				return
			case room != Unlimited:
				b.inFlight++
				p.ramp = true
			}
			calls[w] = append(calls[w], p)
		}
		end := func(w, i int, v verdict) {
			p := calls[w][i]
			calls[w] = append(calls[w][:i:i], calls[w][i+1:]...)
			before := breakers[w]
			var do change
			breakers[w], do = before.ended(v, p, workers, now, 10)
			shared.apply(do, before.phase, before.limit)
			if p.Probe && v == silent {
				shared.probing = false
			}
		}
		refresh := func(w int) { breakers[w] = breakers[w].become(shared.phase, shared.limit, now) }
		check := func() {
			probes := 0
			for w, b := range breakers {
				ramp := 0
				for _, p := range calls[w] {
					if p.Probe && shared.phase == phaseDown {
						probes++
					}
					if p.ramp {
						ramp++
					}
				}
				if ramp != b.inFlight {
					t.Fatalf("worker %d has %d calls of the ramp in flight, and counts %d", w, ramp, b.inFlight)
				}
			}
			if probes > 1 {
				t.Fatalf("%d probes", probes)
			}
		}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "time")))
			w := rapid.IntRange(0, workers-1).Draw(t, "worker")
			before := len(calls[w])
			switch rapid.SampledFrom([]string{"begin", "begin", "end", "end", "refresh"}).Draw(t, "what") {
			case "begin":
				begin(w)
				if b := breakers[w]; len(calls[w]) > before && b.phase == phaseRamp && b.inFlight > b.share(workers) {
					t.Fatalf("worker %d has %d in flight of %d", w, b.inFlight, b.share(workers))
				}
			case "end":
				if before > 0 {
					v := rapid.SampledFrom([]verdict{answered, outage, outage, silent}).Draw(t, "verdict")
					end(w, rapid.IntRange(0, before-1).Draw(t, "call"), v)
				}
			case "refresh":
				refresh(w)
			}
			check()
		}
		for range 64 { // PressOne answers, and everybody looks now and then
			now = now.Add(20)
			for w := range workers {
				refresh(w)
				begin(w)
				for len(calls[w]) > 0 {
					end(w, 0, answered)
				}
				refresh(w)
				for range breakers[w].limit {
					begin(w)
				}
				for len(calls[w]) > 0 {
					end(w, 0, answered)
				}
			}
			check()
		}
		if shared.phase != phaseOpen {
			t.Fatalf("it is %+v in the end", shared)
		}
	})
}
