package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Leadership makes one process active in what only one should do. It is a row with an
// expiry, not a session lock: a pooler may stand between. It keeps two from doing the work
// twice; that nothing breaks if they do (one stalls, and wakes up late) must not depend on
// it.
type Leadership struct {
	DB     *pgxpool.Pool
	Name   string // of what is done
	Holder string // of the process, unique
	TTL    time.Duration
}

// A lease that runs much longer than any does is from before Postgres's clock was set back.
const leadSQL = `
INSERT INTO lease (name, holder, expires_at)
VALUES ($1, $2, now() + $3)
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder, expires_at = excluded.expires_at
WHERE lease.holder = excluded.holder OR lease.expires_at < now() OR lease.expires_at > now() + 10 * $3::interval`

// Acquire takes or renews the leadership and reports whether it is held.
func (l *Leadership) Acquire(ctx context.Context) (bool, error) {
	tag, err := l.DB.Exec(ctx, leadSQL, l.Name, l.Holder, l.TTL)
	if err != nil {
		return false, fmt.Errorf("outbox: leadership: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

const resignSQL = `
DELETE FROM lease
WHERE name = $1 AND holder = $2`

// Resign gives the leadership up, so that the next one need not wait for its expiry.
func (l *Leadership) Resign(ctx context.Context) error {
	if _, err := l.DB.Exec(ctx, resignSQL, l.Name, l.Holder); err != nil {
		return fmt.Errorf("outbox: leadership: %w", err)
	}
	return nil
}
