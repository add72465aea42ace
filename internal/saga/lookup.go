package saga

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// clockSlack is how far PressOne's clock may be from ours.
const clockSlack = 10 * time.Minute

// lookUp asks PressOne whether the last submission took effect. Only complete lists
// count: an order that is not on a list that could not be read to its end proves nothing.
func (r *Runner) lookUp(ctx context.Context, s Saga) (Event, error) {
	waited, err := r.waited(ctx, s)
	if err != nil {
		return Event{}, err
	}
	pass, err := r.enter(ctx, s, pressone.LaneRead)
	if err != nil && r.Lease.Now().Before(s.DeadlineAt) {
		return Event{}, err
	}
	e, err := r.lookUpReference(ctx, s)
	if err == nil && e.Name == "" && s.Kind == message.Topup {
		e, err = r.lookUpTopup(ctx, s)
	}
	r.leave(ctx, pass, pressone.LaneRead, err)
	switch {
	case ctx.Err() != nil:
		return Event{}, context.Cause(ctx)
	case err != nil && !isProvider(err):
		return Event{}, err
	case err != nil:
		return r.Policy.Unclear(r.Lease.Now(), s, failure(err)), nil
	case e.Name == LookupFailed:
		return r.Policy.Unclear(r.Lease.Now(), s, e), nil
	case e.Name == "" && !waited:
		return Event{Name: NotFound, Unwaited: true, Seen: "nothing found, which does not count: our clock has not seen the whole wait"}, nil
	case e.Name == "" && s.Kind == message.Topup:
		return r.Policy.Absent(s, "no order with our reference, and no top-up that could be ours"), nil
	case e.Name == "":
		return r.Policy.Absent(s, "no order with our reference"), nil
	}
	return e, nil
}

// waited reports whether what a look waits for has had its time: whether the last
// LookDelay before the saga was due has really gone by. By Postgres's clock it has, or the
// saga would not have been claimed; but that one may have stepped, and two looks that were
// to be spaced might come at once. Nobody can tell how long a wait was that began before
// the worker did.
func (r *Runner) waited(ctx context.Context, s Saga) (bool, error) {
	if !r.Lease.Now().Before(s.DueAt) {
		return r.Lease.Vouches(s.DueAt.Add(-s.LookDelay), s.DueAt), nil
	}
	// Postgres's clock is ahead of what it was at the last renewal. Whatever comes of the look,
	// what is due next goes by the time that we know: find out before anything else, or the
	// next look would come sooner, and seem to have been waited for.
	if err := r.beat(ctx); err != nil {
		r.Log.WarnContext(ctx, "heartbeat", "what", "renew", "err", err)
		pause(ctx, contended)
		return false, &postponeError{until: s.DueAt}
	}
	return false, nil
}

// lookUpReference looks for our reference among the descriptions. No event: not there.
func (r *Runner) lookUpReference(ctx context.Context, s Saga) (Event, error) {
	orders, owned, err := r.orders(ctx, s, pressone.OrderFilter{Description: s.Reference})
	if err != nil {
		return Event{}, err
	}
	return matchReference(s, orders, owned), nil
}

// lookUpTopup looks for a top-up whose description PressOne has replaced. No event: not
// there.
func (r *Runner) lookUpTopup(ctx context.Context, s Saga) (Event, error) {
	l := listings{}
	l.from, l.to = r.Policy.window(s)
	var err error
	if l.byICCID, l.owned, err = r.orders(ctx, s, pressone.OrderFilter{ICCID: s.ICCID}); err != nil {
		return Event{}, err
	}
	for _, f := range []pressone.OrderFilter{{Description: s.ICCID}, {CreatedFrom: l.from.Add(-anyZone), CreatedTo: l.to.Add(anyZone)}} {
		orders, owned, err := r.orders(ctx, s, f)
		if err != nil {
			return Event{}, err
		}
		l.others = append(l.others, orders...)
		maps.Copy(l.owned, owned)
	}
	if l.rivals, err = r.Store.Rivals(ctx, s, l.from.Add(-clockSlack-r.Policy.SettleDelay), l.to.Add(clockSlack)); err != nil {
		return Event{}, err
	}
	return matchTopup(s, l), nil
}

// orders reads a complete list, and which of its orders other sagas own.
func (r *Runner) orders(ctx context.Context, s Saga, f pressone.OrderFilter) ([]pressone.Order, map[int64]bool, error) {
	f.Details = true
	all, err := r.Provider.Orders(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	ids := make([]int64, len(all))
	for i, o := range all {
		ids[i] = o.ID
	}
	owned, err := r.Store.Owned(ctx, ids, s.ID)
	return all, owned, err
}

// window is when an order of s may have been made, by PressOne's clock: not before the
// saga was accepted, and not after its last submission had settled.
func (p Policy) window(s Saga) (from, to time.Time) {
	return s.CreatedAt.Add(-clockSlack), s.IntentDeadline.Add(p.SettleDelay + clockSlack)
}

func isProvider(err error) bool {
	_, ok := errors.AsType[*pressone.Error](err)
	return ok
}

func found(o pressone.Order, how string) Event {
	return Event{Name: Found, Purchase: &Purchase{Order: o}, Seen: how + ": " + describe(o)}
}

func unresolved(seen string) Event {
	return Event{Name: GaveUp, Code: CodeOutcomeUnknown, Class: ClassOutcomeUnknown, Seen: seen}
}

func ambiguous(n int, what string) Event {
	return unresolved(fmt.Sprintf("%d orders %s could be this one: an operator has to say which", n, what))
}
