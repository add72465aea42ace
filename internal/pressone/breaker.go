package pressone

import (
	"errors"
	"net/http"
	"time"
)

// The breaker closes a lane when PressOne is away, and opens it again step by step. This file decides, and does nothing else:
// no network, no database, no clock. Gate keeps one for each lane, and shares its phase with the other workers.
//
//	open ──outages in a row──► down ──one probe is answered──► ramp ──answers──► open
//	                            ▲ │                             │
//	                            └─┴──────────outages────────────┘

const (
	// tripAfter is how many outages in a row, in one worker, close an open lane.
	tripAfter = 5
	// tripAfterFirst is the same at the foot of the ramp: not one, or a provider that loses every tenth call would hardly get
	// up it.
	tripAfterFirst = 2
	// rampLast is the ramp's last step: calls in flight of all workers together. It doubles up to this from 1.
	rampLast = 128
	// probeEveryMax is the longest time between two probes. They cost little, and the ramp protects whoever comes back.
	probeEveryMax = 30 * time.Second
)

// verdict is what the end of a call says about PressOne as a whole.
type verdict int

const (
	silent   verdict = iota // nothing: it was not made, or the reason is ours
	answered                // PressOne is there, whatever it said
	outage                  // PressOne is away
)

// String names the verdict as metrics do.
func (v verdict) String() string {
	switch v {
	case answered:
		return "answered"
	case outage:
		return "outage"
	case silent:
	}
	return "silent"
}

// judge reads a call's error. Away is whoever does not answer (no connection, a reset, a time-out), has somebody else answer (a
// gateway's 5xx or 408, a redirect), or says itself that it is not available (4033). That PressOne cannot deal with one request
// (5001, 53) says nothing about the others; nor does a success that cannot be read, which is one all the same.
func judge(err error) verdict {
	if err == nil {
		return answered
	}
	e, ok := errors.AsType[*Error](err)
	switch {
	case !ok:
		return silent
	case e.Status == 0:
		if e.Lost {
			return outage
		}
		return silent
	case e.Code == codeUnavailable && (e.Answered || e.Status >= 500):
		return outage
	case e.Answered:
		return answered
	case e.Status >= 500, e.Status == http.StatusRequestTimeout, e.Status >= 300 && e.Status <= 399:
		return outage
	}
	return answered
}

// phase is where a lane's breaker is, as stored.
type phase string

const (
	phaseOpen phase = "open"
	phaseDown phase = "down" // closed until a probe is answered
	phaseRamp phase = "ramp" // open for a few calls at a time
)

// change is what the end of a call does to the phase that all workers share.
type change string

const (
	stay   change = ""
	trip   change = "trip"   // close the lane
	reopen change = "reopen" // begin the ramp
	widen  change = "widen"  // allow twice as many, or as many as there are
)

// breaker is what one worker knows about one lane: the phase, which is shared, and what it has counted in it, which is not.
type breaker struct {
	phase phase
	limit int       // in a ramp: calls in flight of all workers together
	began time.Time // when the phase began, as far as this worker knows
	step  time.Time // when the ramp's step did

	outages  int // in a row
	answers  int // in this step of the ramp
	inFlight int // calls that were begun in a ramp
}

// become is the breaker after the shared phase was read.
func (b breaker) become(p phase, limit int, now time.Time) breaker {
	if p == "" {
		p = phaseOpen
	}
	if p != b.phase {
		return breaker{phase: p, limit: limit, began: now, step: now, inFlight: b.inFlight}
	}
	if limit != b.limit {
		b.limit, b.step, b.answers = limit, now, 0
	}
	return b
}

// share is how many calls one of so many workers may have in flight during the ramp: at least one.
func (b breaker) share(workers int) int {
	workers = max(workers, 1)
	return max(1, (b.limit+workers-1)/workers)
}

// patience is how many outages in a row close the lane.
func (b breaker) patience() int {
	if b.phase == phaseRamp {
		return max(tripAfterFirst, min(tripAfter, b.limit/2))
	}
	return tripAfter
}

// room is how many calls may be begun now, Unlimited when nobody counts them.
func (b breaker) room(workers int) int {
	switch b.phase {
	case phaseDown:
		return 1 // the probe
	case phaseRamp:
		return max(0, b.share(workers)-b.inFlight)
	case phaseOpen:
	}
	return Unlimited
}

// ended is the breaker after a call, and what has to be written because of it. A call that was begun before the phase was says
// nothing about it: what times out during the ramp was lost in the outage. While the lane is down only the probe counts.
func (b breaker) ended(v verdict, p Pass, workers int, now time.Time, step time.Duration) (breaker, change) {
	if p.ramp {
		b.inFlight = max(0, b.inFlight-1)
	}
	if v == silent || !p.Probe && p.begun.Before(b.began) {
		return b, stay
	}
	if b.phase == phaseDown {
		switch {
		case !p.Probe:
			return b, stay
		case v == outage:
			return b, trip
		}
		return b, reopen
	}
	if v == outage {
		if b.outages++; b.outages >= b.patience() {
			return b, trip
		}
		return b, stay
	}
	b.outages = 0
	if b.phase == phaseRamp {
		b.answers++
		if b.answers >= b.share(workers) && now.Sub(b.step) >= step {
			return b, widen
		}
	}
	return b, stay
}
