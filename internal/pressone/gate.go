package pressone

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Lane is one of the gate's three ways to PressOne, which close apart: reconciliation goes on while ordering is closed.
type Lane string

// The lanes.
const (
	LaneToken Lane = "token" // requests for access tokens
	LaneWrite Lane = "write" // submissions
	LaneRead  Lane = "read"  // everything that only reads
)

var lanes = []Lane{LaneToken, LaneWrite, LaneRead}

// Why a lane is closed, as stored. An operator's pause has a reason of its own, written elsewhere.
const (
	reasonLimited = "limited" // the account's rate limit
	reasonAccount = "account" // credentials, allow-list
	reasonOutage  = "outage"  // the token cannot be had
)

// GateConfig sets how long a lane stays closed when PressOne does not say.
type GateConfig struct {
	// RetryInitial is the first such time; it doubles with every failure in a row. Default 1s.
	RetryInitial time.Duration
	// RetryMax is the longest such time. Default 5m.
	RetryMax time.Duration
	// Metrics shows the lanes. nil: they are not shown.
	Metrics *Metrics
}

// closureMax is the longest that PressOne's Retry-After closes a lane for: its longest documented limit.
const closureMax = 15 * time.Minute

// Gate is what the workers know about the account's limits. It is a row per lane in Postgres, so that what one learns all
// know; asking it costs no query, since each worker reads the rows with its heartbeat. It is safe for concurrent use.
type Gate struct {
	db  *pgxpool.Pool
	cfg GateConfig

	mu      sync.Mutex
	state   map[Lane]laneState
	onClose func(Lane)
}

// laneState is a lane as it was last read, with its time turned into this process's monotonic clock.
type laneState struct {
	until    time.Time
	reason   string
	failures int
}

// NewGate returns a gate that takes every lane for open until Refresh is called.
func NewGate(db *pgxpool.Pool, cfg GateConfig) *Gate {
	if cfg.RetryInitial <= 0 {
		cfg.RetryInitial = time.Second
	}
	if cfg.RetryMax <= 0 {
		cfg.RetryMax = 5 * time.Minute
	}
	return &Gate{db: db, cfg: cfg, state: make(map[Lane]laneState)}
}

// OnClose sets what is called when this process has closed a lane, to hint others. It is called after the row was written,
// and must not block. Set it before the gate is used.
func (g *Gate) OnClose(hook func(Lane)) { g.onClose = hook }

// The time left is bounded before it is computed: a lane may be closed until infinity, from which nothing can be subtracted.
const readGateSQL = `
SELECT lane, reason, failures,
       extract(epoch FROM least(greatest(closed_until, now()), now() + interval '1 day') - now())::float8 AS seconds
FROM provider_gate`

// $1 is the longest that a lane is closed for, in seconds. An operator's pause may be longer.
const recallGateSQL = `
UPDATE provider_gate
SET closed_until = now() + make_interval(secs => $1::float8), updated_at = now()
WHERE reason IN ('limited', 'account', 'outage') AND closed_until > now() + make_interval(secs => $1::float8)`

// Refresh reads the rows. It is called at every heartbeat and on a hint. A lane that is closed for longer than any is was
// closed before Postgres's clock was set back; it must not stay so for as long as that was.
func (g *Gate) Refresh(ctx context.Context) error {
	if _, err := g.db.Exec(ctx, recallGateSQL, max(closureMax, g.cfg.RetryMax).Seconds()); err != nil {
		return fmt.Errorf("pressone: recall gate: %w", err)
	}
	start := time.Now()
	rows, err := g.db.Query(ctx, readGateSQL)
	if err != nil {
		return fmt.Errorf("pressone: read gate: %w", err)
	}
	type row struct {
		Lane     Lane
		Reason   string
		Failures int
		Seconds  float64
	}
	read, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil {
		return fmt.Errorf("pressone: read gate: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range read {
		g.set(r.Lane, start, r.Seconds, r.Reason, r.Failures)
	}
	return nil
}

// set keeps what was read about a lane. The caller holds the lock.
func (g *Gate) set(lane Lane, asOf time.Time, seconds float64, reason string, failures int) {
	closedFor := time.Duration(seconds * float64(time.Second))
	g.state[lane] = laneState{until: asOf.Add(closedFor), reason: reason, failures: failures}
	g.cfg.Metrics.lane(lane, closedFor)
}

// ClosedFor returns how long the lane stays closed, as far as this process knows; 0 when it is open. A pause without an end
// shows as a day.
func (g *Gate) ClosedFor(lane Lane) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(0, time.Until(g.state[lane].until))
}

