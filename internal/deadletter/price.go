package deadletter

import (
	"context"
	"math/big"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/pressone"
)

// price is an amount of money; the zero value is one that is not known.
type price struct {
	amount   *big.Rat
	currency string
}

func (p price) text() string {
	if p.amount == nil {
		return ""
	}
	return decimal(p.amount)
}

func (p price) times(n int) price {
	if p.amount == nil || n <= 0 {
		return price{}
	}
	return price{new(big.Rat).Mul(p.amount, big.NewRat(int64(n), 1)), p.currency}
}

// decimal is r with two digits behind the point, or as many as it has.
func decimal(r *big.Rat) string {
	if text := r.FloatString(2); new(big.Rat).Sub(ratOf(text), r).Sign() == 0 {
		return text
	}
	return strings.TrimRight(r.FloatString(10), "0")
}

func ratOf(text string) *big.Rat {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return new(big.Rat)
	}
	return r
}

// catalogueCurrency is the one that PressOne's catalogue is in: it names none.
const catalogueCurrency = "USD"

// PressOne advises to read the catalogue once an hour. When that does not work, it is not
// tried again at once, and nobody waits for long.
const (
	catalogueAge     = time.Hour
	catalogueAgain   = time.Minute
	cataloguePatient = 10 * time.Second
)

// priceBook is what a package costs, as far as is known: by PressOne's catalogue, or else
// by what was paid for it last. It is safe for concurrent use.
type priceBook struct {
	mu     sync.Mutex
	prices map[string]price
	next   time.Time // when to read the catalogue again
}

// price fills in what the letters of a set would cost.
func (d *Desk) price(ctx context.Context, set []candidate) {
	missing := map[string]bool{}
	for _, c := range set {
		if c.why == "" && c.buys() && c.Quantity > 0 {
			missing[c.PackageID] = true
		}
	}
	if len(missing) == 0 {
		return
	}
	prices := d.prices(ctx, missing)
	for i := range set {
		if c := &set[i]; c.buys() {
			c.price = prices[c.PackageID].times(c.Quantity)
		}
	}
}

// prices returns what one of each package costs, as far as is known. That PressOne or
// Postgres does not answer makes prices unknown, and no more.
func (d *Desk) prices(ctx context.Context, packages map[string]bool) map[string]price {
	d.book.mu.Lock()
	defer d.book.mu.Unlock()
	if !time.Now().Before(d.book.next) && d.open(pressone.LaneRead) {
		d.book.next = time.Now().Add(catalogueAgain)
		switch known, err := d.catalogue(ctx); {
		case err != nil:
			d.Log.WarnContext(ctx, "PressOne's catalogue cannot be read: prices are not known", "err", err)
		default:
			d.book.prices, d.book.next = known, time.Now().Add(catalogueAge)
		}
	}
	prices, missing := map[string]price{}, false
	for id := range packages {
		if p, known := d.book.prices[id]; known {
			prices[id] = p
		} else {
			missing = true
		}
	}
	if missing {
		if err := d.paid(ctx, packages, prices); err != nil {
			d.Log.WarnContext(ctx, "what was paid before cannot be read: prices are not known", "err", err)
		}
	}
	return prices
}

func (d *Desk) catalogue(ctx context.Context) (map[string]price, error) {
	ctx, cancel := context.WithTimeout(ctx, cataloguePatient)
	defer cancel()
	packages, err := d.Provider.Packages(ctx)
	if err != nil {
		return nil, err
	}
	prices := map[string]price{}
	for _, p := range packages {
		if amount, ok := p.Price.Rat(); ok {
			prices[p.ID] = price{amount, catalogueCurrency}
		}
	}
	return prices, nil
}

// Among the latest sagas only: there is no index by package, and nobody should wait.
const paidSQL = `
SELECT DISTINCT ON (package_id) package_id, id
FROM (SELECT package_id, id, order_id FROM saga ORDER BY id DESC LIMIT 5000) s
WHERE order_id IS NOT NULL AND package_id = ANY($1)
ORDER BY package_id, id DESC`

// paid fills in what was paid for packages last.
func (d *Desk) paid(ctx context.Context, packages map[string]bool, prices map[string]price) error {
	var missing []string
	for id := range packages {
		if prices[id].amount == nil {
			missing = append(missing, id)
		}
	}
	rows, err := d.DB.Query(ctx, paidSQL, missing)
	if err != nil {
		return err
	}
	type last struct {
		PackageID string
		ID        uuid.UUID
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[last])
	if err != nil {
		return err
	}
	for _, l := range all {
		s, err := d.Store.Get(ctx, l.ID)
		if err != nil {
			return err
		}
		if s.Purchase == nil {
			continue
		}
		if amount, ok := s.Purchase.Order.Price.Rat(); ok && s.Quantity > 0 {
			each := new(big.Rat).Quo(amount, big.NewRat(int64(s.Quantity), 1))
			prices[l.PackageID] = price{each, s.Purchase.Order.Currency}
		}
	}
	return nil
}
