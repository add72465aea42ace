package pressone

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"esimflow/internal/message"
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

// Why a lane is closed, as stored.
const (
	reasonLimited = "limited" // the account's rate limit
	reasonAccount = "account" // credentials, allow-list
	reasonOutage  = "outage"  // PressOne is away, or the token cannot be had
	reasonPaused  = "paused"  // by an operator, whose own reason is in gate_pause
)

var closeReasons = []string{reasonLimited, reasonAccount, reasonOutage, reasonPaused}

// GateConfig sets how long a lane stays closed when PressOne does not say.
type GateConfig struct {
	// RetryInitial is the first such time; it doubles with every failure in a row. It is also how long a step of the ramp takes
	// at least. Default 1s.
	RetryInitial time.Duration
	// RetryMax is the longest such time; for outages it is half a minute at the most. Default 5m.
	RetryMax time.Duration
	// ProbeBudget is how long a probe may take before it is taken for lost. Default 70s.
	ProbeBudget time.Duration
	// Held reports whether this process must not submit, whatever Postgres says. nil: it may.
	Held func() bool
	// Holder names this worker in the row while it probes.
	Holder string
	// Metrics shows the lanes. nil: they are not shown.
	Metrics *Metrics
}

// closureMax is the longest that PressOne's Retry-After closes a lane for: its longest documented limit.
const closureMax = 15 * time.Minute

// Gate is what the workers know about the account's limits, about outages (see breaker), and about what operators have paused.
// It is a row per lane in Postgres, and one for each pause, so that what one worker learns all know; asking it costs no query, since
// each worker reads the rows with its heartbeat and on hints. It is safe for concurrent use.
type Gate struct {
	db       *pgxpool.Pool
	cfg      GateConfig
	holder   string
	onChange func(Lane)

	reading sync.Mutex // what was read later is newer

	mu      sync.Mutex
	state   map[Lane]laneState
	token   time.Time             // until when there is a token that can be used
	paused  map[message.Kind]bool // kinds that operators have paused
	workers int                   // how many share what the ramp allows
}

// laneState is a lane as it was last read, with its time turned into this process's monotonic clock.
type laneState struct {
	until    time.Time
	reason   string
	failures int
	breaker  breaker
}

// NewGate returns a gate that takes every lane for open until Refresh is called.
func NewGate(db *pgxpool.Pool, cfg GateConfig) *Gate {
	if cfg.RetryInitial <= 0 {
		cfg.RetryInitial = time.Second
	}
	if cfg.RetryMax <= 0 {
		cfg.RetryMax = 5 * time.Minute
	}
	if cfg.ProbeBudget <= 0 {
		cfg.ProbeBudget = 70 * time.Second
	}
	g := &Gate{
		db: db, cfg: cfg, state: make(map[Lane]laneState), workers: 1,
		holder: strings.TrimPrefix(cfg.Holder+"/"+rand.Text()[:8], "/"), // two in one process are two
	}
	for _, lane := range lanes {
		g.state[lane] = laneState{breaker: breaker{phase: phaseOpen}}
	}
	return g
}

// OnChange sets what is called when this process has changed a lane or a pause, to hint others. It is called after the rows were
// written, and must not block. Set it before the gate is used.
func (g *Gate) OnChange(hook func(Lane)) { g.onChange = hook }

func (g *Gate) hint(lane Lane) {
	if g.onChange != nil {
		g.onChange(lane)
	}
}

// SetWorkers says how many workers share what the ramp allows.
func (g *Gate) SetWorkers(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.workers = max(n, 1)
}

// The time left is bounded before it is computed: a lane may be closed until infinity, from which nothing can be subtracted.
const readGateSQL = `
SELECT lane, reason, failures, phase, ramp,
       extract(epoch FROM least(greatest(closed_until, now()), now() + interval '1 day') - now())::float8 AS seconds,
       coalesce((SELECT extract(epoch FROM greatest(expires_at, now()) - now())
                 FROM provider_token
                 WHERE ciphertext IS NOT NULL), 0)::float8 AS token_seconds,
       ARRAY(SELECT name FROM gate_pause WHERE what = 'kind') AS kinds
FROM provider_gate`

// $1 is the longest that a lane is closed for, $2 the longest until a probe, and $3 the longest that one takes, all in seconds. An
// operator's pause may be longer.
const recallGateSQL = `
UPDATE provider_gate AS old
SET closed_until = n.latest, updated_at = now()
FROM (SELECT lane, now() + make_interval(secs => CASE
          WHEN phase <> 'down' OR reason <> 'outage' THEN $1::float8
          WHEN probe_by = '' THEN $2::float8
          ELSE $3::float8 END) AS latest
      FROM provider_gate) AS n
WHERE old.lane = n.lane AND reason IN ('limited', 'account', 'outage') AND closed_until > n.latest`

// Refresh reads the rows. It is called at every heartbeat and on a hint. A lane that is closed for longer than any is was
// closed before Postgres's clock was set back; it must not stay so for as long as that was.
func (g *Gate) Refresh(ctx context.Context) error {
	_, err := g.db.Exec(ctx, recallGateSQL, max(closureMax, g.cfg.RetryMax).Seconds(), g.probeEvery().Seconds(), g.cfg.ProbeBudget.Seconds())
	if err != nil {
		return fmt.Errorf("pressone: recall gate: %w", err)
	}
	return g.read(ctx)
}

