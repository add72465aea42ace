package saga

import (
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
    RETURNING id, kind, version, attempts, requested_at
), history AS (
    INSERT INTO saga_history (saga_id, version, event, from_state, to_state, attempt)
    SELECT id, version, 'announced', 'notifying', 'completed', attempts
    FROM done
)
SELECT kind, EXTRACT(EPOCH FROM now() - requested_at)::float8
FROM done`

// Announce completes the sagas whose result JetStream has acknowledged, in the caller's
// commit. The returned function counts them, once that has been done.
func (st *Store) Announce(b *pgx.Batch, sagas []uuid.UUID) (count func()) {
	type done struct {
		Kind    message.Kind
		Seconds float64 // since the request
	}
	var all []done
	if len(sagas) > 0 {
		b.Queue(announcedSQL, sagas).Query(func(rows pgx.Rows) (err error) {
			all, err = pgx.CollectRows(rows, pgx.RowToStructByPos[done])
			return err
		})
	}
	return func() {
		for _, d := range all {
			st.metrics.announced(d.Kind, d.Seconds)
		}
	}
}
