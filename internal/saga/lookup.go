package saga

import (
	"context"
	"errors"
	"fmt"
	"time"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// clockSlack is how far PressOne's clock may be from ours.
const clockSlack = 10 * time.Minute

// lookUp asks PressOne whether the last submission took effect. Only complete lists
// count: an order that is not on a list that could not be read to its end proves nothing.
func (r *Runner) lookUp(ctx context.Context, s Saga) (Event, error) {
	if err := r.gate(pressone.LaneRead); err != nil && r.Lease.Now().Before(s.DeadlineAt) {
		return Event{}, err
	}
	e, err := r.lookUpReference(ctx, s)
	if err == nil && e.Name == "" && s.Kind == message.Topup {
		e, err = r.lookUpTopup(ctx, s)
	}
	r.observe(ctx, pressone.LaneRead, err)
	switch {
	case ctx.Err() != nil:
		return Event{}, context.Cause(ctx)
	case err != nil && !isProvider(err):
		return Event{}, err
	case err != nil:
		return r.Policy.Unclear(r.Lease.Now(), s, failure(err)), nil
	case e.Name == "":
		return r.Policy.Absent(s, "no order with our reference"), nil
	}
	return e, nil
}

// lookUpReference looks for our reference among the descriptions. No event: not there.
func (r *Runner) lookUpReference(ctx context.Context, s Saga) (Event, error) {
	orders, err := r.orders(ctx, s, pressone.OrderFilter{Description: s.Reference})
	if err != nil {
		return Event{}, err
	}
	return matchReference(s, orders), nil
}

// lookUpTopup looks for a top-up whose description PressOne has replaced. No event: not
// there.
func (r *Runner) lookUpTopup(ctx context.Context, s Saga) (Event, error) {
	byICCID, err := r.orders(ctx, s, pressone.OrderFilter{ICCID: s.ICCID})
	if err != nil {
		return Event{}, err
	}
	byText, err := r.orders(ctx, s, pressone.OrderFilter{Description: s.ICCID})
	if err != nil {
		return Event{}, err
	}
	from, to := window(s, r.Lease.Now())
	byTime, err := r.orders(ctx, s, pressone.OrderFilter{CreatedFrom: from, CreatedTo: to})
	if err != nil {
		return Event{}, err
	}
	rivals, err := r.Store.Rivals(ctx, s)
	if err != nil {
		return Event{}, err
	}
	return matchTopup(s, byICCID, append(byText, byTime...), from, to, rivals), nil
}

// orders reads a complete list and leaves out what other sagas own.
func (r *Runner) orders(ctx context.Context, s Saga, f pressone.OrderFilter) ([]pressone.Order, error) {
	f.Include = []pressone.Include{pressone.IncludeSims, pressone.IncludeStatus}
	all, err := r.Provider.Orders(ctx, f)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	ids := make([]int64, len(all))
	for i, o := range all {
		ids[i] = o.ID
	}
	owned, err := r.Store.Owned(ctx, ids, s.ID)
	if err != nil {
		return nil, err
	}
	var free []pressone.Order
	for _, o := range all {
		if !owned[o.ID] {
			free = append(free, o)
		}
	}
	return free, nil
}

// window is when an order of s may have been made, by PressOne's clock.
func window(s Saga, now time.Time) (from, to time.Time) {
	return s.CreatedAt.Add(-clockSlack), now.Add(clockSlack)
}

func isProvider(err error) bool {
	_, ok := errors.AsType[*pressone.Error](err)
	return ok
}

func found(o pressone.Order, how string) Event {
	return Event{Name: Found, Purchase: &Purchase{Order: o}, Seen: how + ": " + describe(o)}
}

func ambiguous(n int, what string) Event {
	return Event{
		Name: GaveUp, Code: CodeOutcomeUnknown, Class: ClassOutcomeUnknown,
		Seen: fmt.Sprintf("%d orders %s could be this one: an operator has to say which", n, what),
	}
}
