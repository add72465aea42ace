package restore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"esimflow/internal/message"
)

// How a pause tells that it is a Witness's.
const (
	lostActor  = "esimflow"
	lostPrefix = "Postgres has lost commits"
	lostReason = lostPrefix + ": stop all workers, and see EsimflowPostgresForgot in docs/runbook.md"
)

// Somebody's pause from before is in the way of nothing, but whoever ends it has to know: its reason is told on. One that Begin
// has made stays, and one that tells it already.
const pauseLostSQL = `
INSERT INTO gate_pause AS p (what, name, actor, reason)
VALUES ('kind', $1, $2, $3)
ON CONFLICT (what, name) DO UPDATE
SET actor = excluded.actor, paused_at = now(), reason = excluded.reason || ' (paused before by ' || p.actor || ': ' || p.reason || ')'
WHERE NOT starts_with(p.reason, $4) AND NOT starts_with(p.reason, $5)`

const pausedLostSQL = `
SELECT count(*)
FROM gate_pause
WHERE what = 'kind' AND starts_with(reason, $1)`

// pauseLost pauses both kinds and ends what must not go on by itself. It returns how many kinds
// are paused for this reason: none if Begin has paused them.
func pauseLost(ctx context.Context, tx pgx.Tx) (int, error) {
	for _, k := range message.Kinds() {
		tag, err := tx.Exec(ctx, pauseLostSQL, k, lostActor, lostReason, prefix, lostPrefix)
		if err != nil {
			return 0, err
		}
		if tag.RowsAffected() == 0 {
			continue
		}
		if _, err := tx.Exec(ctx, trailSQL, k, lostActor, lostReason); err != nil {
			return 0, err
		}
	}
	var calmed Begun
	if err := calmed.calm(ctx, tx, lostReason); err != nil {
		return 0, err
	}
	var paused int
	err := tx.QueryRow(ctx, pausedLostSQL, lostPrefix).Scan(&paused)
	return paused, err
}
