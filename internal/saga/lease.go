package saga

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Lease is a worker's life sign: a row with an expiry that is renewed every third of its
// life. Sagas are held under the lease's id; once it has run out, others take them over.
//
// It is also the worker's clock. Postgres's time at a renewal, plus what has gone by on
// the monotonic clock since the renewal was sent, is never behind Postgres's: whoever
// compares it with a deadline errs on the side of sending nothing. The machine's own idea
// of the time is never asked, so it may step.
//
// Postgres's may step too: a failover leads to a machine with another clock. Comparing how
// far either clock has come between two renewals tells, so that the lease knows since when
// the two have run alike; a wait counts as waited only if it lies in that time: see Vouches.
//
// A lease that has run out is not revived: the worker gets a new id, and whatever was
// held under the old one is written only if nobody has taken it over.
type Lease struct {
	db      *pgxpool.Pool
	host    string
	ttl     time.Duration
	metrics *Metrics

	renewing sync.Mutex

	mu     sync.Mutex
	id     uuid.UUID
	base   time.Time     // Postgres's time at the last renewal…
	sent   time.Time     // …and ours, with its monotonic reading, when it was sent
	took   time.Duration // from sending the last renewal to its answer
	steady time.Time     // Postgres's time since which its clock has run like ours
	live   int           // workers whose lease runs, this one among them
}

// ErrLeaseLost says that a worker's lease has run out.
var ErrLeaseLost = errors.New("saga: the worker's lease has run out")

// NewLease returns a lease that is not held yet: see Renew.
func NewLease(db *pgxpool.Pool, host string, ttl time.Duration, m *Metrics) *Lease {
	return &Lease{db: db, host: host, ttl: ttl, metrics: m}
}

const registerSQL = `
INSERT INTO worker (id, host, expires_at)
VALUES ($1, $2, now() + $3)
RETURNING now(), (SELECT count(*) + 1 FROM worker WHERE expires_at > now())`

const renewSQL = `
UPDATE worker
SET expires_at = now() + $2
WHERE id = $1 AND expires_at > now()
RETURNING now(), (SELECT count(*) FROM worker WHERE expires_at > now())`

// Renew registers the worker or renews its lease. A lease that has run out meanwhile is
// replaced by one with a new id.
func (l *Lease) Renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.ttl/3) // so that one hung connection does not lose it
	defer cancel()
	l.renewing.Lock()
	defer l.renewing.Unlock()
	before := l.ID()
	if before != uuid.Nil {
		err := l.write(ctx, renewSQL, before, before, before, l.ttl)
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		l.metrics.leaseLost()
	}
	id := uuid.Must(uuid.NewV7())
	return l.write(ctx, registerSQL, before, id, id, l.host, l.ttl)
}

// write makes a lease id of the one before, unless that was forsaken meanwhile.
func (l *Lease) write(ctx context.Context, sql string, before, id uuid.UUID, args ...any) error {
	sent := time.Now()
	var base time.Time
	var live int
	if err := l.db.QueryRow(ctx, sql, args...).Scan(&base, &live); err != nil {
		return fmt.Errorf("saga: lease: %w", err)
	}
	took := time.Since(sent)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.id != before {
		return nil
	}
	ours, theirs := sent.Sub(l.sent), base.Sub(l.base)
	if l.sent.IsZero() || theirs-ours > took+drift(ours) || ours-theirs > l.took+drift(ours) {
		l.steady = base
	}
	l.id, l.base, l.sent, l.took, l.live = id, base, sent, took, live
	return nil
}

// drift is how far two clocks may have come apart in d without either having been set. A
// machine that corrects its clock gradually makes it a thousandth faster or slower.
func drift(d time.Duration) time.Duration { return 10*time.Millisecond + d/500 }

const resignSQL = `
DELETE FROM worker
WHERE id = $1`

// Resign ends the lease at once, so that others need not wait for it to run out.
func (l *Lease) Resign(ctx context.Context) error {
	l.mu.Lock()
	id := l.id
	l.id = uuid.Nil
	l.mu.Unlock()
	_, err := l.db.Exec(ctx, resignSQL, id)
	return translate("resign", err)
}

// Forsake gives up the lease without a word to Postgres, which may not be what it was: nothing that
// is held is submitted any more. The next Renew takes a new one.
func (l *Lease) Forsake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.id = uuid.Nil
}

const buryWorkersSQL = `
DELETE FROM worker w
WHERE w.expires_at < now() - interval '1 hour' AND NOT EXISTS (SELECT FROM saga WHERE worker = w.id)`

// Bury removes the rows of workers that have been gone for an hour.
func (l *Lease) Bury(ctx context.Context) error {
	_, err := l.db.Exec(ctx, buryWorkersSQL)
	return translate("bury workers", err)
}

const recallWorkersSQL = `
UPDATE worker
SET expires_at = now() + $1
WHERE expires_at > now() + $1`

// Recall shortens leases that run far longer than a lease does: they are from before
// Postgres's clock was set back, and their workers may be dead. Those that live renew them.
func (l *Lease) Recall(ctx context.Context) error {
	_, err := l.db.Exec(ctx, recallWorkersSQL, 10*l.ttl) // others may have another LEASE_TTL for a while
	return translate("recall workers", err)
}

// ID is the id that sagas are held under; Nil before the first renewal.
func (l *Lease) ID() uuid.UUID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id
}

// Now is Postgres's time, or a little later.
func (l *Lease) Now() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now()
}

func (l *Lease) now() time.Time { return l.base.Add(time.Since(l.sent)) }

// Vouches reports whether Postgres's clock is known to have run like ours since that time,
// by Postgres's clock, and to have passed until. What lies between has then really gone by.
func (l *Lease) Vouches(since, until time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !since.Before(l.steady) && !l.now().Before(until)
}

// Runs reports whether the lease with this id is held and has not run out, by our clock.
func (l *Lease) Runs(id uuid.UUID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return id != uuid.Nil && id == l.id && l.now().Before(l.base.Add(l.ttl))
}

// Workers is how many workers were alive at the last renewal.
func (l *Lease) Workers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.live, 1)
}

// guard allows a submission's bytes to be written only while the lease runs and the
// intent's deadline has not passed.
func (l *Lease) guard(s Saga) func() error {
	return func() error {
		switch {
		case !l.Runs(s.Worker):
			return ErrLeaseLost
		case !l.Now().Before(s.IntentDeadline):
			return errors.New("saga: the intent's deadline has passed")
		}
		return nil
	}
}
