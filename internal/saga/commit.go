package saga

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// apply decides and commits. What happened has happened, whether Postgres is there or
// not: it keeps trying until it is written, somebody else has moved the saga, or the
// worker's budget is used up.
func (r *Runner) apply(ctx context.Context, s Saga, e Event) (Saga, error) {
	d, err := r.Policy.Decide(s, e, r.Lease.Now(), rand.Float64())
	if err != nil {
		return Saga{}, err
	}
	for tries := 1; ; tries++ {
		err := r.Store.Apply(ctx, d)
		switch {
		case err == nil:
			return r.moved(ctx, d), nil
		case errors.Is(err, ErrConflict):
			return r.contest(ctx, d, tries > 1)
		case errors.Is(err, ErrOrderOwned):
			return r.disown(ctx, s, e)
		case errors.Is(err, ErrICCIDBusy):
			return Saga{}, &postponeError{until: r.Lease.Now().Add(r.Policy.retryDelay(1, rand.Float64(), false))}
		case e.Name == SubmitStarted, isData(err), ctx.Err() != nil:
			// Whether an intent is on record is not known, so nothing is sent; and what
			// Postgres refuses for its content it will refuse again. The sweep hands the
			// saga on.
			return Saga{}, err
		}
		r.Log.WarnContext(ctx, "outcome could not be committed, trying again", "saga_id", s.ID, "event", e.Name, "err", err)
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
// that waits to be looked up is found.
func (r *Runner) contest(ctx context.Context, d Decision, retried bool) (Saga, error) {
	if retried {
		applied, err := r.Store.Applied(ctx, d)
		if err == nil && applied {
			return r.moved(ctx, d), nil
		}
	}
	if d.Answer == nil {
		return Saga{}, ErrConflict
	}
	if err := r.Store.KeepAnswer(ctx, d.After.ID, d.After.Attempts, *d.Answer); err != nil {
		return Saga{}, err
	}
	now, err := r.Store.Get(ctx, d.After.ID)
	if err != nil {
		return Saga{}, err
	}
	if d.Entry.Event != Submitted || now.State != Unknown || now.Attempts != d.After.Attempts {
		return Saga{}, ErrConflict
	}
	return r.apply(ctx, now, Event{
		Name: Found, Purchase: d.After.Purchase,
		Seen: "the late answer to the submission: " + d.Entry.Seen,
	})
}

// disown is for an order that another saga owns: no order is adopted twice. That PressOne
// has answered with one is no evidence that nothing was bought, so an operator decides;
// in one commit, lest a look-up that finds nothing gets in between.
func (r *Runner) disown(ctx context.Context, s Saga, e Event) (Saga, error) {
	seen := fmt.Sprintf("order %d, which another saga owns", e.Purchase.Order.ID)
	now := r.Lease.Now()
	var decisions []Decision
	if s.State == Submitting {
		d, err := r.Policy.Decide(s, Event{Name: OutcomeUnknown, Answer: e.Answer, Seen: seen}, now, 0)
		if err != nil {
			return Saga{}, err
		}
		decisions, s = append(decisions, d), d.After
	}
	d, err := r.Policy.Decide(s, unresolved(seen), now, 0)
	if err != nil {
		return Saga{}, err
	}
	if err := r.Store.Apply(ctx, append(decisions, d)...); err != nil {
		return Saga{}, err
	}
	return r.moved(ctx, d), nil
}

// isData reports an error that is due to what is written (SQLSTATE classes 22 and 23),
// and not to Postgres's condition.
func isData(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (strings.HasPrefix(pg.Code, "22") || strings.HasPrefix(pg.Code, "23"))
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
