package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Backlog is what waits for JetStream.
type Backlog struct {
	Messages int       // counted up to MostCounted, and one more if there are more
	Refused  int       // of them: JetStream has refused them at least once
	Oldest   time.Time // when the oldest was written; zero: there is none
}

// MostCounted is where counting stops.
const MostCounted = 100_000

const backlogSQL = `
SELECT count(*)::int, (count(*) FILTER (WHERE failures > 0))::int, min(created_at)
FROM (SELECT failures, created_at FROM outbox ORDER BY id LIMIT $1) AS waiting`

// ReadBacklog counts what is in the outbox.
func ReadBacklog(ctx context.Context, db *pgxpool.Pool) (Backlog, error) {
	var b Backlog
	var oldest *time.Time
	if err := db.QueryRow(ctx, backlogSQL, MostCounted+1).Scan(&b.Messages, &b.Refused, &oldest); err != nil {
		return Backlog{}, fmt.Errorf("outbox: backlog: %w", err)
	}
	if oldest != nil {
		b.Oldest = *oldest
	}
	return b, nil
}
