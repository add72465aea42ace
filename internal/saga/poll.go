package saga

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// poll asks PressOne whether what was bought can be installed or used.
func (r *Runner) poll(ctx context.Context, s Saga) (Event, error) {
	late := !r.Lease.Now().Before(s.DeadlineAt)
	pass, err := r.enter(ctx, s, pressone.LaneRead)
	if err != nil && !late {
		return Event{}, err
	}
	e, err := r.pollOnce(ctx, s)
	r.leave(ctx, pass, pressone.LaneRead, err)
	switch {
	case ctx.Err() != nil:
		return Event{}, context.Cause(ctx)
	case err != nil && e.Name != PollRefused:
		purchase := e.Purchase
		e = failure(err)
		e.Name, e.Purchase = PollFailed, purchase
	}
	if e.Name == NotReady || e.Name == PollFailed {
		e = r.Policy.Unready(r.Lease.Now(), s, e)
	}
	return e, nil
}

func (r *Runner) pollOnce(ctx context.Context, s Saga) (Event, error) {
	if s.Kind == message.Topup {
		return r.pollTopup(ctx, s)
	}
	return r.pollOrder(ctx, s)
}

// pollTopup: a top-up is ready when its order is completed. Package history, which would
// also tell, may be read once in 15 minutes only.
func (r *Runner) pollTopup(ctx context.Context, s Saga) (Event, error) {
	order, err := r.Provider.Order(ctx, s.OrderID)
	if err != nil {
		return Event{}, err
	}
	p := s.Purchase.clone().merged(order)
	if order.Status != "completed" {
		return Event{Name: NotReady, Purchase: p, Seen: fmt.Sprintf("order %d is %q", s.OrderID, order.Status)}, nil
	}
	return Event{Name: Ready, Purchase: p, Seen: fmt.Sprintf("order %d is completed", s.OrderID)}, nil
}

// pollOrder: an order is ready when each of its eSIMs can be installed. A confirmed eSIM
// is not asked for again.
func (r *Runner) pollOrder(ctx context.Context, s Saga) (Event, error) {
	p := s.Purchase.clone()
	if p == nil || len(p.Order.Sims) < s.Quantity {
		order, err := r.Provider.Order(ctx, s.OrderID)
		if err != nil {
			return Event{}, err
		}
		p = p.merged(order)
	}
	for i, sim := range p.Order.Sims {
		if slices.Contains(p.Confirmed, sim.ICCID) {
			continue
		}
		now, err := r.Provider.Sim(ctx, sim.ICCID)
		if refusedForGood(err) || err == nil && now.Recycled {
			return Event{
				Name: PollRefused, Code: "73", Class: ClassRecycled, Purchase: p,
				Seen: fmt.Sprintf("eSIM %d of %d was recycled", i+1, s.Quantity),
			}, err
		}
		if err != nil {
			return Event{Purchase: p}, err
		}
		if !now.Installable() || now.ICCID != sim.ICCID {
			return Event{Name: NotReady, Purchase: p, Seen: fmt.Sprintf("eSIM %d of %d cannot be installed yet", i+1, s.Quantity)}, nil
		}
		p.answered = p.answered && reflect.DeepEqual(sim, now)
		p.Order.Sims[i] = now
		p.Confirmed = append(p.Confirmed, sim.ICCID)
	}
	if len(p.Confirmed) < s.Quantity {
		return Event{Name: NotReady, Purchase: p, Seen: fmt.Sprintf("%d of %d eSIMs are there", len(p.Confirmed), s.Quantity)}, nil
	}
	return Event{Name: Ready, Purchase: p, Seen: fmt.Sprintf("%d of %d eSIMs can be installed", len(p.Confirmed), s.Quantity)}, nil
}

// merged is what is known of a purchase after PressOne has shown its order again: what was
// confirmed stays as it was, and what PressOne left out is not forgotten.
func (p *Purchase) merged(o pressone.Order) *Purchase {
	if p == nil {
		return &Purchase{Order: o}
	}
	p.answered = false
	for _, sim := range o.Sims {
		known := func(s pressone.Sim) bool { return s.ICCID == sim.ICCID }
		if !slices.ContainsFunc(p.Order.Sims, known) {
			p.Order.Sims = append(p.Order.Sims, sim)
		}
	}
	p.Order = pressone.Order{
		ID: p.Order.ID, Sims: p.Order.Sims, Status: o.Status,
		Code: cmp.Or(p.Order.Code, o.Code), PackageID: cmp.Or(p.Order.PackageID, o.PackageID),
		Quantity: cmp.Or(p.Order.Quantity, o.Quantity), Type: cmp.Or(p.Order.Type, o.Type),
		Description: cmp.Or(p.Order.Description, o.Description), Price: cmp.Or(p.Order.Price, o.Price),
		NetPrice: cmp.Or(p.Order.NetPrice, o.NetPrice), Currency: cmp.Or(p.Order.Currency, o.Currency),
		CreatedAt: cmp.Or(p.Order.CreatedAt, o.CreatedAt),
	}
	return p
}

// refusedForGood reports whether PressOne says that an eSIM was recycled. Everything else
// that it says of something bought is asked again.
func refusedForGood(err error) bool {
	p, ok := errors.AsType[*pressone.Error](err)
	return ok && p.Class() == pressone.ClassRecycled
}
