package pressone

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// SharedTokenConfig is what a SharedToken needs.
type SharedTokenConfig struct {
	// DB has the tables provider_token and provider_gate.
	DB *pgxpool.Pool
	// Fetch gets a new token, see NewFetch.
	Fetch Fetch
	// Gate is where the token's lane is closed after a failure.
	Gate *Gate
	// Keys are 32 bytes each: the first one encrypts, any decrypts. When there is none, one is derived from ClientSecret.
	Keys [][]byte
	// ClientID and ClientSecret are the account's: a token of another account is not used.
	ClientID, ClientSecret string
	// Holder names this worker in the row while it refreshes.
	Holder string
	// Metrics counts refreshes. nil: they are not counted.
	Metrics *Metrics
}

// SharedToken is one access token for all workers: a row in Postgres, encrypted, refreshed by one of them while the others
// wait. PressOne allows few requests for tokens, so that a rolling restart must not need one for each worker.
//
// The worker that refreshes holds a lease in the row, taken and given back by compare-and-set; no transaction and no lock is
// held while PressOne is asked. If it dies, the lease runs out, and another takes over. All stored times are Postgres's.
//
// A failure closes the gate's token lane, so that everybody waits; while it is closed, Token fails at once.
type SharedToken struct {
	db      *pgxpool.Pool
	fetch   Fetch
	gate    *Gate
	seal    *tokenSeal
	holder  string
	metrics *Metrics

	mu       sync.Mutex
	token    Token     // the one in use; its Value is "" when there is none
	until    time.Time // when it is not to be used any more, by the monotonic clock
	rejected int64     // the version that was last rejected here
	call     *tokenCall
}

// tokenCall is one goroutine getting a token for all that want one.
type tokenCall struct {
	done  chan struct{}
	token Token
	err   error
	own   bool // it failed because of the context of the goroutine that ran it
}

const (
	// refreshLease outlasts a request for a token with room to store the result.
	refreshLease = 30 * time.Second
	// refreshBudget is how long the request may take.
	refreshBudget = 20 * time.Second
	// refreshPoll is how often those that wait look at the row, give or take half.
	refreshPoll = 100 * time.Millisecond
	// tokenClosureMin is the least that the lane is closed for after a 429.
	tokenClosureMin = 3 * time.Second
)

// NewSharedToken returns a SharedToken. It touches neither network nor database.
func NewSharedToken(cfg SharedTokenConfig) (*SharedToken, error) {
	if cfg.DB == nil || cfg.Fetch == nil || cfg.Gate == nil {
		return nil, errors.New("pressone: shared token needs a database, a fetch and a gate")
	}
	s, err := newSeal(cfg.Keys, cfg.ClientSecret, "provider_token|ciphertext|"+cfg.ClientID)
	if err != nil {
		return nil, err
	}
	return &SharedToken{
		db: cfg.DB, fetch: cfg.Fetch, gate: cfg.Gate, seal: s, metrics: cfg.Metrics,
		holder: cfg.Holder + "/" + rand.Text()[:8], // two in one process are two
	}, nil
}

// Token returns the token in use, or gets one. It waits while another worker refreshes, for as long as ctx lets it. Every
// error is an *Error that is NotApplied and NotSent: whatever the token was for was not sent.
func (s *SharedToken) Token(ctx context.Context) (Token, error) {
	for {
		s.mu.Lock()
		if s.token.Value != "" && time.Until(s.until) > 0 {
			defer s.mu.Unlock()
			return s.token, nil
		}
		call := s.call
		if call == nil {
			call = &tokenCall{done: make(chan struct{})}
			s.call = call
			s.mu.Unlock()
			return s.lead(ctx, call)
		}
		s.mu.Unlock()
		select {
		case <-call.done:
		case <-ctx.Done():
			return Token{}, tokenError(context.Cause(ctx))
		}
		if call.err == nil {
			return call.token, nil
		}
		if !call.own {
			return Token{}, call.err
		}
	}
}

