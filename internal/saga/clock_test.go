package saga

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// clockAhead is a clock that is found before Postgres's own, and that a test sets.
const clockAhead = `
CREATE SCHEMA ahead;
CREATE TABLE ahead.skew AS SELECT interval '0' AS by;
CREATE FUNCTION ahead.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT pg_catalog.now() + by FROM ahead.skew'`

// stepClock makes b's lease see a clock that is so much ahead.
func (b *storeBench) stepClock(by time.Duration) {
	b.t.Helper()
	_, err := b.db.Exec(b.t.Context(), "UPDATE ahead.skew SET by = make_interval(secs => $1)", by.Seconds())
	require.NoError(b.t, err)
}

func setupClock(t *testing.T) *storeBench {
	t.Helper()
	b := setupStore(t)
	_, err := b.db.Exec(t.Context(), clockAhead)
	require.NoError(t, err)
	cfg := b.db.Config()
	cfg.ConnConfig.RuntimeParams["search_path"] = "ahead, pg_catalog, public"
	db, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(db.Close)
	b.db = db
	b.store = NewStore(b.db, NewMetrics(prometheus.NewRegistry()))
	b.lease = NewLease(b.db, "test", 15*time.Second, NewMetrics(prometheus.NewRegistry()))
	for range 2 { // the first one takes as long as connecting does, and is that much less exact
		require.NoError(t, b.lease.Renew(t.Context()))
	}
	return b
}

func TestLeaseVouches(t *testing.T) {
	t.Run("for the time since its first renewal", func(t *testing.T) {
		b := setupClock(t)
		since := b.lease.Now()
		var before time.Time
		require.NoError(t, b.db.QueryRow(t.Context(), "SELECT started_at - interval '1 second' FROM worker WHERE id = $1", b.lease.ID()).Scan(&before))
		require.NoError(t, b.lease.Renew(t.Context()))
		require.True(t, b.lease.Vouches(since, before))
		require.False(t, b.lease.Vouches(before, before), "nobody was there")
		require.False(t, b.lease.Vouches(since, since.Add(time.Hour)), "that is still to come")
	})
	for name, by := range map[string]time.Duration{
		"ahead by an hour": time.Hour, "ahead by less than a lease": time.Second, "back by an hour": -time.Hour, "back by a second": -time.Second,
	} {
		t.Run("not across a clock that was set "+name, func(t *testing.T) {
			b := setupClock(t)
			since := b.lease.Now()
			b.stepClock(by)
			require.NoError(t, b.lease.Renew(t.Context()))
			late := b.lease.Now()
			if by > 0 {
				require.False(t, b.lease.Vouches(since, time.Time{}))
			}
			b.stepClock(0)
			require.NoError(t, b.lease.Renew(t.Context()))
			if by < 0 {
				require.False(t, b.lease.Vouches(late, time.Time{}))
			}
			now := b.lease.Now()
			require.NoError(t, b.lease.Renew(t.Context()))
			require.True(t, b.lease.Vouches(now, time.Time{}), "from then on")
		})
	}
}

// A worker whose lease runs by its own clock may write although Postgres says that it has
// run out. Whoever takes its saga over waits for that.
func TestTakeoverByAClockThatRanAway(t *testing.T) {
	b := setupClock(t)
	s := b.accept(message.Request{}, true)
	other := &storeBench{t: t, db: b.db, store: b.store, lease: NewLease(b.db, "other", 15*time.Second, NewMetrics(prometheus.NewRegistry()))}
	require.NoError(t, other.lease.Renew(t.Context()))
	r := other.runner(oneProvider{})
	r.LeaseTTL = 15 * time.Second

	b.stepClock(time.Hour)
	require.NoError(t, b.lease.guard(s)(), "it may still write")
	require.NoError(t, r.takeOver(t.Context()))
	lost, err := b.store.Get(t.Context(), s.ID)
	require.NoError(t, err)
	require.Equal(t, Unknown, lost.State)
	now := other.lease.Now()
	require.WithinDuration(t, now.Add(15*time.Second+r.Policy.SettleDelay), lost.DueAt, 5*time.Second)

	b.stepClock(0) // the due time is now an hour away
	require.NoError(t, other.lease.Renew(t.Context()))
	require.NoError(t, r.recall(t.Context()))
	lost, err = b.store.Get(t.Context(), s.ID)
	require.NoError(t, err)
	require.WithinDuration(t, other.lease.Now().Add(r.Policy.longestWait(Unknown)+r.LeaseTTL), lost.DueAt, 10*time.Second)
}

