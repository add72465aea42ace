package deadletter

import (
	"context"
	"fmt"
	"math/big"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/pressone"
)

// purse is what may be spent: PressOne's balance when it was read, less what was in flight
// by then, less what was released since. Only whoever holds the lease has one.
type purse struct {
	read     time.Time // when; the zero time: never
	known    bool      // false: PressOne shows no balance, or something in flight has no known price
	left     *big.Rat
	currency string
	inFlight bool // something may yet be charged, or turn out not to be: it is worth reading again
}

// spend takes a letter's price out of the purse, if that is in it.
func (p *purse) spend(cost price) bool {
	if p.left.Cmp(cost.amount) < 0 {
		return false
	}
	p.left = new(big.Rat).Sub(p.left, cost.amount)
	p.inFlight = true
	return true
}

// covers reports whether what a letter costs can be compared with what is in the purse.
func (p *purse) covers(cost price) bool {
	return p.known && cost.amount != nil && (cost.currency == p.currency || p.currency == "")
}

// What PressOne may yet charge; what is polled has been charged. By the indexes saga_due and
// saga_held: the table is large.
const inFlightSQL = `
SELECT package_id, sum(quantity)::int AS quantity
FROM (
    SELECT package_id, quantity
    FROM saga
    WHERE worker IS NULL AND stage IN ('pending', 'unknown')
    UNION ALL
    SELECT package_id, quantity
    FROM saga
    WHERE worker IS NOT NULL AND state IN ('pending', 'submitting', 'unknown')
) s
GROUP BY package_id`

// balancePatience is how long PressOne is waited for: less than the lease lasts.
const balancePatience = 5 * time.Second

// readPurse reads what may be spent. What is in flight is read first: what is charged
// between the two counts twice then, which is the safe way round.
func (r *Replayer) readPurse(ctx context.Context) (purse, error) {
	rows, err := r.Desk.DB.Query(ctx, inFlightSQL)
	if err != nil {
		return purse{}, fmt.Errorf("deadletter: in flight: %w", err)
	}
	type part struct {
		PackageID string
		Quantity  int
	}
	parts, err := pgx.CollectRows(rows, pgx.RowToStructByName[part])
	if err != nil {
		return purse{}, fmt.Errorf("deadletter: in flight: %w", err)
	}
	packages := map[string]bool{}
	for _, p := range parts {
		packages[p.PackageID] = true
	}
	prices := map[string]price{}
	if len(packages) > 0 {
		prices = r.Desk.prices(ctx, packages)
	}
	asking, cancel := context.WithTimeout(ctx, balancePatience)
	defer cancel()
	balance, err := r.Desk.Provider.Balance(asking)
	if ctx.Err() == nil && r.Desk.Gate != nil {
		if _, gateErr := r.Desk.Gate.Observe(ctx, pressone.LaneRead, err); gateErr != nil {
			r.Desk.Log.WarnContext(ctx, "gate", "err", gateErr)
		}
	}
	if err != nil {
		return purse{}, fmt.Errorf("deadletter: balance: %w", err)
	}
	p := purse{read: time.Now(), currency: balance.Currency, inFlight: len(parts) > 0}
	if p.left, p.known = balance.Amount.Rat(); !p.known || !balance.Known {
		p.known = false
		return p, nil
	}
	for _, part := range parts {
		cost := prices[part.PackageID].times(part.Quantity)
		if !p.covers(cost) {
			p.known = false
			return p, nil
		}
		p.left.Sub(p.left, cost.amount)
	}
	return p, nil
}

// Letters that lacked credit, were released, and are not known to be paid for, or refused.
const unpaidSQL = `
SELECT count(*)
FROM replay_letter r
JOIN saga s ON s.id = r.saga_id
WHERE r.replay_id = $1 AND r.state = 'done' AND r.class = 'insufficient_credit' AND s.state IN ('pending', 'submitting', 'unknown')`

// alone reports whether no other letter of a replay that lacked credit is on its way to
// being paid.
func (r *Replayer) alone(ctx context.Context, job uuid.UUID) (bool, error) {
	var n int
	if err := r.Desk.DB.QueryRow(ctx, unpaidSQL, job).Scan(&n); err != nil {
		return false, fmt.Errorf("deadletter: unpaid: %w", err)
	}
	return n == 0, nil
}

// verdict is what the purse says of a letter that lacked credit.
type verdict int

const (
	hold verdict = iota // not now, and none after it
	release
	lone // release it, and none after it before it is known what became of it
	poor // it costs more than there is
)

const oneAtATime = "one at a time, as the price or the balance is not known: waiting for the last one"

// afford decides about one letter. It reads the purse if it was not read for a while.
func (r *Replayer) afford(ctx context.Context, job Replay, l due) (verdict, string, error) {
	if r.purse.read.IsZero() || time.Since(r.purse.read) >= r.PurseAge {
		if !r.Desk.open(pressone.LaneRead) {
			return hold, "waiting: PressOne may not be asked for the balance now", nil
		}
		var err error
		if r.purse, err = r.readPurse(ctx); err != nil {
			return hold, "waiting: PressOne does not tell the balance", err
		}
	}
	cost := price{currency: l.Currency}
	if l.Price != "" {
		cost.amount = ratOf(l.Price)
	}
	if !r.purse.covers(cost) {
		alone, err := r.alone(ctx, job.ID)
		if err != nil || !alone {
			return hold, oneAtATime, err
		}
		return lone, "", nil
	}
	if r.purse.spend(cost) {
		return release, "", nil
	}
	short := fmt.Sprintf("it costs %s %s, and %s %s are left", cost.text(), cost.currency, decimal(r.purse.left), r.purse.currency)
	if r.purse.inFlight {
		return hold, "waiting for what is in flight: " + short, nil
	}
	return poor, short, nil
}
