package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// leadership makes one relay active. It is a row with an expiry, not a session lock: a
// pooler may stand between. It keeps two relays from doing the work twice; that nothing
// breaks if they do (one stalls, and wakes up late) does not depend on it.
type leadership struct {
	db     *pgxpool.Pool
	name   string
	holder string
	ttl    time.Duration
}

const leadSQL = `
INSERT INTO lease (name, holder, expires_at)
VALUES ($1, $2, now() + $3)
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder, expires_at = excluded.expires_at
WHERE lease.holder = excluded.holder OR lease.expires_at < now()`

// acquire takes or renews the leadership and reports whether it is held.
func (l *leadership) acquire(ctx context.Context) (bool, error) {
	tag, err := l.db.Exec(ctx, leadSQL, l.name, l.holder, l.ttl)
	if err != nil {
		return false, fmt.Errorf("outbox: leadership: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

const resignSQL = `
DELETE FROM lease
WHERE name = $1 AND holder = $2`

// resign gives the leadership up, so that the next one need not wait for its expiry.
func (l *leadership) resign(ctx context.Context) error {
	if _, err := l.db.Exec(ctx, resignSQL, l.name, l.holder); err != nil {
		return fmt.Errorf("outbox: leadership: %w", err)
	}
	return nil
}
