package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"esimflow/internal/pressone"
	"esimflow/internal/seal"
)

// Sagas that have ended before $2, and of which there is still what installs an eSIM, or may be.
const unwipedSQL = `
SELECT` + columns + `
FROM saga s` + wholeSaga + `
WHERE s.id = ANY($1) AND s.state IN ('completed', 'discarded') AND greatest(s.created_at, s.updated_at) < $2
  AND (p.saga_id IS NOT NULL AND p.wiped_at IS NULL OR EXISTS (SELECT FROM saga_answer a WHERE a.saga_id = s.id))
FOR UPDATE OF s SKIP LOCKED`

// What is left of a purchase is what the books need: nothing in it is secret any more. What was erased since it
// was looked at has even less, and is left so.
const wipeSQL = `
WITH gone AS (
    DELETE FROM saga_answer
    WHERE saga_id = ANY($3)
)
INSERT INTO saga_purchase (saga_id, data, sealed, wiped_at)
SELECT w.saga_id, w.data, NULL, now()
FROM unnest($1::uuid[], $2::json[]) AS w(saga_id, data)
ON CONFLICT (saga_id) DO UPDATE SET data = excluded.data, sealed = NULL, wiped_at = excluded.wiped_at
WHERE saga_purchase.wiped_at IS NULL`

// Wiped is what became of the sagas that were looked at.
type Wiped struct {
	Sagas  int64 // whose codes were removed
	Sealed int64 // that had to stay as they are: their key is missing, and the price would be lost with the codes
}

// Wipe removes, in the caller's transaction, what installs the eSIMs of sagas that have ended before a
// moment: the kept answers, and the codes in the purchase. What the books need stays: order, price,
// currency, times, and the eSIMs' ICCIDs. Sagas that somebody has locked are left for the next time.
func (st *Store) Wipe(ctx context.Context, tx pgx.Tx, ids []uuid.UUID, before time.Time) (Wiped, error) {
	var w Wiped
	rows, err := tx.Query(ctx, unwipedSQL, ids, before)
	if err != nil {
		return w, translate("unwiped", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil {
		return w, translate("unwiped", err)
	}
	var all []uuid.UUID
	var sagas pgtype.FlatArray[pgtype.UUID]
	var data pgtype.FlatArray[json.RawMessage]
	for _, r := range found {
		p, err := st.recorded(r)
		if errors.Is(err, seal.ErrKeyMissing) {
			w.Sealed++
			continue
		}
		all = append(all, r.ID)
		if p == nil {
			continue
		}
		text, err := json.Marshal(p.skeleton(true))
		if err != nil {
			return w, fmt.Errorf("saga: wipe: %w", err)
		}
		sagas, data = append(sagas, nullUUID(r.ID)), append(data, text)
	}
	if len(all) == 0 {
		return w, nil
	}
	w.Sagas = int64(len(all))
	_, err = tx.Exec(ctx, wipeSQL, sagas, data, all)
	return w, translate("wipe", err)
}

// skeleton is a purchase without what installs its eSIMs; with their ICCIDs, or without the eSIMs.
func (p *Purchase) skeleton(iccids bool) *Purchase {
	s := &Purchase{Order: p.Order}
	s.Order.Sims = nil
	if !iccids {
		s.Order.Description = nil
		return s
	}
	for _, sim := range p.Order.Sims {
		s.Order.Sims = append(s.Order.Sims, pressone.Sim{
			ICCID: sim.ICCID, IsRoaming: sim.IsRoaming, Recycled: sim.Recycled, RecycledAt: sim.RecycledAt, CreatedAt: sim.CreatedAt,
		})
	}
	return s
}
