package saga

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"esimflow/internal/pressone"
)

// Provider is what a saga needs of PressOne.
type Provider interface {
	Authorize(ctx context.Context) error
	SubmitOrder(ctx context.Context, guard pressone.Guard, r pressone.OrderRequest) (pressone.Receipt, error)
	SubmitTopup(ctx context.Context, guard pressone.Guard, r pressone.TopupRequest) (pressone.Receipt, error)
	Orders(ctx context.Context, f pressone.OrderFilter) ([]pressone.Order, error)
	Order(ctx context.Context, id int64) (pressone.Order, error)
	Sim(ctx context.Context, iccid string) (pressone.Sim, error)
	Topups(ctx context.Context, iccid string) ([]pressone.Package, error)
}

// Limiter is the worker's share of the account's rate.
type Limiter interface {
	Wait(ctx context.Context) error
}

// RunnerConfig is what a Runner works with.
type RunnerConfig struct {
	Policy      Policy
	MaxInFlight int
	Eager       bool // new orders may be accepted with their intent
	LeaseTTL    time.Duration
	Budget      time.Duration // for what is in flight when the runner is stopped
	Store       *Store
	Lease       *Lease
	Provider    Provider
	Gate        Gate
	Limiter     Limiter
	Published   func()                                       // called when the outbox has got something to publish
	Beat        func(ctx context.Context, workers int) error // called with every heartbeat: how many workers are alive
	Log         *slog.Logger
	Tracing     trace.TracerProvider // gets a span of every step; nil: there are none
}

// Runner drives the sagas that this worker holds.
type Runner struct {
	RunnerConfig
	tracer     trace.Tracer // nil: no spans
	held       *held
	passes     *passes
	slots      chan struct{}  // one per saga in flight
	eager      chan struct{}  // of these: accepted with their intent; not all, so that what was begun finds room
	admitted   chan Saga      // accepted with their intent, in their slots
	waits      chan time.Time // when, by Postgres's clock, a saga that was just let go is due again
	wake       chan struct{}  // something may be due
	more       atomic.Bool    // something is, and there was no room for it
	complained atomic.Int64   // when the lack of a token was last said, in Unix nanoseconds
	running    atomic.Bool
	started    chan struct{} // closed once it runs
	wg         sync.WaitGroup
}

// NewRunner returns a runner; nothing happens until Run.
func NewRunner(cfg RunnerConfig) *Runner {
	var tracer trace.Tracer
	if cfg.Tracing != nil {
		tracer = cfg.Tracing.Tracer(scope)
	}
	return &Runner{
		RunnerConfig: cfg, tracer: tracer, held: newHeld(), passes: newPasses(),
		slots: make(chan struct{}, cfg.MaxInFlight), eager: make(chan struct{}, max(1, cfg.MaxInFlight*3/4)),
		admitted: make(chan Saga, cfg.MaxInFlight), waits: make(chan time.Time, cfg.MaxInFlight),
		wake: make(chan struct{}, 1), started: make(chan struct{}),
	}
}

// Started is closed once the runner runs.
func (r *Runner) Started() <-chan struct{} { return r.started }

// idle is the longest wait before the runner looks for due sagas again, in case that
// another worker has given one back.
const idle = time.Second

// contended is the wait when something is due and cannot be had.
const contended = 50 * time.Millisecond

// Wake tells the runner that something may be due now.
func (r *Runner) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run claims due sagas and drives them until ctx is cancelled; then it takes no more,
// waits for what is in flight, and returns nil. Submissions are not cancelled: they have
// until their intent's deadline, and their outcome has until the end of Budget.
//
// Whoever admits sagas has to have stopped before.
func (r *Runner) Run(ctx context.Context) error {
	work, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(r.Budget, kill) })()

	beats, quiet := context.WithCancel(work)
	var heart sync.WaitGroup
	heart.Go(func() { r.every(beats, "renew", r.beat) })
	heart.Go(func() { r.every(beats, "share", r.share) })
	heart.Go(func() { r.every(beats, "tend", r.tend) })
	r.running.Store(true)
	close(r.started)
	r.take(ctx, work)
	r.running.Store(false)
	r.wg.Wait()
	quiet()
	heart.Wait()
	if err := r.giveBack(work); err != nil {
		r.Log.WarnContext(ctx, "not everything was given back; others will take it over", "err", err)
	}
	if err := r.Lease.Resign(work); err != nil {
		r.Log.WarnContext(ctx, "the lease was not given up; it will run out", "err", err)
	}
	return nil
}

// take claims sagas until ctx is cancelled: when one is due, when there is room again for
// those that are, and now and then.
func (r *Runner) take(ctx, work context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now()
	for {
		select {
		case <-ctx.Done():
			for range len(r.admitted) {
				r.start(ctx, work, <-r.admitted, true) // not sent: they go back to pending
			}
			return
		case s := <-r.admitted:
			r.start(ctx, work, s, true)
			continue
		case due := <-r.waits:
			if at := time.Now().Add(due.Sub(r.Lease.Now())); at.Before(next) {
				next = at
				timer.Reset(time.Until(next))
			}
			continue
		case <-timer.C:
		case <-r.wake:
		}
		wait, err := r.claim(ctx, work)
		if err != nil && ctx.Err() == nil {
			r.Log.WarnContext(ctx, "sagas could not be claimed", "err", err)
		}
		next = time.Now().Add(wait)
		timer.Reset(wait)
	}
}

