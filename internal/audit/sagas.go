package audit

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

func isLost(err error) bool {
	return errors.Is(err, saga.ErrConflict) || errors.Is(err, saga.ErrOrderOwned) || errors.Is(err, saga.ErrICCIDBusy)
}

const kinColumns = `
    id, kind, request_id, state, stopped_in, reference, package_id, COALESCE(iccid, '') AS iccid, COALESCE(order_id, 0) AS order_id`

const kinSQL = `
SELECT` + kinColumns + `
FROM saga
WHERE order_id = ANY($1) OR reference = ANY($2)`

// The condition is that of the index saga_topup_unresolved.
const unresolvedSQL = `
SELECT` + kinColumns + `
FROM saga
WHERE kind = 'topup' AND (stage IN ('submitting', 'unknown') OR stopped_in = 'unknown') AND package_id = ANY($1)`

// relatives finds for each order the sagas that it could belong to. It is asked after the
// orders were listed: a saga that owns one by now, owns it.
func (a *Auditor) relatives(ctx context.Context, orders []pressone.Order) ([]kinship, error) {
	ids, packages := make([]int64, len(orders)), []string{}
	var refs []string
	for i, o := range orders {
		ids[i] = o.ID
		named, _ := saga.References(o)
		refs = append(refs, named...)
	}
	byID, byRef := map[int64]*kin{}, map[string]kin{}
	sagas, err := a.kin(ctx, kinSQL, ids, refs)
	if err != nil {
		return nil, err
	}
	for i, s := range sagas {
		byRef[s.Reference] = s
		if s.OrderID != 0 {
			byID[s.OrderID] = &sagas[i]
		}
	}
	all := make([]kinship, len(orders))
	for i, o := range orders {
		named, exact := saga.References(o)
		k := kinship{owner: byID[o.ID], exact: exact, minted: exact}
		for _, ref := range slices.Compact(named) {
			if s, ok := byRef[ref]; ok {
				k.named = append(k.named, s)
			}
		}
		if k.owner == nil && len(k.named) == 0 && o.Type != "sim" {
			packages = append(packages, o.PackageID)
		}
		all[i] = k
	}
	if len(packages) == 0 {
		return all, nil
	}
	rivals, err := a.kin(ctx, unresolvedSQL, packages)
	for i := range all {
		all[i].rivals = rivals
	}
	return all, err
}

func (a *Auditor) kin(ctx context.Context, sql string, args ...any) ([]kin, error) {
	rows, err := a.DB.Query(ctx, sql, args...)
	if err != nil {
		return nil, wrap("sagas", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[kin])
	return all, wrap("sagas", err)
}

// Ids are UUIDs of version 7, which begin with the time of acceptance.
const buyersSQL = `
SELECT id, package_id, order_id, intent_at
FROM saga
WHERE id > $1 AND id < $2 AND order_id IS NOT NULL AND intent_at >= $3
ORDER BY id
LIMIT 1000`

// buyer is a saga that says it has bought something.
type buyer struct {
	ID        uuid.UUID
	PackageID string
	OrderID   int64
	IntentAt  time.Time // of its last submission
}

// buyers yields sagas that were accepted on a day and submitted last since a time.
func (a *Auditor) buyers(ctx context.Context, accepted, since time.Time) iter.Seq2[buyer, error] {
	return func(yield func(buyer, error) bool) {
		after, end := saga.FirstID(accepted), saga.FirstID(accepted.Add(oneDay))
		for {
			rows, err := a.DB.Query(ctx, buyersSQL, after, end, since)
			if err != nil {
				yield(buyer{}, wrap("buyers", err))
				return
			}
			page, err := pgx.CollectRows(rows, pgx.RowToStructByName[buyer])
			if err != nil {
				yield(buyer{}, wrap("buyers", err))
				return
			}
			for _, s := range page {
				if !yield(s, nil) {
					return
				}
			}
			if len(page) == 0 {
				return
			}
			after = page[len(page)-1].ID
		}
	}
}
