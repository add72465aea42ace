package saga

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// apply decides and commits.
func (r *Runner) apply(ctx context.Context, s Saga, e Event) (Saga, error) {
	d, err := r.Policy.Decide(s, e, r.Lease.Now(), rand.Float64())
	if err != nil {
		return Saga{}, err
	}
	next, err := r.commit(ctx, d)
	if errors.Is(err, ErrOrderOwned) {
		return r.disown(ctx, s, e)
	}
	return next, err
}

// commit writes decisions about one saga. What happened has happened, whether Postgres is
// there or not: it keeps trying until it is written, somebody else has moved the saga, or
// the worker's budget is used up.
func (r *Runner) commit(ctx context.Context, decisions ...Decision) (Saga, error) {
	first, last := decisions[0], decisions[len(decisions)-1]
	for tries := 1; ; tries++ {
		err := r.Store.Apply(ctx, decisions...)
		switch {
		case err == nil:
			return r.moved(ctx, last), nil
		case errors.Is(err, ErrConflict):
			return r.contest(ctx, first, last, tries > 1)
		case errors.Is(err, ErrOrderOwned):
			return Saga{}, err
		case errors.Is(err, ErrICCIDBusy):
			return Saga{}, &postponeError{until: r.Lease.Now().Add(r.Policy.retryDelay(1, rand.Float64(), false))}
		case IsData(err) && first.Answer != nil:
			// What Postgres refuses for its content it will refuse again.
			return Saga{}, errors.Join(err, r.Store.KeepAnswer(ctx, first.After.ID, first.After.Attempts, *first.Answer))
		case first.Entry.Event == SubmitStarted, IsData(err), ctx.Err() != nil:
			// Whether an intent is on record is not known, so nothing is sent. The sweep
			// finds out and hands the saga on.
			return Saga{}, err
		}
		r.Log.WarnContext(ctx, "outcome could not be committed, trying again", "saga_id", last.After.ID,
			"event", last.Entry.Event, "err", err)
		pause(ctx, interval(50*time.Millisecond, 2*time.Second, tries))
	}
}

func (r *Runner) moved(ctx context.Context, d Decision) Saga {
	if len(d.Messages) > 0 {
		r.Published()
	}
	r.Log.InfoContext(ctx, "saga moved", "saga_id", d.After.ID, "kind", d.After.Kind, "from", d.Before.State,
		"event", d.Entry.Event, "to", d.After.State, "attempt", d.After.Attempts, "code", d.Entry.Code)
	return d.After
}

// contest is for a write that changed nothing. Perhaps it is our own, committed when we
// were not told. If not, somebody has taken the saga over; then what PressOne answered is
// kept all the same, and if it was the order, whoever knows that may say so: the saga
// that waits to be looked up, or to be submitted again, is found.
func (r *Runner) contest(ctx context.Context, d, last Decision, retried bool) (Saga, error) {
	if retried {
		applied, err := r.Store.Applied(ctx, last)
		if err == nil && applied {
			return r.moved(ctx, last), nil
		}
	}
	if d.Answer == nil {
		return Saga{}, ErrConflict
	}
	if err := r.Store.KeepAnswer(ctx, d.After.ID, d.After.Attempts, *d.Answer); err != nil {
		return Saga{}, err
	}
	if d.Entry.Event != Submitted {
		return Saga{}, ErrConflict
	}
	for {
		now, err := r.Store.Get(ctx, d.After.ID)
		if err != nil {
			return Saga{}, err
		}
		if now.State != Unknown && now.State != Pending || now.Attempts != d.After.Attempts {
			r.Log.ErrorContext(ctx, "PressOne's answer came after its saga had moved on: it is kept, and somebody should look",
				"saga_id", now.ID, "state", now.State, "order_id", d.After.OrderID, "known_order_id", now.OrderID)
			return Saga{}, ErrConflict
		}
		next, err := r.apply(ctx, now, Event{
			Name: Found, Purchase: d.After.Purchase,
			Seen: "the late answer to the submission: " + d.Entry.Seen,
		})
		if !errors.Is(err, ErrConflict) {
			return next, err
		}
	}
}

// disown is for an order that another saga owns: no order is adopted twice. One that was
// found has got its owner a moment ago: look again. That PressOne has answered with one is
// no evidence that nothing was bought, so an operator decides; in one commit, lest a
// look-up that finds nothing gets in between.
func (r *Runner) disown(ctx context.Context, s Saga, e Event) (Saga, error) {
	seen := fmt.Sprintf("order %d, which another saga owns", e.Purchase.Order.ID)
	now := r.Lease.Now()
	if s.State == Unknown {
		return r.apply(ctx, s, r.Policy.Unclear(now, s, Event{Seen: seen}))
	}
	first, err := r.Policy.Decide(s, Event{Name: OutcomeUnknown, Answer: e.Answer, Seen: seen}, now, 0)
	if err != nil {
		return Saga{}, err
	}
	second, err := r.Policy.Decide(first.After, unresolved(seen), now, 0)
	if err != nil {
		return Saga{}, err
	}
	return r.commit(ctx, first, second)
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
