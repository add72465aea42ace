package saga

import (
	"context"
	"errors"
	"math/rand/v2"
)

// bought commits what PressOne has sold, and meanwhile asks whether it can be used: looking
// changes nothing, and the order is durable no later for it. If the commit fails it stops
// looking and tries again. It returns the saga as it is then, and what the poll has found; no
// event if that is committed too, or has to be asked again.
func (r *Runner) bought(ctx, work context.Context, s Saga, e Event) (Saga, Event, error) {
	d, err := r.Policy.Decide(s, e, r.Lease.Now(), rand.Float64())
	if err != nil {
		return s, Event{}, err
	}
	looking, stop := context.WithCancel(ctx)
	defer stop()
	order := r.Store.sharing.add(work, d, stop)
	polled, pollErr := r.perform(looking, work, d.After)
	both := d
	if pollErr == nil && polled.Name == Ready {
		both = r.join(order, d, polled)
	}
	joined := len(both.Earlier) > 0
	err = order.wait(work)
	switch {
	case err == nil && joined:
		return r.moved(work, both), Event{}, nil
	case err == nil:
		return r.moved(work, d), polled, pollErr
	case joined:
		err = r.Store.Apply(work, d) // perhaps it is the result that could not be written
	}
	next, err := r.written(work, d, err, joined)
	if errors.Is(err, ErrOrderOwned) {
		next, err = r.disown(work, s, e)
	}
	if err != nil {
		return s, Event{}, err
	}
	return next, Event{}, nil
}

// join puts what follows from d into the commit that d waits for. If that has begun, it
// returns d alone.
func (r *Runner) join(commit *shared, d Decision, e Event) Decision {
	next, err := r.Policy.Decide(d.After, e, r.Lease.Now(), rand.Float64())
	if err != nil || !r.Store.sharing.follow(commit, next) {
		return d
	}
	return d.then(next)
}
