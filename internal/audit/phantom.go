package audit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"esimflow/internal/pressone"
)

// mostAsked is how many orders of one day are asked for one by one. Where more are missing
// from the lists, it is the lists that are wrong.
const mostAsked = 2000

// phantoms looks for orders that sagas own and PressOne does not know. Lists tell which
// are there; about the others PressOne is asked one by one: the order of a saga that was
// replayed, or waited for days, is on a later list. A text says why the run makes no sense.
func (a *Auditor) phantoms(ctx context.Context, run Run, accepted time.Time, lists []listed) (failed string, _ error) {
	until := lists[max(0, len(lists)-2)].began
	asked := 0
	var after uuid.UUID
	for {
		sagas, err := a.buyers(ctx, accepted, until, after)
		if err != nil || len(sagas) == 0 {
			return "", err
		}
		after = sagas[len(sagas)-1].ID
		for _, s := range sagas {
			if slices.ContainsFunc(lists, func(l listed) bool { _, found := slices.BinarySearch(l.ids, s.OrderID); return found }) {
				continue
			}
			if asked++; asked > mostAsked {
				return fmt.Sprintf("more than %d orders of %s that sagas own are not on PressOne's list: it cannot be relied on",
					mostAsked, accepted.Format(time.DateOnly)), nil
			}
			if err := a.confirm(ctx, run, s); err != nil {
				return "", err
			}
		}
	}
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
