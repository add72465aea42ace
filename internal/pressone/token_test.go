package pressone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// counted is a Fetch that counts, and answers with a new token each time.
func counted(n *atomic.Int32) Fetch {
	return func(context.Context) (string, time.Duration, error) {
		return fmt.Sprintf("%s-%d", canaryToken, n.Add(1)), 366 * 24 * time.Hour, nil
	}
}

var holders atomic.Int32

func sharedToken(tb testing.TB, db *pgxpool.Pool, fetch Fetch, change ...func(*SharedTokenConfig)) *SharedToken {
	tb.Helper()
	cfg := SharedTokenConfig{
		DB: db, Fetch: fetch, Gate: NewGate(db, GateConfig{RetryInitial: time.Minute}),
		ClientID: "id", ClientSecret: canarySecret, Holder: fmt.Sprint("w-", holders.Add(1)),
	}
	for _, f := range change {
		f(&cfg)
	}
	s, err := NewSharedToken(cfg)
	require.NoError(tb, err)
	return s
}

func TestSharedToken(t *testing.T) {
	t.Parallel()

	t.Run("is fetched once for all workers", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		var n atomic.Int32
		workers := []*SharedToken{sharedToken(t, db, counted(&n)), sharedToken(t, db, counted(&n)), sharedToken(t, db, counted(&n))}
		var wg sync.WaitGroup
		var wrong atomic.Int32
		for i := range 60 {
			wg.Go(func() {
				got, err := workers[i%len(workers)].Token(t.Context())
				if err != nil || got.Version != 1 || string(got.Value) != canaryToken+"-1" {
					wrong.Add(1)
				}
			})
		}
		wg.Wait()
		require.Zero(t, wrong.Load())
		require.Equal(t, int32(1), n.Load())
	})

	t.Run("is replaced once when all reject it", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		var n atomic.Int32
		workers := []*SharedToken{sharedToken(t, db, counted(&n)), sharedToken(t, db, counted(&n))}
		old := make([]Token, len(workers))
		for i, w := range workers {
			var err error
			old[i], err = w.Token(t.Context())
			require.NoError(t, err)
		}
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				w := i % len(workers)
				_ = workers[w].Reject(t.Context(), old[w])
				_, _ = workers[w].Token(t.Context())
			})
		}
		wg.Wait()
		require.Equal(t, int32(2), n.Load())
		for _, w := range workers {
			got, err := w.Token(t.Context())
			require.NoError(t, err)
			require.Equal(t, int64(2), got.Version)
			require.NoError(t, w.Reject(t.Context(), old[0]), "late rejections of the old one")
		}
		again, err := workers[0].Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(2), again.Version)
		require.Equal(t, int32(2), n.Load())
	})

	t.Run("is sealed, for a day at most, less a margin", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		var n atomic.Int32
		_, err := sharedToken(t, db, counted(&n)).Token(t.Context())
		require.NoError(t, err)
		var sealed []byte
		var left float64
		require.NoError(t, db.QueryRow(t.Context(), `SELECT ciphertext, extract(epoch FROM expires_at - now())::float8 FROM provider_token`).Scan(&sealed, &left))
		require.False(t, bytes.Contains(sealed, []byte("canary")))
		require.InDelta(t, (24*time.Hour - 5*time.Minute).Seconds(), left, 60)
	})

	t.Run("is fetched anew when it has expired", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		var n atomic.Int32
		_, err := sharedToken(t, db, counted(&n)).Token(t.Context())
		require.NoError(t, err)
		_, err = db.Exec(t.Context(), `UPDATE provider_token SET expires_at = now() - interval '1 second'`)
		require.NoError(t, err)
		got, err := sharedToken(t, db, counted(&n)).Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(2), got.Version)
	})

	t.Run("survives the rotation of keys, and is fetched anew when no key fits or the account is another", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		var n atomic.Int32
		a, b := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
		keys := func(list ...[]byte) func(*SharedTokenConfig) {
			return func(c *SharedTokenConfig) { c.Keys = list }
		}
		for _, step := range []struct {
			change  func(*SharedTokenConfig)
			fetches int32
		}{
			{keys(a), 1},
			{keys(b, a), 1},
			{keys(b), 2},
			{keys(b, a), 2},
			{func(c *SharedTokenConfig) { c.Keys, c.ClientID = [][]byte{b}, "other" }, 3},
			{keys(), 4},
		} {
			_, err := sharedToken(t, db, counted(&n), step.change).Token(t.Context())
			require.NoError(t, err)
			require.Equal(t, step.fetches, n.Load())
		}
		_, err := NewSharedToken(SharedTokenConfig{DB: db, Fetch: counted(&n), Gate: NewGate(db, GateConfig{}), Keys: [][]byte{{1}}})
		require.Error(t, err)
		_, err = NewSharedToken(SharedTokenConfig{DB: db, Fetch: counted(&n), Gate: NewGate(db, GateConfig{})})
		require.Error(t, err, "neither key nor secret")
	})

	t.Run("closes its lane for all when it is limited", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		var n atomic.Int32
		limited := func(context.Context) (string, time.Duration, error) {
			n.Add(1)
			return "", 0, &Error{Operation: OpToken, Disposition: NotApplied, Status: 429, Limited: true, RetryAfter: 10 * time.Minute}
		}
		s := sharedToken(t, db, limited)
		for i := range 3 {
			w := s
			if i > 0 {
				w = sharedToken(t, db, limited)
			}
			_, err := w.Token(t.Context())
			e := requireError(t, err)
			require.Equal(t, NotApplied, e.Disposition)
			require.True(t, e.NotSent)
			require.True(t, e.Limited)
			require.InDelta(t, 600, e.RetryAfter.Seconds(), 100)
		}
		require.Equal(t, int32(1), n.Load())
		requireClosedFor(t, s.gate, LaneToken, 10*time.Minute)
		requireClosedFor(t, s.gate, LaneWrite, 10*time.Minute) // without a token nothing can be called
	})

	t.Run("closes its lane when the credentials are wrong, or PressOne is away", func(t *testing.T) {
		t.Parallel()
		for _, failure := range []*Error{
			{Operation: OpToken, Status: 401, Disposition: NotApplied, Account: true},
			{Operation: OpToken, Status: 503},
		} {
			db := database(t)
			var n atomic.Int32
			fetch := func(context.Context) (string, time.Duration, error) { n.Add(1); return "", 0, failure }
			for range 3 {
				_, err := sharedToken(t, db, fetch).Token(t.Context())
				e := requireError(t, err)
				require.Equal(t, NotApplied, e.Disposition)
				require.True(t, e.NotSent)
				require.Equal(t, failure.Account, e.Account)
			}
			require.Equal(t, int32(1), n.Load())
			rewind(t, db, LaneToken)
			var refreshing bool
			require.NoError(t, db.QueryRow(t.Context(), `SELECT refreshing_until > now() FROM provider_token`).Scan(&refreshing))
			require.False(t, refreshing, "the lease was given back")
		}
	})

	t.Run("in hand is used while the lane is closed", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		var n atomic.Int32
		_, err := sharedToken(t, db, counted(&n)).Token(t.Context())
		require.NoError(t, err)
		s := sharedToken(t, db, counted(&n))
		_, err = s.gate.Observe(t.Context(), LaneToken, limitedFor(time.Minute))
		require.NoError(t, err)
		_, err = s.Token(t.Context())
		require.NoError(t, err)
	})

	t.Run("is refreshed by another when the one who had the lease died", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		start := time.Now()
		_, err := db.Exec(t.Context(), `UPDATE provider_token SET refreshing_by = 'dead', refreshing_until = now() + interval '300 milliseconds'`)
		require.NoError(t, err)
		var n atomic.Int32
		_, err = sharedToken(t, db, counted(&n)).Token(t.Context())
		require.NoError(t, err)
		require.Greater(t, time.Since(start), 200*time.Millisecond)
	})

	t.Run("is not taken from the one who has the lease by one whose lease ran out", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		var n atomic.Int32
		slow := func(ctx context.Context) (string, time.Duration, error) {
			// While this one fetches, its lease runs out and another stores a token.
			_, err := db.Exec(ctx, `UPDATE provider_token SET refreshing_until = now() - interval '1 second'`)
			if err != nil {
				return "", 0, err
			}
			if _, err := sharedToken(t, db, counted(&n)).Token(ctx); err != nil {
				return "", 0, err
			}
			return "late", time.Hour, nil
		}
		got, err := sharedToken(t, db, slow).Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, canaryToken+"-1", string(got.Value))
		require.Equal(t, int64(1), got.Version)
	})

	t.Run("does not keep those waiting whose context ends, and one's end does not fail the others", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		var n atomic.Int32
		started := make(chan struct{}, 8)
		fetch := func(ctx context.Context) (string, time.Duration, error) {
			started <- struct{}{}
			if n.Add(1) == 1 {
				<-ctx.Done()
				return "", 0, ctx.Err()
			}
			return "second", time.Hour, nil
		}
		s := sharedToken(t, db, fetch)
		leader, cancelLeader := context.WithCancel(t.Context())
		defer cancelLeader()
		led := make(chan error, 1)
		go func() { _, err := s.Token(leader); led <- err }()
		<-started

		impatient, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := s.Token(impatient)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.True(t, requireError(t, err).NotSent)

		followed := make(chan error, 1)
		go func() { _, err := s.Token(t.Context()); followed <- err }()
		cancelLeader()
		require.Error(t, <-led)
		require.NoError(t, <-followed)
		require.NoError(t, s.gate.Refresh(t.Context()))
		require.Zero(t, s.gate.ClosedFor(LaneToken), "giving up says nothing about PressOne")
	})

	t.Run("is not used again where it was rejected, although the row does not say so yet", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		var n atomic.Int32
		s := sharedToken(t, db, counted(&n))
		old, err := s.Token(t.Context())
		require.NoError(t, err)
		s.mu.Lock()
		s.token, s.until, s.rejected = Token{}, time.Time{}, old.Version // as between the two halves of Reject
		s.mu.Unlock()
		got, err := s.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, old.Version+1, got.Version)
	})

	t.Run("is an error that says that nothing was sent when the database is away", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		var n atomic.Int32
		s := sharedToken(t, db, counted(&n))
		db.Close()
		_, err := s.Token(t.Context())
		e := requireError(t, err)
		require.Equal(t, NotApplied, e.Disposition)
		require.True(t, e.NotSent)
		require.Zero(t, n.Load())
	})
}

