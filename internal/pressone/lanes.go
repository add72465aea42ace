package pressone

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// LaneView is a lane as all workers have it.
type LaneView struct {
	Lane      Lane
	Closed    bool
	ClosedFor time.Duration // how much longer; a day stands for no end
	Reason    string        // why it is closed, or was last
	Failures  int           // in a row
}

const lanesSQL = `
SELECT lane, closed_until > now() AS closed,
       extract(epoch FROM least(greatest(closed_until, now()), now() + interval '1 day') - now())::float8 AS seconds,
       reason, failures
FROM provider_gate
ORDER BY array_position(ARRAY['write', 'read', 'token'], lane)`

// Lanes reads the lanes, for operators.
func (g *Gate) Lanes(ctx context.Context) ([]LaneView, error) {
	rows, err := g.db.Query(ctx, lanesSQL)
	if err != nil {
		return nil, fmt.Errorf("pressone: lanes: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (v LaneView, err error) {
		var seconds float64
		err = r.Scan(&v.Lane, &v.Closed, &seconds, &v.Reason, &v.Failures)
		v.ClosedFor = time.Duration(seconds * float64(time.Second))
		return v, err
	})
	if err != nil {
		return nil, fmt.Errorf("pressone: lanes: %w", err)
	}
	return all, nil
}