// lead gets a token for everybody who waits for call.
func (s *SharedToken) lead(ctx context.Context, call *tokenCall) (Token, error) {
	token, until, err := s.obtain(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(call.done)
	s.call = nil
	if err != nil {
		call.err, call.own = tokenError(err), ctx.Err() != nil
		return Token{}, call.err
	}
	call.token = token
	if token.Version != s.rejected {
		s.token, s.until = token, until
	}
	return token, nil
}

const readTokenSQL = `
SELECT t.version, t.ciphertext,
       coalesce(extract(epoch FROM t.expires_at - now()), 0)::float8 AS valid,
       t.refreshing_until > now() AND t.refreshing_until <= now() + 10 * make_interval(secs => $2::float8)
           AND t.refreshing_by <> $1 AS refreshing,
       g.reason,
       extract(epoch FROM least(greatest(g.closed_until, now()), now() + interval '1 day') - now())::float8 AS closed
FROM provider_token AS t, provider_gate AS g
WHERE g.lane = 'token'`

// tokenRow is the token as stored, with times as seconds from now by Postgres's clock.
type tokenRow struct {
	Version    int64
	Ciphertext []byte
	Valid      float64
	Refreshing bool
	Reason     string
	Closed     float64
}

// obtain returns the stored token, or refreshes it, or waits for whoever does.
func (s *SharedToken) obtain(ctx context.Context) (Token, time.Time, error) {
	for {
		start := time.Now()
		rows, err := s.db.Query(ctx, readTokenSQL, s.holder, refreshLease.Seconds())
		if err != nil {
			return Token{}, time.Time{}, fmt.Errorf("read token: %w", err)
		}
		row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[tokenRow])
		if err != nil {
			return Token{}, time.Time{}, fmt.Errorf("read token: %w", err)
		}
		if row.Valid > 0 && !s.isRejected(row.Version) {
			// A row under another key, or of another account, is as good as none.
			if value, ok := s.seal.open(row.Ciphertext); ok {
				left := seconds(row.Valid)
				s.metrics.expires(left)
				return Token{Value: Secret(value), Version: row.Version}, start.Add(left), nil
			}
		}
		if row.Closed > 0 {
			return Token{}, time.Time{}, closedLane(row.Reason, seconds(row.Closed))
		}
		if !row.Refreshing {
			token, until, done, err := s.refresh(ctx, row.Version)
			if done || err != nil {
				return token, until, err
			}
		}
		if err := wait(ctx, refreshPoll/2+mathrand.N(refreshPoll)); err != nil {
			return Token{}, time.Time{}, err
		}
	}
}

// isRejected reports whether the version was rejected here. The row may not say so yet.
func (s *SharedToken) isRejected(version int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rejected == version
}

// closedLane is the error while the token's lane is closed.
func closedLane(reason string, d time.Duration) *Error {
	return &Error{
		Operation: OpToken, Disposition: NotApplied, NotSent: true, RetryAfter: d,
		Limited: reason == reasonLimited, Account: reason == reasonAccount,
		Err: fmt.Errorf("%w: %s", ErrGateClosed, reason),
	}
}

// A lease of our own is taken again: one goroutine at a time refreshes here, so it is left over from a commit whose answer
// was lost. One that runs far longer than a lease does is from before Postgres's clock was set back.
const claimRefreshSQL = `
UPDATE provider_token
SET refreshing_by = $1, refreshing_until = now() + make_interval(secs => $2::float8)
WHERE version = $3 AND (refreshing_until <= now() OR refreshing_by = $1
                        OR refreshing_until > now() + 10 * make_interval(secs => $2::float8))`

const storeTokenSQL = `
UPDATE provider_token
SET version = version + 1, ciphertext = $3, expires_at = now() + make_interval(secs => $4::float8),
    refreshing_by = '', refreshing_until = '-infinity'
WHERE version = $1 AND refreshing_by = $2
RETURNING version`