// claim claims what is due, as far as there is room, starts it, and says how long to wait
// before looking again. Cancelling ctx does not cancel a claim under way: it may have been
// committed, and what it has claimed would be nobody's to give back.
func (r *Runner) claim(ctx, work context.Context) (time.Duration, error) {
	id := r.Lease.ID()
	if ctx.Err() != nil || !r.Lease.Runs(id) {
		return idle, nil // the next heartbeat sees to it
	}
	r.held.claiming.RLock()
	defer r.held.claiming.RUnlock()
	r.more.Store(true)                                // a saga that ends wakes us
	free := reserve(r.slots, max(1, r.MaxInFlight/4)) // not all: intake finds room meanwhile
	if free == 0 {
		return idle, nil
	}
	claimed, next := 0, idle
	turns, counted := r.turns(free)
	for _, t := range turns {
		sagas, due, err := r.Store.Claim(work, id, t.states, min(t.n, free-claimed), r.closedKinds()...)
		claimed += len(sagas)
		for _, s := range sagas {
			if !r.held.add(s.ID) { // its last goroutine is just ending, or still submits it under a lease that was lost
				unreserve(r.slots, 1)
				r.wg.Go(func() { r.plan(r.release(work, s, r.Lease.Now().Add(idle))) })
				continue
			}
			if t.lane != "" {
				r.passes.come(s.ID, t.lane)
			}
			r.start(ctx, work, s, false)
		}
		switch {
		case err != nil:
			unreserve(r.slots, free-claimed)
			return idle, err
		case claimed == free:
			return 0, nil
		case t.lane != "" && len(sagas) == t.n: // the next one when one of these has ended
		case due <= 0 && len(sagas) == 0:
			next = min(next, contended) // somebody else has them locked, or our lease is not what we think
		default:
			next = min(next, max(due, time.Millisecond))
		}
	}
	unreserve(r.slots, free-claimed)
	r.more.Store(counted)
	return next, nil
}

// reserve takes up to n slots, without waiting.
func reserve(slots chan struct{}, n int) int {
	for i := range n {
		select {
		case slots <- struct{}{}:
		default:
			return i
		}
	}
	return n
}

func unreserve(slots chan struct{}, n int) {
	for range n {
		<-slots
	}
}

// start drives a saga that is held, in a slot that is reserved for it.
func (r *Runner) start(ctx, work context.Context, s Saga, eager bool) {
	r.wg.Go(func() {
		due := r.drive(ctx, work, s)
		r.drop(work, s.ID)
		r.held.remove(s.ID)
		unreserve(r.slots, 1)
		if eager {
			unreserve(r.eager, 1)
		}
		if !due.IsZero() {
			r.plan(due)
		}
		if r.more.Load() {
			r.Wake()
		}
	})
}

// plan has the runner look when a saga is due. If it is busy it looks anyway.
func (r *Runner) plan(due time.Time) {
	select {
	case r.waits <- due:
	default:
		r.Wake()
	}
}

// drive moves a saga on until it is no longer ours: it has to wait, or somebody else
// moves it. It returns when it is due again, if that is known. Cancelling ctx ends it at
// the next point where nothing is in flight; cancelling work, at once.
func (r *Runner) drive(ctx, work context.Context, s Saga) (due time.Time) {
	for s.Worker == r.Lease.ID() && s.State.Mover() == Worker {
		if ctx.Err() != nil && s.State != Submitting {
			return r.release(work, s, s.DueAt)
		}
		next, e, err := r.advance(ctx, work, s)
		if s = next; err == nil {
			continue
		}
		postponed, ok := errors.AsType[*postponeError](err)
		switch {
		case ok:
			return r.release(work, s, postponed.until)
		case ctx.Err() != nil:
			return r.release(work, s, s.DueAt)
		}
		r.Log.WarnContext(ctx, "saga was not moved", "saga_id", s.ID, "state", s.State, "event", e.Name, "err", err)
		return r.release(work, s, r.Lease.Now().Add(idle))
	}
	return s.DueAt
}

// step does a saga's next step and commits what came of it. It returns the saga as it is on
// record, also with an error, and the event.
func (r *Runner) step(ctx, work context.Context, s Saga) (Saga, Event, error) {
	e, err := r.perform(ctx, work, s)
	if err == nil && e.Name == Submitted {
		sold := e
		if s, e, err = r.bought(ctx, work, s, e); err == nil && e.Name == "" {
			return s, sold, nil
		}
	}
	if err != nil {
		return s, e, err
	}
	next, err := r.apply(work, s, e)
	if err != nil {
		return s, e, err
	}
	return next, e, nil
}

// postponeError says that nothing happened and the saga waits until then: a closed lane,
// another top-up of its ICCID.
type postponeError struct{ until time.Time }

func (*postponeError) Error() string { return "saga: postponed" }

// perform does a saga's next step and says what happened.
func (r *Runner) perform(ctx, work context.Context, s Saga) (Event, error) {
	if s.State == Submitting {
		return r.submit(ctx, work, s), nil
	}
	step, e := r.Policy.Next(s, r.Lease.Now())
	switch step {
	case StepGiveUp:
		return e, nil
	case StepSubmit:
		return r.prepare(ctx, s)
	case StepLookup:
		return r.lookUp(ctx, s)
	case StepPoll:
		return r.poll(ctx, s)
	case StepNone:
	}
	return Event{}, errors.New("saga: nothing to do in state " + string(s.State))
}

// release gives a saga back unmoved, and returns when it is due. If that fails the sweep
// does it later, the last one before the worker is gone.
func (r *Runner) release(ctx context.Context, s Saga, due time.Time) time.Time {
	if err := r.Store.Release(ctx, s, due); err != nil && !errors.Is(err, ErrConflict) {
		r.Log.WarnContext(ctx, "saga was not released", "saga_id", s.ID, "err", err)
	}
	return due
}
