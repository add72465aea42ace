package saga

import (
	"context"

	"github.com/jackc/pgx/v5"

	"esimflow/internal/message"
)

// Waiting is how many requests of a kind wait for their submission.
type Waiting struct {
	Kind  message.Kind `json:"kind"`
	Count int          `json:"count"`
}

// waitingMax is how many are counted: whoever asks wants to know whether it is none, some or very many.
const waitingMax = 10_000

// The conditions are those of the partial indexes that claims use.
const waitingSQL = `
SELECT kind, count(*)::int AS count
FROM (
    (SELECT kind FROM saga WHERE worker IS NULL AND stage = 'pending' AND failures = 0 LIMIT $1)
    UNION ALL
    (SELECT kind
     FROM saga
     WHERE worker IS NULL AND (stage IN ('unknown', 'polling') OR stage = 'pending' AND failures > 0) AND stage = 'pending'
     LIMIT $1)
) AS s
GROUP BY kind
ORDER BY kind`

// Waiting counts the requests that nobody works on and that are to be submitted; up to ten
// thousand new ones, and as many that were begun.
func (st *Store) Waiting(ctx context.Context) ([]Waiting, error) {
	rows, err := st.db.Query(ctx, waitingSQL, waitingMax)
	if err != nil {
		return nil, translate("waiting", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Waiting])
	if all == nil {
		all = []Waiting{}
	}
	return all, translate("waiting", err)
}
