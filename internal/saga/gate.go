package saga

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// Gate is what stands between the workers and PressOne when PressOne has had enough, is away, or when operators say so. Asking it
// costs no query.
type Gate interface {
	ClosedFor(lane pressone.Lane) time.Duration
	Room(lane pressone.Lane) int
	Paused(k message.Kind) bool
	Pass(lane pressone.Lane) pressone.Pass
	Enter(ctx context.Context, lane pressone.Lane) (p pressone.Pass, wait time.Duration, problem error)
	Leave(ctx context.Context, p pressone.Pass, err error) (closed bool, problem error)
	Drop(ctx context.Context, p pressone.Pass) error
}

// turn is one claim: of sagas in these states, and how many at the most.
type turn struct {
	states []State
	lane   pressone.Lane // whose room n is; empty: nobody counts
	n      int
}

// turns says what may be claimed: a saga in front of a closed lane waits, and that costs it nothing. The first turn is
// of the lanes on which nobody counts, which is all of them but after an outage; those past their deadline are taken in
// it, whatever is open. A lane that has room for a few calls has a turn of its own for as many sagas. counted says that
// somebody counts: there is room again when a saga ends.
func (r *Runner) turns(free int) (all []turn, counted bool) {
	all = []turn{{n: free}}
	for _, l := range []struct {
		lane   pressone.Lane
		states []State
	}{
		{pressone.LaneWrite, []State{Pending}},
		{pressone.LaneRead, []State{Unknown, Polling}},
	} {
		switch room := r.Gate.Room(l.lane); {
		case room == pressone.Unlimited:
			all[0].states = append(all[0].states, l.states...)
		case r.Gate.ClosedFor(l.lane) == 0:
			counted = true
			if n := min(free, room-r.passes.coming(l.lane)); n > 0 {
				all = append(all, turn{states: l.states, lane: l.lane, n: n})
			}
		}
	}
	return all, counted
}

// closedKinds lists the kinds whose pending sagas are not claimed, but to give up: those that operators have paused, and top-ups while
// reading is closed, since their list is read first and each would be claimed in vain. What was submitted is looked up
// and polled as ever.
func (r *Runner) closedKinds() []message.Kind {
	var kinds []message.Kind
	for _, k := range message.Kinds() {
		if r.Gate.Paused(k) || k == message.Topup && r.Gate.ClosedFor(pressone.LaneRead) > 0 {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// gate postpones a saga whose lane is closed.
func (r *Runner) gate(lane pressone.Lane) error {
	if d := r.Gate.ClosedFor(lane); d > 0 {
		return r.sleep(d)
	}
	return nil
}

// gateKind postpones a saga whose kind is paused. It is not claimed again before that is over.
func (r *Runner) gateKind(k message.Kind) error {
	if r.Gate.Paused(k) {
		return r.sleep(r.nap())
	}
	return nil
}

// unauthorized postpones a saga for which there is no access token: for as long as that lane is closed now.
// It is said once for the many that wait for the same token.
func (r *Runner) unauthorized(ctx context.Context, err error) error {
	if last, now := r.complained.Load(), time.Now().UnixNano(); now-last > int64(r.LeaseTTL) && r.complained.CompareAndSwap(last, now) {
		r.Log.WarnContext(ctx, "no access token: nothing is submitted", "err", err)
	}
	return r.sleep(max(r.Gate.ClosedFor(pressone.LaneToken), contended))
}

// sleep postpones a saga, spread a little, so that they do not all come back at once.
func (r *Runner) sleep(d time.Duration) error {
	d = min(d, r.nap())
	return &postponeError{until: r.Lease.Now().Add(d + time.Duration(rand.Int64N(int64(d)/10+1)))}
}

// nap is the longest that a saga sleeps for what may end at any time: until that is known at the latest. Those
// that are due are not claimed before.
func (r *Runner) nap() time.Duration { return r.LeaseTTL / 3 }

// enter gets a saga's pass for a lane, or postpones it. Whoever gets one leaves.
func (r *Runner) enter(ctx context.Context, s Saga, lane pressone.Lane) (pressone.Pass, error) {
	p, wait, err := r.Gate.Enter(ctx, lane)
	r.passes.arrive(s.ID, lane)
	if err != nil {
		r.Log.WarnContext(ctx, "gate was not asked", "lane", lane, "err", err)
	}
	if wait > 0 {
		return r.Gate.Pass(lane), r.sleep(wait)
	}
	return p, nil
}

// leave tells the gate how a call went.
func (r *Runner) leave(ctx context.Context, p pressone.Pass, lane pressone.Lane, err error) {
	closed, problem := r.Gate.Leave(ctx, p, err)
	if closed {
		r.Log.WarnContext(ctx, "lane closed", "lane", lane, "err", err)
	}
	if problem != nil {
		r.Log.WarnContext(ctx, "gate was not updated", "lane", lane, "err", problem)
	}
}

// drop gives back whatever a saga has not used.
func (r *Runner) drop(ctx context.Context, id uuid.UUID) {
	r.passes.arrive(id, "")
	if p, ok := r.passes.take(id); ok {
		if err := r.Gate.Drop(ctx, p); err != nil {
			r.Log.WarnContext(ctx, "gate was not updated", "err", err)
		}
	}
}

// passes is what sagas hold of the gate: those that were claimed because a lane had room, until they get there, and the
// passes for submissions from before the intent until it is sent.
type passes struct {
	mu     sync.Mutex
	onWay  map[uuid.UUID]pressone.Lane
	submit map[uuid.UUID]pressone.Pass
}

func newPasses() *passes {
	return &passes{onWay: map[uuid.UUID]pressone.Lane{}, submit: map[uuid.UUID]pressone.Pass{}}
}

// come notes that a saga was claimed for the room on a lane.
func (p *passes) come(id uuid.UUID, lane pressone.Lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onWay[id] = lane
}

// arrive notes that it has asked for its pass on a lane; on none: it never will.
func (p *passes) arrive(id uuid.UUID, lane pressone.Lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if lane == "" || p.onWay[id] == lane {
		delete(p.onWay, id)
	}
}

// coming counts those that are on their way to a lane.
func (p *passes) coming(lane pressone.Lane) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.onWay {
		if l == lane {
			n++
		}
	}
	return n
}

// put keeps a pass for the submission of a saga.
func (p *passes) put(id uuid.UUID, pass pressone.Pass) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.submit[id] = pass
}

// take takes it out.
func (p *passes) take(id uuid.UUID) (pressone.Pass, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pass, ok := p.submit[id]
	delete(p.submit, id)
	return pass, ok
}