// refresh takes the lease, if nobody has it, and replaces the token of the given version. done is false when somebody else
// was quicker.
func (s *SharedToken) refresh(ctx context.Context, version int64) (t Token, until time.Time, done bool, _ error) {
	tag, err := s.db.Exec(ctx, claimRefreshSQL, s.holder, refreshLease.Seconds(), version)
	if err != nil {
		return Token{}, time.Time{}, false, fmt.Errorf("claim token refresh: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return Token{}, time.Time{}, false, nil
	}
	start := time.Now()
	fetching, cancel := context.WithTimeout(ctx, refreshBudget)
	value, expiresIn, err := s.fetch(fetching)
	cancel()
	if err != nil {
		return Token{}, time.Time{}, false, s.failed(ctx, err)
	}
	s.metrics.refreshed(refreshOK)
	// Whoever waited for the token may have given up meanwhile; it was paid for with a scarce request, so it is kept.
	storing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	left := usableFor(expiresIn) - time.Since(start)
	err = s.db.QueryRow(storing, storeTokenSQL, version, s.holder, s.seal.close([]byte(value)), left.Seconds()).Scan(&version)
	switch {
	case errors.Is(err, pgx.ErrNoRows): // the lease ran out, and somebody else has it: theirs counts
		return Token{}, time.Time{}, false, nil
	case err != nil:
		return Token{}, time.Time{}, false, fmt.Errorf("store token: %w", err)
	}
	s.metrics.expires(left)
	_ = s.gate.reset(storing, LaneToken) // the token is what matters; the count is forgotten with the next one
	return Token{Value: Secret(value), Version: version}, time.Now().Add(left), true, nil
}

const releaseRefreshSQL = `
UPDATE provider_token
SET refreshing_by = '', refreshing_until = '-infinity'
WHERE refreshing_by = $1`

// failed closes the lane for everybody, gives the lease back, in this order, and returns what is to be reported.
func (s *SharedToken) failed(ctx context.Context, err error) error {
	e := tokenError(err)
	if ctx.Err() != nil {
		s.metrics.refreshed(refreshError)
	} else {
		reason, d := reasonOutage, time.Duration(0)
		switch {
		case e.Limited:
			s.metrics.refreshed(refreshLimited)
			reason, d = reasonLimited, min(max(e.RetryAfter, tokenClosureMin), closureMax)
			e.RetryAfter = d
		case e.Account:
			s.metrics.refreshed(refreshAccount)
			reason = reasonAccount
		default:
			s.metrics.refreshed(refreshError)
		}
		if cerr := s.gate.close(ctx, LaneToken, reason, d); cerr != nil {
			e.Err = errors.Join(e.Err, cerr)
		}
	}
	releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, rerr := s.db.Exec(releasing, releaseRefreshSQL, s.holder); rerr != nil {
		e.Err = errors.Join(e.Err, fmt.Errorf("release token refresh: %w", rerr))
	}
	return e
}

const rejectTokenSQL = `
UPDATE provider_token
SET ciphertext = NULL, expires_at = NULL
WHERE version = $1 AND ciphertext IS NOT NULL`

// Reject says that PressOne refused the token. It is forgotten here, and in the row unless that has a newer one already.
func (s *SharedToken) Reject(ctx context.Context, t Token) error {
	s.mu.Lock()
	if s.token.Version <= t.Version {
		s.token, s.until = Token{}, time.Time{}
	}
	known := s.rejected == t.Version
	s.rejected = t.Version
	s.mu.Unlock()
	if known {
		return nil
	}
	if _, err := s.db.Exec(ctx, rejectTokenSQL, t.Version); err != nil {
		s.mu.Lock()
		s.rejected = 0 // the next one tries again
		s.mu.Unlock()
		return &Error{
			Operation: OpToken, Disposition: NotApplied, NotSent: true,
			Err: fmt.Errorf("reject token: %w", err),
		}
	}
	return nil
}

// wait waits for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
