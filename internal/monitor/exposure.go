package monitor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

var (
	exposureDesc = prometheus.NewDesc("esimflow_unknown_exposure",
		"Price of what may have been bought and is not known: sagas in state unknown, and open dead letters of such. Each counts with what the "+
			"same package was last bought for, times the quantity. Read from Postgres by every process: use max by (currency), not sum.",
		[]string{"currency"}, nil)
	unpricedDesc = prometheus.NewDesc("esimflow_unknown_exposure_unpriced",
		"Of those: how many have no price here, because their package was not among the latest purchases. Read from Postgres by every process: "+
			"use max by (), not sum.", nil, nil)
	unknownDesc = prometheus.NewDesc("esimflow_unknown_outcomes",
		"How many submissions may have bought something and are not known to. Read from Postgres by every process: use max by (where), not sum.",
		[]string{"where"}, nil)
)

// Where an unknown outcome can be.
const (
	inSaga   = "saga"
	inLetter = "dead_letter"
)

// The condition of the first is that of the index saga_waiting, word for word.
const unknownSQL = `
SELECT 'saga' AS place, package_id, quantity, count(*)::float8 AS n
FROM (
    SELECT package_id, quantity
    FROM saga
    WHERE CASE WHEN worker IS NULL THEN stage IN ('pending', 'unknown', 'polling') END AND stage = 'unknown'
    UNION ALL
    SELECT package_id, quantity
    FROM saga
    WHERE worker IS NOT NULL AND state = 'unknown'
) s
GROUP BY package_id, quantity
UNION ALL
SELECT 'dead_letter', s.package_id, s.quantity, count(*)::float8
FROM dead_letter l
JOIN saga s ON s.id = l.saga_id
WHERE l.status = 'open' AND l.purchased = 'unknown'
GROUP BY s.package_id, s.quantity`

// The latest of the latest: ids are in the order in which they were made.
const boughtSQL = `
SELECT DISTINCT ON (package_id) package_id, id
FROM (SELECT id, package_id, order_id FROM saga ORDER BY id DESC LIMIT 20000) s
WHERE order_id IS NOT NULL AND package_id = ANY($1)
ORDER BY package_id, id DESC`

// priceAge is how long a package's price is taken for its price.
const priceAge = time.Hour

// price is what one of a package costs.
type price struct {
	each     float64
	currency string // a label
	seen     time.Time
}

// unknown is what may have been bought.
type unknown struct {
	Place     string
	PackageID string
	Quantity  int
	N         float64
}

type exposureReader struct {
	db     *pgxpool.Pool
	sagas  *saga.Store
	prices map[string]price
}

// Exposure shows the money of which it is not known whether it was spent.
func Exposure(db *pgxpool.Pool, sagas *saga.Store) *Part {
	r := &exposureReader{db: db, sagas: sagas, prices: map[string]price{}}
	return &Part{name: "exposure", descs: []*prometheus.Desc{exposureDesc, unpricedDesc, unknownDesc}, read: r.read}
}

func (r *exposureReader) read(ctx context.Context) ([]sample, error) {
	var all []unknown
	var b pgx.Batch
	b.Queue(plannedSQL)
	b.Queue(unknownSQL).Query(func(rows pgx.Rows) (err error) {
		all, err = pgx.CollectRows(rows, pgx.RowToStructByPos[unknown])
		return err
	})
	if err := r.db.SendBatch(ctx, &b).Close(); err != nil {
		return nil, fmt.Errorf("monitor: exposure: %w", err)
	}
	if err := r.look(ctx, all); err != nil {
		return nil, fmt.Errorf("monitor: prices: %w", err)
	}
	exposed, counts, unpriced := map[string]float64{}, map[string]float64{}, 0.0
	for _, u := range all {
		counts[u.Place] += u.N
		if p, ok := r.prices[u.PackageID]; ok {
			exposed[p.currency] += u.N * float64(u.Quantity) * p.each
		} else {
			unpriced += u.N
		}
	}
	samples := []sample{{desc: unpricedDesc, value: unpriced}}
	for _, where := range []string{inSaga, inLetter} {
		samples = append(samples, sample{desc: unknownDesc, value: counts[where], labels: []string{where}})
	}
	for _, currency := range pressone.CurrencyLabels() {
		samples = append(samples, sample{desc: exposureDesc, value: exposed[currency], labels: []string{currency}})
	}
	return samples, nil
}

// look finds the prices that are not known, or not lately: only while something is exposed.
func (r *exposureReader) look(ctx context.Context, all []unknown) error {
	var wanted []string
	for _, u := range all {
		if p, ok := r.prices[u.PackageID]; !ok || time.Since(p.seen) > priceAge {
			wanted = append(wanted, u.PackageID)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	type bought struct {
		PackageID string
		ID        uuid.UUID
	}
	var latest []bought
	var b pgx.Batch
	b.Queue(plannedSQL)
	b.Queue(boughtSQL, wanted).Query(func(rows pgx.Rows) (err error) {
		latest, err = pgx.CollectRows(rows, pgx.RowToStructByPos[bought])
		return err
	})
	if err := r.db.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	for _, l := range latest {
		s, err := r.sagas.Get(ctx, l.ID)
		if errors.Is(err, saga.ErrNotFound) || err == nil && s.Purchase == nil {
			continue // it has left meanwhile
		}
		if err != nil {
			return err
		}
		// PressOne does not say whether it is the price of one or of all; better too much.
		if each, err := strconv.ParseFloat(string(s.Purchase.Order.Price), 64); err == nil {
			r.prices[l.PackageID] = price{each: each, currency: pressone.CurrencyLabel(s.Purchase.Order.Currency), seen: time.Now()}
		}
	}
	return nil
}