// What a clock that was ahead has put off is brought back; a look's own delay is not cut
// short, however long somebody has made it.
func TestRecall(t *testing.T) {
	b := setupStore(t)
	fresh, lost := b.accept(message.Request{}, false), b.apply(b.accept(message.Request{}, true), Event{Name: OutcomeUnknown})
	_, err := b.db.Exec(t.Context(), "UPDATE saga SET due_at = now() + interval '1 day', look_delay = '20 minutes'")
	require.NoError(t, err)
	n, err := b.store.Recall(t.Context(), 10*time.Minute, 5*time.Minute)
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
	for s, want := range map[uuid.UUID]time.Duration{fresh.ID: 10 * time.Minute, lost.ID: 25 * time.Minute} {
		got, err := b.store.Get(t.Context(), s)
		require.NoError(t, err)
		require.WithinDuration(t, b.lease.Now().Add(want), got.DueAt, 10*time.Second)
	}
	n, err = b.store.Recall(t.Context(), 10*time.Minute, 5*time.Minute)
	require.NoError(t, err)
	require.Zero(t, n)
}

// closedGate lets nobody read.
type closedGate struct{ openGate }

func (closedGate) Enter(context.Context, pressone.Lane) (pressone.Pass, time.Duration, error) {
	return pressone.Pass{}, time.Minute, nil
}

// A saga is claimed before its time, by what its worker knows of Postgres's clock, which has
// been set ahead. The worker learns of that before anything else can come of the look: what
// is due next would otherwise go by the old time, come sooner, and seem to have been waited for.
func TestALookLearnsOfTheClockFirst(t *testing.T) {
	b := setupClock(t)
	r := b.runner(oneProvider{})
	r.Gate = closedGate{}
	s := b.apply(b.accept(message.Request{}, true), Event{Name: OutcomeUnknown, Ended: true})
	s.Worker, s.DeadlineAt = b.lease.ID(), s.DueAt.Add(24*time.Hour)
	b.stepClock(time.Hour)
	_, err := r.lookUp(t.Context(), s)
	require.Error(t, err, "the lane is closed")
	require.False(t, b.lease.Now().Before(s.DueAt.Add(30*time.Minute)), "the lease knows what time it is")
}

// Whoever waits before a closed lane is due when that may be open, however short other waits are, and by
// its worker's clock, which is a little ahead of Postgres's. That is no clock that was set back.
func TestWaitingForTheGateIsPlanned(t *testing.T) {
	b := setupClock(t)
	r := b.runner(oneProvider{})
	r.Policy.RetryMax, r.Policy.PollMax, r.Policy.SubmitTimeout, r.LeaseTTL = time.Second, time.Second, time.Second, 15*time.Second
	pending, unknown := b.accept(message.Request{}, true), b.apply(b.accept(message.Request{}, true), Event{Name: OutcomeUnknown})
	_, err := b.db.Exec(t.Context(), "UPDATE saga SET state = 'pending' WHERE id = $1", pending.ID)
	require.NoError(t, err)
	var wait *postponeError
	require.ErrorAs(t, r.sleep(time.Hour), &wait)
	require.LessOrEqual(t, wait.until.Sub(r.Lease.Now()), spread(r.Policy.longestWait(Pending)), "nor does it sleep on when the lane is opened")
	until := wait.until.Add(time.Second).Truncate(time.Microsecond)
	_, err = b.db.Exec(t.Context(), "UPDATE saga SET worker = NULL, due_at = $1", until)
	require.NoError(t, err)
	require.NoError(t, r.recall(t.Context()))
	for _, s := range []Saga{pending, unknown} {
		got, err := b.store.Get(t.Context(), s.ID)
		require.NoError(t, err)
		require.WithinDuration(t, until, got.DueAt, 0, got.State)
	}
}
