package saga

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/pressone"
)

const revealSQL = `
INSERT INTO reveal (id, saga_id, request_id, iccids, actor, reason)
VALUES ($1, $2, $3, $4, $5, $6)`

// Reveal records that an operator is shown what installs a saga's eSIMs, and returns them.
// Whoever has that has the eSIM, so it is returned only when the record is on disk. The
// error is a *RefusedError if there is nothing to reveal, or nobody who answers for it.
func (st *Store) Reveal(ctx context.Context, id uuid.UUID, actor, reason string) ([]pressone.Sim, error) {
	actor, reason, err := answerable(actor, reason)
	if err != nil {
		return nil, err
	}
	s, err := st.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if s.Wiped {
		return nil, &RefusedError{Why: "what installs its eSIMs was removed, CODES_KEEP after it ended"}
	}
	if s.KeyGone {
		return nil, &RefusedError{Why: "it cannot be read: the key is not in ENCRYPTION_KEY"}
	}
	if s.Purchase == nil || len(s.Purchase.Order.Sims) == 0 {
		return nil, &RefusedError{Why: "no eSIM of it is on record"}
	}
	var iccids []string
	for _, sim := range s.Purchase.Order.Sims {
		iccids = append(iccids, sim.ICCID)
	}
	err = pgx.BeginFunc(ctx, st.db, func(tx pgx.Tx) error {
		if err := Durable(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, revealSQL, uuid.Must(uuid.NewV7()), id, s.RequestID, iccids, actor, reason)
		return err
	})
	if err != nil {
		return nil, translate("reveal", err)
	}
	return s.Purchase.Order.Sims, nil
}