// Observe tells the gate how a call on the lane went, and reports whether that closed the lane. A success (nil) resets the
// count of failures, and does not open a closed lane. Being limited closes the lane for as long as PressOne said; where it
// did not say, and when the account is refused, for a time that doubles with every failure in a row. Everything else leaves
// the gate alone; so does, on the other lanes, a failure to get a token, which has closed its own lane already.
func (g *Gate) Observe(ctx context.Context, lane Lane, err error) (closed bool, _ error) {
	if err == nil {
		return false, g.reset(ctx, lane)
	}
	e, ok := errors.AsType[*Error](err)
	switch {
	case !ok, e.Operation == OpToken && lane != LaneToken:
		return false, nil
	case e.Limited:
		return true, g.close(ctx, lane, reasonLimited, min(e.RetryAfter, closureMax))
	case e.Account:
		return true, g.close(ctx, lane, reasonAccount, 0)
	}
	return false, nil
}

const resetGateSQL = `
UPDATE provider_gate
SET failures = 0, updated_at = now()
WHERE lane = $1 AND failures > 0 AND closed_until <= now()`

// reset forgets the failures of a lane, when this process knows of any. A success that was under way when the lane closed
// says nothing about it.
func (g *Gate) reset(ctx context.Context, lane Lane) error {
	g.mu.Lock()
	s := g.state[lane]
	if s.failures == 0 || time.Until(s.until) > 0 {
		g.mu.Unlock()
		return nil
	}
	s.failures = 0 // before the query: one of many successes is enough to write it
	g.state[lane] = s
	g.mu.Unlock()
	if _, err := g.db.Exec(ctx, resetGateSQL, lane); err != nil {
		return fmt.Errorf("pressone: reset gate: %w", err)
	}
	return nil
}

// $2 is the time PressOne named, 0 for none; $3 and $4 are the first and longest of those that double. All in seconds. Nobody
// opens a lane early, and of many calls that failed together only the first counts.
const closeGateSQL = `
UPDATE provider_gate AS g
SET closed_until = n.until,
    reason       = CASE WHEN n.until > g.closed_until THEN $5 ELSE g.reason END,
    failures     = CASE WHEN g.closed_until > now() THEN g.failures ELSE g.failures + 1 END,
    updated_at   = now()
FROM (
    SELECT lane, greatest(closed_until, CASE
        WHEN $2::float8 > 0 THEN now() + make_interval(secs => $2::float8)
        WHEN closed_until > now() THEN closed_until
        ELSE now() + make_interval(secs => least($4::float8, $3::float8 * power(2, least(failures, 30))))
    END) AS until
    FROM provider_gate
    WHERE lane = $1
    FOR UPDATE
) AS n
WHERE g.lane = n.lane
RETURNING g.reason, g.failures,
          extract(epoch FROM least(greatest(g.closed_until, now()), now() + interval '1 day') - now())::float8`

// close closes a lane for d, or, when d is 0, for a time that doubles.
func (g *Gate) close(ctx context.Context, lane Lane, reason string, d time.Duration) error {
	start := time.Now()
	var (
		stored   string
		failures int
		seconds  float64
	)
	err := g.db.QueryRow(ctx, closeGateSQL, lane, d.Seconds(), g.cfg.RetryInitial.Seconds(), g.cfg.RetryMax.Seconds(), reason).
		Scan(&stored, &failures, &seconds)
	if err != nil {
		g.closeHere(lane, reason, d)
		return fmt.Errorf("pressone: close gate: %w", err)
	}
	g.mu.Lock()
	g.set(lane, start, seconds, stored, failures)
	g.mu.Unlock()
	g.cfg.Metrics.closed(lane, reason)
	if g.onClose != nil {
		g.onClose(lane)
	}
	return nil
}

// closeHere closes a lane for this process alone, when the row cannot be written: what PressOne said still holds.
func (g *Gate) closeHere(lane Lane, reason string, d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.state[lane]
	if d <= 0 {
		d = g.cfg.RetryInitial
	}
	if until := time.Now().Add(d); until.After(s.until) {
		g.state[lane] = laneState{until: until, reason: reason, failures: s.failures + 1}
		g.cfg.Metrics.lane(lane, d)
	}
}
