package audit

import (
	"context"
	"fmt"
	"time"
)

// earliest is the first day that can be audited. Before it sagas have left after RETENTION,
// and their orders would pass for orphans. What such a saga has bought, PressOne had listed
// before it ended; a day is added for PressOne's time zone, which is not known, and the clocks.
func (a *Auditor) earliest(ctx context.Context) (time.Time, error) {
	gone, err := a.Store.GoneBefore(ctx)
	if err != nil || gone.IsZero() {
		return time.Time{}, wrap("earliest", err)
	}
	return day(gone).Add(2 * oneDay), nil
}

// tooEarly says why nothing can be found out about a day, or nothing.
func (a *Auditor) tooEarly(ctx context.Context, d time.Time) (why string, _ error) {
	earliest, err := a.earliest(ctx)
	if err != nil || !d.Before(earliest) {
		return "", err
	}
	return fmt.Sprintf("the orders of %s cannot be told from orphans: their sagas have left after RETENTION; the first day that can be audited is %s",
		d.Format(time.DateOnly), earliest.Format(time.DateOnly)), nil
}
