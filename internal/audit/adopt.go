package audit

import (
	"context"
	"fmt"

	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// adopt gives an order to the saga whose reference it has. If that is not so any more when
// it is looked at closely, the verdict says what is.
func (a *Auditor) adopt(ctx context.Context, run Run, o pressone.Order, v verdict) (verdict, error) {
	s, err := a.Store.Get(ctx, v.saga.ID)
	if err != nil {
		return v, err
	}
	again := func() (verdict, error) { // it has moved: judge anew
		relatives, err := a.relatives(ctx, []pressone.Order{o})
		if err != nil {
			return v, err
		}
		v := judge(o, relatives[0])
		v.adopt = false // the next run will, if it is still so
		return v, nil
	}
	if s.OrderID != 0 || s.State != saga.Pending && s.State != saga.DeadLettered {
		return again()
	}
	// Should there be several with this reference, the first one is its own, as when the saga
	// looks itself.
	same, err := a.Provider.Orders(ctx, pressone.OrderFilter{
		Description: s.Reference, Details: true,
	})
	if err != nil {
		return v, a.observe(ctx, err)
	}
	best := o
	for _, other := range same {
		if other.ID < best.ID && saga.Bears(other, s.Reference) && other.Status != statusFailed && other.Status != statusRefunded {
			best = other
		}
	}
	if why := s.Unlike(best); why != "" {
		v.adopt, v.why = false, v.why+", but "+why
		return v, nil
	}
	now, err := a.Store.Now(ctx)
	if err != nil {
		return v, err
	}
	e := saga.Event{
		Name: saga.Adopted, Purchase: &saga.Purchase{Order: best}, Actor: "audit",
		Reason: "PressOne lists an order with this saga's reference", Seen: fmt.Sprintf("order %d (%s)", best.ID, best.Code),
	}
	if s.State == saga.Pending {
		e.Name = saga.Found
	}
	decision, err := a.Policy.Decide(s, e, now, 0)
	if err != nil {
		return v, err
	}
	switch err := a.Store.Apply(ctx, decision); {
	case isLost(err):
		return again()
	case err != nil:
		return v, err
	}
	a.Log.WarnContext(ctx, "the audit has given a saga its order", "saga_id", s.ID, "order_id", best.ID, "from", s.State, "run_id", run.ID)
	a.Wake()
	a.Published()
	v.why += "; its saga has adopted it"
	v.advice = fmt.Sprintf("nothing; "+seeSaga+". PressOne did not keep to LIST_LAG or SETTLE_DELAY, or said no to what it sold", s.ID)
	if best.ID != o.ID { // then o is the second one
		if err := a.record(ctx, run, best, v, Adopted); err != nil {
			return v, err
		}
		return again()
	}
	return v, nil
}
