package saga

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/message"
)

// The one transition that is not decided saga by saga: the publisher completes a batch in
// one statement, in the commit that empties the outbox of its messages.
const announcedSQL = `
WITH done AS (
    UPDATE saga
    SET state = 'completed', version = version + 1, updated_at = now()
    WHERE id = ANY($1) AND state = 'notifying'
    RETURNING id, kind, version, attempts
), history AS (
    INSERT INTO saga_history (saga_id, version, event, from_state, to_state, attempt)
    SELECT id, version, 'announced', 'notifying', 'completed', attempts
    FROM done
)
SELECT kind, count(*)
FROM done
GROUP BY kind`

// Announce completes the sagas whose result JetStream has acknowledged, in the caller's
// transaction. The returned function counts them, once that has committed.
func (st *Store) Announce(ctx context.Context, tx pgx.Tx, sagas []uuid.UUID) (count func(), err error) {
	if len(sagas) == 0 {
		return func() {}, nil
	}
	rows, err := tx.Query(ctx, announcedSQL, sagas)
	if err != nil {
		return nil, fmt.Errorf("saga: announce: %w", err)
	}
	type done struct {
		Kind  message.Kind
		Count int
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[done])
	if err != nil {
		return nil, fmt.Errorf("saga: announce: %w", err)
	}
	return func() {
		for _, d := range all {
			st.metrics.announced(d.Kind, d.Count)
		}
	}, nil
}
