package pressone

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// rewind lets time pass for a lane: as if everything stored had been so much earlier.
func rewind(tb testing.TB, db *pgxpool.Pool, lane Lane) {
	tb.Helper()
	_, err := db.Exec(tb.Context(), `UPDATE provider_gate SET closed_until = now() - interval '1 second' WHERE lane = $1`, lane)
	require.NoError(tb, err)
}

// requireClosedFor wants a lane to be closed for that long, less what has gone by since.
func requireClosedFor(tb testing.TB, g *Gate, lane Lane, want time.Duration) {
	tb.Helper()
	got := g.ClosedFor(lane)
	require.LessOrEqual(tb, got, want)
	var since float64
	if err := g.db.QueryRow(tb.Context(), "SELECT extract(epoch FROM clock_timestamp() - max(updated_at))::float8 FROM provider_gate").Scan(&since); err != nil {
		require.ErrorContains(tb, err, "closed pool")
	}
	require.Greater(tb, got+seconds(since), want-want/4-500*time.Millisecond)
}

func limitedFor(d time.Duration) error {
	return &Error{Operation: OpSubmitOrder, Disposition: NotApplied, Limited: true, Status: 429, RetryAfter: d}
}

func TestGate(t *testing.T) {
	t.Parallel()
	cfg := GateConfig{RetryInitial: 10 * time.Second, RetryMax: time.Minute}

	t.Run("is open to begin with", func(t *testing.T) {
		t.Parallel()
		g := NewGate(database(t), cfg)
		require.Zero(t, g.ClosedFor(LaneWrite))
		require.NoError(t, g.Refresh(t.Context()))
		for _, lane := range lanes {
			require.Zero(t, g.ClosedFor(lane))
		}
	})

	t.Run("closes one lane for as long as PressOne says, for every worker", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		one, other := NewGate(db, cfg), NewGate(db, cfg)
		var hinted []Lane
		one.OnChange(func(l Lane) { hinted = append(hinted, l) })
		closed, err := one.Observe(t.Context(), LaneWrite, limitedFor(2*time.Minute))
		require.NoError(t, err)
		require.True(t, closed)
		require.Equal(t, []Lane{LaneWrite}, hinted)
		requireClosedFor(t, one, LaneWrite, 2*time.Minute)
		require.Zero(t, one.ClosedFor(LaneRead))
		require.Zero(t, other.ClosedFor(LaneWrite), "it has not looked yet")
		require.NoError(t, other.Refresh(t.Context()))
		requireClosedFor(t, other, LaneWrite, 2*time.Minute)
	})

	t.Run("is not closed for longer than a quarter of an hour", func(t *testing.T) {
		t.Parallel()
		g := NewGate(database(t), cfg)
		_, err := g.Observe(t.Context(), LaneRead, limitedFor(time.Hour))
		require.NoError(t, err)
		requireClosedFor(t, g, LaneRead, 15*time.Minute)
	})

	t.Run("is never opened early", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		g, other := NewGate(db, cfg), NewGate(db, cfg)
		_, err := g.Observe(t.Context(), LaneWrite, limitedFor(5*time.Minute))
		require.NoError(t, err)
		_, err = other.Observe(t.Context(), LaneWrite, limitedFor(time.Second))
		require.NoError(t, err)
		requireClosedFor(t, other, LaneWrite, 5*time.Minute)
		_, err = other.Observe(t.Context(), LaneWrite, nil)
		require.NoError(t, err)
		require.NoError(t, g.Refresh(t.Context()))
		requireClosedFor(t, g, LaneWrite, 5*time.Minute)
	})

	t.Run("doubles where PressOne does not say, once for all that failed together, and starts over after a success", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		g := NewGate(db, cfg)
		for _, want := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() { _, _ = g.Observe(t.Context(), LaneWrite, limitedFor(0)) })
			}
			wg.Wait()
			requireClosedFor(t, g, LaneWrite, want)
			rewind(t, db, LaneWrite)
			require.NoError(t, g.Refresh(t.Context()))
			require.Zero(t, g.ClosedFor(LaneWrite))
		}
		closed, err := g.Observe(t.Context(), LaneWrite, nil)
		require.NoError(t, err)
		require.False(t, closed)
		_, err = g.Observe(t.Context(), LaneWrite, limitedFor(0))
		require.NoError(t, err)
		requireClosedFor(t, g, LaneWrite, 10*time.Second)
	})

	t.Run("closes when the account is refused", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		g := NewGate(db, cfg)
		refused := &Error{Operation: OpSubmitOrder, Disposition: NotApplied, Account: true, Status: 403}
		for _, want := range []time.Duration{10 * time.Second, 20 * time.Second} {
			closed, err := g.Observe(t.Context(), LaneWrite, refused)
			require.NoError(t, err)
			require.True(t, closed)
			requireClosedFor(t, g, LaneWrite, want)
			rewind(t, db, LaneWrite)
		}
	})

	t.Run("is left alone by everything else", func(t *testing.T) {
		t.Parallel()
		g := NewGate(database(t), cfg)
		for _, err := range []error{
			errors.New("x"), &Error{}, &Error{Disposition: Refused, Status: 422}, &Error{Disposition: NotApplied, NotSent: true},
			&Error{Disposition: NotApplied, Maintenance: true, Status: 422}, &Error{Status: 503, Answered: true},
			&Error{Operation: OpToken, Disposition: NotApplied, NotSent: true, Limited: true, RetryAfter: time.Minute},
		} {
			closed, oerr := g.Observe(t.Context(), LaneWrite, err)
			require.NoError(t, oerr)
			require.False(t, closed)
		}
		require.NoError(t, g.Refresh(t.Context()))
		require.Zero(t, g.ClosedFor(LaneWrite))
	})

	t.Run("keeps an operator's pause without an end", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		_, err := db.Exec(t.Context(), `UPDATE provider_gate SET closed_until = 'infinity', reason = 'operator' WHERE lane = 'write'`)
		require.NoError(t, err)
		g := NewGate(db, cfg)
		require.NoError(t, g.Refresh(t.Context()))
		requireClosedFor(t, g, LaneWrite, 24*time.Hour)
		_, err = g.Observe(t.Context(), LaneWrite, limitedFor(time.Minute))
		require.NoError(t, err)
		var reason string
		var forever bool
		require.NoError(t, db.QueryRow(t.Context(), `SELECT reason, closed_until = 'infinity' FROM provider_gate WHERE lane = 'write'`).Scan(&reason, &forever))
		require.Equal(t, "operator", reason)
		require.True(t, forever)
	})

	t.Run("holds here when the row cannot be written", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		g := NewGate(db, cfg)
		db.Close()
		closed, err := g.Observe(t.Context(), LaneWrite, limitedFor(time.Minute))
		require.Error(t, err)
		require.True(t, closed)
		requireClosedFor(t, g, LaneWrite, time.Minute)
	})

	// Somebody holds the lane's row, a worker that was stopped in the middle of a pause, and does not let go. What a call has brought
	// is yet to be committed when the gate is told of it, so that is given up after a while, and holds here.
	t.Run("does not keep whoever has been answered", func(t *testing.T) {
		t.Parallel()
		db := database(t)
		g := NewGate(db, cfg)
		tx, err := db.Begin(t.Context())
		require.NoError(t, err)
		defer func() { _ = tx.Rollback(context.Background()) }()
		_, err = tx.Exec(t.Context(), "SELECT FROM provider_gate FOR UPDATE")
		require.NoError(t, err)
		stopping, stop := context.WithCancel(t.Context())
		stop() // that nobody waits for the caller any more is no reason not to tell
		left := make(chan error, 1)
		go func() {
			_, err := g.Leave(stopping, g.Pass(LaneWrite), limitedFor(time.Minute))
			left <- err
		}()
		select {
		case err := <-left:
			require.ErrorIs(t, err, context.DeadlineExceeded)
		case <-time.After(time.Minute):
			require.Fail(t, "it waits for ever")
		}
		requireClosedFor(t, g, LaneWrite, time.Minute)
	})
}