// probeEvery is the longest time between two probes.
func (g *Gate) probeEvery() time.Duration { return min(g.cfg.RetryMax, probeEveryMax) }

// laneRow is a lane as stored, with times as seconds from now by Postgres's clock.
type laneRow struct {
	Lane         Lane
	Reason       string
	Failures     int
	Phase        phase
	Ramp         int
	Seconds      float64
	TokenSeconds float64
	Kinds        []message.Kind // the same in every row
}

func (g *Gate) read(ctx context.Context) error {
	g.reading.Lock()
	defer g.reading.Unlock()
	start := time.Now()
	rows, err := g.db.Query(ctx, readGateSQL)
	if err != nil {
		return fmt.Errorf("pressone: read gate: %w", err)
	}
	read, err := pgx.CollectRows(rows, pgx.RowToStructByName[laneRow])
	if err != nil {
		return fmt.Errorf("pressone: read gate: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range read {
		s := g.state[r.Lane]
		s.breaker = s.breaker.become(r.Phase, r.Ramp, time.Now())
		g.state[r.Lane] = s
		g.set(r.Lane, start, r.Seconds, r.Reason, r.Failures)
		g.cfg.Metrics.ramp(r.Lane, r.Ramp)
		g.token = start.Add(seconds(r.TokenSeconds))
		g.paused = make(map[message.Kind]bool)
		for _, k := range r.Kinds {
			g.paused[k] = true
		}
	}
	for _, k := range message.Kinds() {
		g.cfg.Metrics.paused(pauseKind, string(k), g.paused[k])
	}
	return nil
}

// set keeps what was read about when a lane opens. The caller holds the lock.
func (g *Gate) set(lane Lane, asOf time.Time, seconds float64, reason string, failures int) {
	closedFor := time.Duration(seconds * float64(time.Second))
	s := g.state[lane]
	s.until, s.reason, s.failures = asOf.Add(closedFor), reason, failures
	g.state[lane] = s
	g.cfg.Metrics.lane(lane, closedFor, reason, s.breaker.phase)
}

// ClosedFor returns how long the lane stays closed, as far as this process knows; 0 when it is open, and when it is time for a
// probe. A pause without an end shows as a day. Without a token, and without leave to get one, all lanes are closed.
func (g *Gate) ClosedFor(lane Lane) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closedFor(lane)
}

func (g *Gate) closedFor(lane Lane) time.Duration {
	d := max(0, time.Until(g.state[lane].until))
	if lane != LaneToken && time.Until(g.token) <= 0 {
		d = max(d, time.Until(g.state[LaneToken].until))
	}
	return d
}

// Paused reports whether operators have paused requests of that kind, or this process is held.
func (g *Gate) Paused(k message.Kind) bool {
	if g.cfg.Held != nil && g.cfg.Held() {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.paused[k]
}

const resetGateSQL = `
UPDATE provider_gate
SET failures = 0, updated_at = now()
WHERE lane = $1 AND failures > 0 AND closed_until <= now()`

// reset forgets the failures of a lane, when this process knows of any. A success that was under way when the lane closed
// says nothing about it, and until the ramp is over an outage may go on.
func (g *Gate) reset(ctx context.Context, lane Lane) error {
	g.mu.Lock()
	s := g.state[lane]
	if s.failures == 0 || s.breaker.phase != phaseOpen || time.Until(s.until) > 0 {
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
// opens a lane early, and of many calls that failed together only the first counts. Of a paused lane it is kept beneath.
const closeGateSQL = `
UPDATE provider_gate AS g
SET closed_until  = CASE WHEN n.paused THEN g.closed_until ELSE n.until END,
    reason        = CASE WHEN n.until > n.since AND NOT n.paused THEN $5 ELSE g.reason END,
    beneath_until = CASE WHEN n.paused THEN n.until ELSE g.beneath_until END,
    beneath       = CASE WHEN n.until > n.since AND n.paused THEN $5 ELSE g.beneath END,
    failures      = CASE WHEN n.since > now() THEN g.failures ELSE g.failures + 1 END,
    updated_at    = now()
FROM (
    SELECT lane, paused, since, greatest(since, CASE
        WHEN $2::float8 > 0 THEN now() + make_interval(secs => $2::float8)
        WHEN since > now() THEN since
        ELSE now() + make_interval(secs => least($4::float8, $3::float8 * power(2, least(failures, 30))))
    END) AS until
    FROM (
        SELECT lane, failures, reason = 'paused' AS paused,
               CASE WHEN reason = 'paused' THEN beneath_until ELSE closed_until END AS since
        FROM provider_gate
        WHERE lane = $1
        FOR UPDATE
    ) AS held
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
	g.hint(lane)
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
		s.until, s.reason, s.failures = until, reason, s.failures+1
		g.state[lane] = s
		g.cfg.Metrics.lane(lane, d, reason, s.breaker.phase)
	}
}
