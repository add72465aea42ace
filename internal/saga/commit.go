package saga

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
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

// commit writes a decision.
func (r *Runner) commit(ctx context.Context, d Decision) (Saga, error) {
	return r.written(ctx, d, r.Store.Apply(ctx, d), false)
}

// written sees to it that a decision is written, of which the first try has ended with err.
// What happened has happened, whether Postgres is there or not: it keeps trying until it is
// written, somebody else has moved the saga, or the worker's budget is used up. It was
// retried if an earlier try may have been committed.
func (r *Runner) written(ctx context.Context, d Decision, err error, retried bool) (Saga, error) {
	for tries := 1; ; tries++ {
		switch {
		case err == nil:
			return r.moved(ctx, d), nil
		case errors.Is(err, ErrConflict):
			return r.contest(ctx, d, retried)
		case errors.Is(err, ErrOrderOwned):
			return Saga{}, err
		case errors.Is(err, ErrICCIDBusy):
			return Saga{}, &postponeError{until: r.Lease.Now().Add(r.Policy.retryDelay(1, rand.Float64(), false))}
		case IsData(err) && d.Answer != nil:
			// What Postgres refuses for its content it will refuse again.
			return Saga{}, errors.Join(err, r.keep(ctx, d))
		case d.Entry.Event == SubmitStarted, IsData(err), ctx.Err() != nil:
			// Whether an intent is on record is not known, so nothing is sent. The sweep
			// finds out and hands the saga on.
			return Saga{}, err
		}
		r.Log.WarnContext(ctx, "outcome could not be committed, trying again", "saga_id", d.After.ID,
			"event", d.Entry.Event, "err", err)
		pause(ctx, interval(50*time.Millisecond, 2*time.Second, tries))
		err, retried = r.Store.Apply(ctx, d), true
	}
}

func (r *Runner) moved(ctx context.Context, d Decision) Saga {
	if len(d.Messages) > 0 {
		r.Published()
	}
	for _, e := range d.entries() {
		r.Log.InfoContext(ctx, "saga moved", "saga_id", d.After.ID, "kind", d.After.Kind, "from", e.From,
			"event", e.Event, "to", e.To, "attempt", e.Attempt, "code", e.Code)
	}
	return d.After
}

// contest is for a write that changed nothing. Perhaps it is our own, committed when we
// were not told. If not, somebody has taken the saga over; then what PressOne answered is
// kept all the same, and if it was the order, whoever knows that says so.
func (r *Runner) contest(ctx context.Context, d Decision, retried bool) (Saga, error) {
	if retried {
		var applied bool
		err := r.persist(ctx, d.After, func() (err error) {
			applied, err = r.Store.Applied(ctx, d)
			return err
		})
		if err == nil && applied {
			return r.moved(ctx, d), nil
		}
	}
	switch {
	case d.Answer == nil, d.Entry.Event == Found: // of a late answer: tell tries again
		return Saga{}, ErrConflict
	case d.Entry.Event == Submitted:
		return r.tell(ctx, d)
	}
	if err := r.keep(ctx, d); err != nil {
		return Saga{}, err
	}
	return Saga{}, ErrConflict
}

// tell gives a saga that others have taken over its order: PressOne's answer has come after
// all, and is kept in the same commit. A saga that waits to be looked up, or to be submitted
// again, is found; in any other state the answer is evidence, and no more.
func (r *Runner) tell(ctx context.Context, d Decision) (Saga, error) {
	for {
		var now Saga
		err := r.persist(ctx, d.After, func() (err error) {
			now, err = r.Store.Get(ctx, d.After.ID)
			return err
		})
		if err != nil {
			return Saga{}, errors.Join(err, r.keep(ctx, d))
		}
		if now.State != Unknown && now.State != Pending || now.Attempts != d.After.Attempts {
			r.Log.ErrorContext(ctx, "PressOne's answer came after its saga had moved on: it is kept, and somebody should look",
				"saga_id", now.ID, "state", now.State, "order_id", d.After.OrderID, "known_order_id", now.OrderID)
			return Saga{}, errors.Join(r.keep(ctx, d), ErrConflict)
		}
		next, err := r.apply(ctx, now, Event{
			Name: Found, Purchase: d.After.Purchase, Answer: d.Answer,
			Seen: "the late answer to the submission: " + d.Entry.Seen,
		})
		if !errors.Is(err, ErrConflict) {
			return next, err
		}
	}
}

// keep keeps the answer of a decision that was not written; if Postgres had it after all, it
// is there twice.
func (r *Runner) keep(ctx context.Context, d Decision) error {
	return r.persist(ctx, d.After, func() error {
		return r.Store.KeepAnswer(ctx, d.After.ID, d.After.Attempts, *d.Answer)
	})
}

// persist tries something until it works, Postgres refuses its content, or the worker's
// budget is used up.
func (r *Runner) persist(ctx context.Context, s Saga, do func() error) error {
	for tries := 1; ; tries++ {
		err := do()
		if err == nil || IsData(err) || errors.Is(err, ErrNotFound) || ctx.Err() != nil {
			return err
		}
		r.Log.WarnContext(ctx, "Postgres was not reached, trying again", "saga_id", s.ID, "err", err)
		pause(ctx, interval(50*time.Millisecond, 2*time.Second, tries))
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
		unclear := r.Policy.Unclear(now, s, Event{Seen: seen})
		unclear.Answer = e.Answer
		return r.apply(ctx, s, unclear)
	}
	if s.State == Pending { // only a late answer names an order then
		r.Log.ErrorContext(ctx, "PressOne's late answer names an order that another saga owns: somebody should look", "saga_id", s.ID, "order_id", e.Purchase.Order.ID)
		return Saga{}, r.persist(ctx, s, func() error { return r.Store.KeepAnswer(ctx, s.ID, s.Attempts, *e.Answer) })
	}
	first, err := r.Policy.Decide(s, Event{Name: OutcomeUnknown, Answer: e.Answer, Seen: seen}, now, 0)
	if err != nil {
		return Saga{}, err
	}
	second, err := r.Policy.Decide(first.After, unresolved(seen), now, 0)
	if err != nil {
		return Saga{}, err
	}
	return r.commit(ctx, first.then(second))
}

// then is two decisions, the second made on what the first leads to, as one.
func (d Decision) then(next Decision) Decision {
	next.Before, next.Answer = d.Before, d.Answer
	next.Earlier = append(slices.Clip(d.entries()), next.Earlier...)
	next.Messages = append(slices.Clip(d.Messages), next.Messages...)
	return next
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
