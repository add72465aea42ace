package audit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"esimflow/internal/pressone"
)

// listed is one day of PressOne's list, as far as it is needed later: at eight bytes an
// order, three days fit.
type listed struct {
	day   time.Time
	began time.Time // Postgres's time when the reading began
	ids   []int64   // sorted
}

// batch is how many orders are paired at a time: a page of PressOne's.
const batch = 100

// proceed takes a run from where it is to its end.
//
// At day D the list of D is read and its orders are paired. Then it is the turn of the
// sagas that were accepted on day D-1: what they bought is on the lists of D-2, D-1 and D,
// whatever PressOne's time zone is; what they bought later, having been replayed, is looked for
// on the lists of that time; and else PressOne is asked for the order itself. So the
// run begins a day before its first day and ends a day after its last one, and whoever goes
// on with it reads two days again.
func (a *Auditor) proceed(ctx context.Context, run *Run) error {
	var last []listed
	behind := late{}
	if err := behind.recall(ctx, a, *run); err != nil {
		return err
	}
	for d := run.Next.Add(-2 * oneDay); !d.After(run.To.Add(oneDay)); d = d.Add(oneDay) {
		again := d.Before(run.Next)
		inside := !d.Before(run.From) && !d.After(run.To)
		if again && d.Before(run.From.Add(-oneDay)) {
			continue
		}
		l, c, err := a.read(ctx, *run, d, inside && !again)
		if err != nil {
			return err
		}
		last = append(last[max(0, len(last)-2):], l)
		if again {
			continue
		}
		if accepted := d.Add(-oneDay); !accepted.Before(run.From) && !accepted.After(run.To) {
			switch senseless, err := a.phantoms(ctx, *run, accepted, last, behind); {
			case err != nil:
				return err
			case senseless != "":
				return a.fail(ctx, run.ID, senseless)
			}
		}
		if d.After(run.To) {
			if err := a.recheck(ctx, *run); err != nil {
				return err
			}
		}
		if err := a.advance(ctx, run, c); err != nil {
			return err
		}
	}
	a.Log.InfoContext(ctx, "audit done", "run_id", run.ID, "from", run.From.Format(time.DateOnly), "to", run.To.Format(time.DateOnly))
	return nil
}

// read reads PressOne's list of one day, and, if judge says so, judges its orders.
func (a *Auditor) read(ctx context.Context, run Run, d time.Time, judge bool) (listed, counts, error) {
	l, c := listed{day: d}, counts{}
	var err error
	if l.began, err = a.Store.Now(ctx); err != nil {
		return l, c, err
	}
	if err := a.turnComes(ctx); err != nil {
		return l, c, err
	}
	f := pressone.OrderFilter{CreatedFrom: d, CreatedTo: d, Details: judge}
	var page []pressone.Order
	flush := func() error {
		if judge {
			if err := a.pair(ctx, run, page, &c); err != nil {
				return err
			}
		}
		page = page[:0]
		if err := a.observe(ctx, nil); err != nil {
			return err
		}
		return a.turnComes(ctx)
	}
	for o, err := range a.Provider.AllOrders(ctx, f) {
		if err != nil {
			return l, c, a.observe(ctx, fmt.Errorf("audit: PressOne's orders of %s: %w", d.Format(time.DateOnly), err))
		}
		l.ids = append(l.ids, o.ID)
		if page = append(page, o); len(page) == batch {
			if err := flush(); err != nil {
				return l, c, err
			}
		}
	}
	slices.Sort(l.ids)
	return l, c, flush()
}

// turnComes waits until PressOne may be read, and keeps the lease meanwhile.
func (a *Auditor) turnComes(ctx context.Context) error {
	for {
		if err := a.hold(ctx); err != nil {
			return err
		}
		closed := a.Gate.ClosedFor(pressone.LaneRead)
		if closed <= 0 {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(closed, leaseTTL/3)):
		}
	}
}

// observe tells the gate of an error, or of none, and returns it.
func (a *Auditor) observe(ctx context.Context, err error) error {
	if _, gateErr := a.Gate.Observe(ctx, pressone.LaneRead, err); gateErr != nil {
		a.Log.WarnContext(ctx, "gate", "err", gateErr)
	}
	return err
}

// pair judges orders and records what does not fit.
func (a *Auditor) pair(ctx context.Context, run Run, orders []pressone.Order, c *counts) error {
	if len(orders) == 0 {
		return nil
	}
	relatives, err := a.relatives(ctx, orders)
	if err != nil {
		return err
	}
	var fine []int64
	for i, o := range orders {
		v := judge(o, relatives[i])
		if v.adopt {
			if v, err = a.adopt(ctx, run, o, v); err != nil {
				return err
			}
		}
		c.orders++
		switch {
		case v.kind != "":
			status := Open
			if v.adopt {
				status = Adopted
				c.paired++
			}
			if err := a.record(ctx, run, o, v, status); err != nil {
				return err
			}
			continue
		case v.free:
			c.free++
		case v.unsettled:
			c.unsettled++
			continue // not fine yet
		default:
			c.paired++
		}
		fine = append(fine, o.ID)
	}
	a.Metrics.read(len(orders))
	return a.settle(ctx, fine, "a saga owns the order, or it was refunded", Orphan, Double)
}
