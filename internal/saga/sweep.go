package saga

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
)

// every does something at once and then every third of a lease's life, until ctx is
// cancelled.
func (r *Runner) every(ctx context.Context, what string, do func(context.Context) error) {
	tick := time.NewTicker(r.LeaseTTL / 3)
	defer tick.Stop()
	for {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			r.Log.WarnContext(ctx, "heartbeat", "what", what, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// beat renews the lease. Nothing slow may stand in its way.
func (r *Runner) beat(ctx context.Context) error {
	before := r.Lease.ID()
	if err := r.Lease.Renew(ctx); err != nil {
		return err
	}
	if before != r.Lease.ID() {
		if before != uuid.Nil {
			r.Log.WarnContext(ctx, "the lease had run out; taking a new one")
		}
		r.Wake()
	}
	return nil
}

// share tells others of this process what the beat has found out.
func (r *Runner) share(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.LeaseTTL)
	defer cancel()
	return r.Beat(ctx, r.Lease.Workers())
}

// tend looks after sagas that nobody is driving.
func (r *Runner) tend(ctx context.Context) error {
	_, err := r.Store.Unrecognized(ctx)
	return errors.Join(r.sweep(ctx), r.takeOver(ctx), r.recall(ctx), r.Lease.Bury(ctx), err)
}

// takeOver gives the sagas of workers whose lease has run out to whoever is free. One
// that was submitting becomes unknown, and is looked up once everything that its worker
// may have sent has settled.
func (r *Runner) takeOver(ctx context.Context) error {
	sagas, err := r.Store.Abandoned(ctx)
	if err != nil || len(sagas) == 0 {
		return err
	}
	if err := r.beat(ctx); err != nil { // it may be Postgres's clock that has run away: see what it says now
		return err
	}
	for _, s := range sagas {
		if !r.held.has(s.ID) { // ours, under an earlier lease: its goroutine sees to it
			err = errors.Join(err, r.abandon(ctx, s, "its worker's lease ran out"))
		}
	}
	return err
}

// sweep gives back what Postgres says we hold and we know nothing of: a claim, an
// acceptance or an intent whose commit we were not told of.
func (r *Runner) sweep(ctx context.Context) error {
	strays, err := r.strays(ctx)
	for _, s := range strays {
		err = errors.Join(err, r.abandon(ctx, s, "its worker lost sight of it"))
	}
	return err
}

// giveBack looks after whatever is left when nobody is driven any more: what was claimed
// or given back in a commit that failed, or that we were not told of. It tries for as long as
// others would take to notice that the worker is gone.
func (r *Runner) giveBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.LeaseTTL/3)
	defer cancel()
	for tries := 1; ; tries++ {
		err := errors.Join(r.sweep(ctx), r.takeOver(ctx))
		if err == nil || ctx.Err() != nil {
			return err
		}
		pause(ctx, interval(50*time.Millisecond, 2*time.Second, tries))
	}
}

// strays lists them. Once found they stay what they are, so that what is done about them
// need not keep anybody from claiming.
func (r *Runner) strays(ctx context.Context) ([]Saga, error) {
	r.held.claiming.Lock()
	defer r.held.claiming.Unlock()
	ctx, cancel := context.WithTimeout(ctx, r.LeaseTTL)
	defer cancel()
	sagas, err := r.Store.HeldBy(ctx, r.Lease.ID())
	return slices.DeleteFunc(sagas, func(s Saga) bool { return r.held.has(s.ID) }), err
}

// abandon makes a saga claimable again. It tries once: the next beat comes soon.
func (r *Runner) abandon(ctx context.Context, s Saga, seen string) error {
	var err error
	if s.State == Submitting {
		var d Decision
		if d, err = r.Policy.Decide(s, r.lost(s, seen), r.Lease.Now(), 0); err == nil {
			err = r.Store.Apply(ctx, d)
		}
		if err == nil {
			r.moved(ctx, d)
		}
	} else {
		err = r.Store.Release(ctx, s, s.DueAt)
	}
	if errors.Is(err, ErrConflict) {
		return nil // another worker was faster
	}
	if err == nil {
		r.Wake()
	}
	return err
}

// lost is the event that a submitting saga's worker is lost. Unless Postgres's clock is
// known to have run evenly since the intent, its deadline says little about what the
// worker may still write; the worker's own lease, by its own clock, stops it then.
func (r *Runner) lost(s Saga, seen string) Event {
	e := Event{Name: WorkerLost, Seen: seen}
	if !r.Lease.Vouches(s.IntentAt, s.IntentAt) {
		e.SentBy = r.Lease.Now().Add(r.LeaseTTL)
	}
	return e
}

// recall brings back what a clock that was ahead has sent further into the future than
// anything is meant to wait: Postgres's clock was set back. Workers' own clocks may be ahead of Postgres's by
// what a renewal of the lease takes.
func (r *Runner) recall(ctx context.Context) error {
	longest := func(s State) time.Duration { return max(r.Policy.longestWait(s), spread(r.Policy.longestSleep())) + r.LeaseTTL }
	n, err := r.Store.Recall(ctx, longest(Pending), longest(Unknown))
	if n > 0 {
		r.Log.WarnContext(ctx, "sagas were due later than anybody plans for: Postgres's clock was set back, or PressOne has asked for a long wait",
			"sagas", n)
	}
	return errors.Join(err, r.Lease.Recall(ctx))
}