func TestFetch(t *testing.T) {
	t.Parallel()
	fetch := func(t *testing.T, status int, body string) (string, time.Duration, *http.Request, error) {
		t.Helper()
		var form map[string][]string
		var last *http.Request
		base := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
			if err := r.ParseMultipartForm(1 << 20); err == nil {
				form = r.MultipartForm.Value
			}
			last = r
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, body)
		})
		f, err := NewFetch(Config{BaseURL: base, ClientID: "id", ClientSecret: canarySecret, Metrics: NewMetrics(prometheus.NewPedanticRegistry())})
		require.NoError(t, err)
		value, expiresIn, err := f(t.Context())
		require.Equal(t, map[string][]string{"client_id": {"id"}, "client_secret": {canarySecret}, "grant_type": {"client_credentials"}}, form)
		return value, expiresIn, last, err
	}

	t.Run("reads the token", func(t *testing.T) {
		t.Parallel()
		value, expiresIn, r, err := fetch(t, 200, `{"data":{"token_type":"Bearer","expires_in":"3600","access_token":"eyJx"},"meta":{"message":"success"}}`)
		require.NoError(t, err)
		require.Equal(t, "eyJx", value)
		require.Equal(t, time.Hour, expiresIn)
		require.Equal(t, "/customer/v2/token", r.URL.Path)
		require.Empty(t, r.Header.Get("Authorization"))
	})

	for name, tt := range map[string]struct {
		status                   int
		body                     string
		account, limited, unread bool
	}{
		"wrong secret":      {401, `{"data":[],"meta":{"message":"Client authentication failed"}}`, true, false, false},
		"unknown client id": {422, `{"data":{"client_id":"The selected client id is invalid."},"meta":{}}`, true, false, false},
		"the same with 400": {400, `{"data":{"client_id":"The selected client id is invalid."},"meta":{}}`, true, false, false},
		"limited":           {429, `{"message":"Too Many Attempts."}`, false, true, false},
		"away":              {503, `<html>`, false, false, false},
		"no token in it":    {200, `{"access_token":"top level"}`, false, false, true},
		"echoes the secret": {422, `{"code":43,"reason":"` + canarySecret + `"}`, false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, _, err := fetch(t, tt.status, tt.body)
			e := requireError(t, err)
			require.Equal(t, OpToken, e.Operation)
			require.Equal(t, tt.account, e.Account)
			require.Equal(t, tt.limited, e.Limited)
			require.Equal(t, tt.unread, errors.Is(err, ErrUnreadable))
		})
	}

	t.Run("serves a client that has no other source", func(t *testing.T) {
		t.Parallel()
		var tokens, balances atomic.Int32
		base := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/token"):
				_, _ = fmt.Fprintf(w, `{"data":{"expires_in":3600,"access_token":"t%d"}}`, tokens.Add(1))
			case r.Header.Get("Authorization") != "Bearer t2":
				w.WriteHeader(401)
			default:
				balances.Add(1)
				_, _ = fmt.Fprint(w, `{"data":{"balances":[]}}`)
			}
		})
		c := newClient(t, base, func(c *Config) { c.Tokens = nil })
		for range 3 {
			_, err := c.Balance(t.Context())
			require.NoError(t, err)
		}
		require.Equal(t, int32(2), tokens.Load())
		require.Equal(t, int32(3), balances.Load())
	})
}

func TestUsableFor(t *testing.T) {
	t.Parallel()
	require.Equal(t, 24*time.Hour-5*time.Minute, usableFor(366*24*time.Hour))
	require.Equal(t, 9*time.Minute, usableFor(10*time.Minute))
	require.Equal(t, 900*time.Millisecond, usableFor(time.Second))
	require.Equal(t, time.Hour-5*time.Minute, usableFor(0))
}
