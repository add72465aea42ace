package audit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"esimflow/internal/pressone"
)

// mostAsked is how many orders of one day are asked for one by one. Where more are missing
// from the lists, it is the lists that are wrong.
const mostAsked = 2000

// late is sagas that were submitted last on a later day than those whose lists were read, as by a
// replay: by that day.
type late map[time.Time][]buyer

func (l late) add(s buyer) { l[day(s.IntentAt)] = append(l[day(s.IntentAt)], s) }

// recall fills in those of the days that an interrupted run was past.
func (l late) recall(ctx context.Context, a *Auditor, run Run) error {
	ahead := run.Next.Add(-oneDay)
	for d := run.From; d.Before(ahead); d = d.Add(oneDay) {
		for s, err := range a.buyers(ctx, d, ahead) {
			if err != nil {
				return err
			}
			l.add(s)
		}
	}
	return nil
}

// phantoms looks for orders that PressOne does not know, of sagas that were accepted on day d, or submitted
// on it late. Lists, of which the last is of the day after it, tell which are there; about the others
// PressOne is asked one by one. A text says why the run makes no sense.
func (a *Auditor) phantoms(ctx context.Context, run Run, d time.Time, lists []listed, l late) (failed string, _ error) {
	until := lists[max(0, len(lists)-2)].began
	var missing []buyer
	unlisted := 0 // of them: should be on these lists
	look := func(s buyer) {
		switch bought := day(s.IntentAt); {
		case !s.IntentAt.Before(until):
		case slices.ContainsFunc(lists, func(l listed) bool { _, found := slices.BinarySearch(l.ids, s.OrderID); return found }):
		case !bought.After(d.Add(oneDay)):
			unlisted++
			missing = append(missing, s)
		case !bought.After(run.To):
			l.add(s)
		default:
			missing = append(missing, s)
		}
	}
	for _, s := range l[d] {
		look(s)
	}
	delete(l, d)
	for s, err := range a.buyers(ctx, d, time.Time{}) {
		if err != nil {
			return "", err
		}
		look(s)
	}
	if unlisted > mostAsked {
		return fmt.Sprintf("%d orders of %s that sagas own are not on PressOne's list: it cannot be relied on", unlisted, d.Format(time.DateOnly)), nil
	}
	for _, s := range missing {
		if err := a.confirm(ctx, run, s); err != nil {
			return "", err
		}
	}
	return "", nil
}

// confirm asks PressOne for the order that a saga owns.
func (a *Auditor) confirm(ctx context.Context, run Run, s buyer) error {
	why, o, err := a.missing(ctx, s.OrderID)
	if err != nil || why == "" {
		return err
	}
	if o.ID == 0 {
		o = pressone.Order{ID: s.OrderID, PackageID: s.PackageID}
	}
	return a.record(ctx, run, o, verdict{
		kind: Phantom, saga: &kin{ID: s.ID}, why: why,
		advice: fmt.Sprintf("ask PressOne about order %d: the customer may have an eSIM that does not work; "+seeSaga, s.OrderID, s.ID),
	}, Open)
}

// missing says why an order counts as unknown to PressOne, or nothing.
func (a *Auditor) missing(ctx context.Context, id int64) (why string, _ pressone.Order, _ error) {
	if err := a.turnComes(ctx); err != nil {
		return "", pressone.Order{}, err
	}
	o, err := a.Provider.Order(ctx, id)
	switch {
	case err == nil && o.Status == statusFailed:
		return "PressOne's record says that the order failed, and a saga owns it", o, nil
	case err == nil:
		return "", o, nil
	case pressone.Hidden(err):
		return "a saga owns the order, and PressOne does not show it: " + err.Error(), pressone.Order{}, nil
	}
	return "", pressone.Order{}, a.observe(ctx, fmt.Errorf("audit: order %d: %w", id, err))
}

const openPhantomsSQL = `
SELECT order_id
FROM audit_finding
WHERE status = 'open' AND finding = 'phantom' AND run_id <> $1
LIMIT 1000`

// recheck asks again for the phantoms of earlier runs.
func (a *Auditor) recheck(ctx context.Context, run Run) error {
	rows, err := a.DB.Query(ctx, openPhantomsSQL, run.ID)
	if err != nil {
		return wrap("phantoms", err)
	}
	ids, err := collectIDs(rows)
	if err != nil {
		return wrap("phantoms", err)
	}
	for _, id := range ids {
		why, _, err := a.missing(ctx, id)
		if err != nil {
			return err
		}
		if why == "" {
			if err := a.settle(ctx, []int64{id}, "PressOne shows the order", Phantom); err != nil {
				return err
			}
		}
	}
	return nil
}
