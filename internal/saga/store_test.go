package saga

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

type storeBench struct {
	t     *testing.T
	db    *pgxpool.Pool
	store *Store
	lease *Lease
	n     int
}

func setupStore(t *testing.T) *storeBench {
	t.Helper()
	t.Parallel()
	db, err := pgxpool.New(t.Context(), devstack.Postgres(t))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	m := NewMetrics(prometheus.NewRegistry())
	b := &storeBench{t: t, db: db, store: NewStore(db, m), lease: NewLease(db, "test", time.Minute, m)}
	require.NoError(t, b.lease.Renew(t.Context()))
	return b
}

// accept makes a saga; held by this worker if asked for.
func (b *storeBench) accept(r message.Request, held bool) Saga {
	b.t.Helper()
	b.n++
	if r.RequestID == "" {
		r.RequestID = uuid.NewString()
	}
	if r.Kind == "" {
		r.Kind, r.PackageID = message.Order, "p"
	}
	r.Quantity = 1
	s := New(r, Source{Subject: "s", Sequence: uint64(b.n), Body: []byte("{}"), Metadata: []byte("{}")}, time.Now())
	if held {
		s.Worker = b.lease.ID()
	}
	d := b.decide(s, Event{Name: Accepted})
	known, err := b.store.Accept(b.t.Context(), []Decision{d})
	require.NoError(b.t, err)
	require.Equal(b.t, s.ID, known[0].ID)
	return d.After
}

func (b *storeBench) decide(s Saga, e Event) Decision {
	b.t.Helper()
	d, err := testPolicy.Decide(s, e, b.lease.Now(), 0)
	require.NoError(b.t, err)
	return d
}

func (b *storeBench) apply(s Saga, e Event) Saga {
	b.t.Helper()
	d := b.decide(s, e)
	require.NoError(b.t, b.store.Apply(b.t.Context(), d))
	return d.After
}

// claim claims n sagas. The lease's clock may be a moment ahead of Postgres's, and what is
// due now by it may be due in a moment.
func (b *storeBench) claim(n int, states ...State) []Saga {
	b.t.Helper()
	var all []Saga
	require.Eventually(b.t, func() bool {
		more, _, err := b.store.Claim(b.t.Context(), b.lease.ID(), states, 10)
		require.NoError(b.t, err)
		all = append(all, more...)
		return len(all) >= n
	}, 60*time.Second, time.Millisecond)
	require.Len(b.t, all, n)
	return all
}

func bought(id int64) *Purchase {
	return &Purchase{Order: pressone.Order{ID: id, Code: "c", PackageID: "p", Quantity: 1, Price: "4.5", Currency: "USD"}}
}

func TestStore(t *testing.T) {
	t.Run("reads back what it wrote", func(t *testing.T) {
		b := setupStore(t)
		s := b.accept(message.Request{}, true)
		s = b.apply(s, Event{Name: Submitted, Purchase: bought(1), Answer: &Answer{Status: 200, Body: []byte("raw")}, Seen: "x"})
		got, err := b.store.Get(t.Context(), s.ID)
		require.NoError(t, err)
		for _, at := range []struct{ want, got *time.Time }{
			{&s.DueAt, &got.DueAt},
			{&s.DeadlineAt, &got.DeadlineAt},
			{&s.IntentAt, &got.IntentAt},
			{&s.IntentDeadline, &got.IntentDeadline},
			{&s.RequestedAt, &got.RequestedAt},
		} {
			require.WithinDuration(t, *at.want, *at.got, time.Microsecond)
			*at.got = *at.want
		}
		got.CreatedAt, got.Source.Header = s.CreatedAt, s.Source.Header
		require.Equal(t, s, got)
		timeline, err := b.store.Timeline(t.Context(), s.ID)
		require.NoError(t, err)
		require.Len(t, timeline, 2)
		require.Equal(t, Submitted, timeline[1].Event)
	})
	t.Run("lets a stale version or owner change nothing", func(t *testing.T) {
		b := setupStore(t)
		s := b.accept(message.Request{}, true)
		d := b.decide(s, Event{Name: Submitted, Purchase: bought(1)})
		b.apply(s, Event{Name: WorkerLost})
		require.ErrorIs(t, b.store.Apply(t.Context(), d), ErrConflict)

		s = b.accept(message.Request{}, true)
		d = b.decide(s, Event{Name: Submitted, Purchase: bought(2)})
		d.Before.Worker = uuid.New()
		require.ErrorIs(t, b.store.Apply(t.Context(), d), ErrConflict)
		require.ErrorIs(t, b.store.Release(t.Context(), d.Before, time.Now()), ErrConflict)
		got, err := b.store.Get(t.Context(), s.ID)
		require.NoError(t, err)
		require.Equal(t, Submitting, got.State)
	})
	t.Run("tells whether a decision was committed", func(t *testing.T) {
		b := setupStore(t)
		s := b.accept(message.Request{}, true)
		d := b.decide(s, Event{Name: Submitted, Purchase: bought(1)})
		yes, err := b.store.Applied(t.Context(), d)
		require.NoError(t, err)
		require.False(t, yes)
		require.NoError(t, b.store.Apply(t.Context(), d))
		yes, err = b.store.Applied(t.Context(), d)
		require.NoError(t, err)
		require.True(t, yes)
	})
	t.Run("gives one order to one saga", func(t *testing.T) {
		b := setupStore(t)
		b.apply(b.accept(message.Request{}, true), Event{Name: Submitted, Purchase: bought(7)})
		other := b.decide(b.accept(message.Request{}, true), Event{Name: Submitted, Purchase: bought(7)})
		require.ErrorIs(t, b.store.Apply(t.Context(), other), ErrOrderOwned)
	})
	t.Run("lets one top-up of an ICCID be in flight", func(t *testing.T) {
		b := setupStore(t)
		topup := message.Request{Kind: message.Topup, PackageID: "p", ICCID: "8934000000000000001"}
		b.accept(topup, false)
		b.accept(topup, false)
		all := b.claim(2, Pending)
		first := b.apply(all[0], Event{Name: SubmitStarted})
		second := b.decide(all[1], Event{Name: SubmitStarted})
		require.ErrorIs(t, b.store.Apply(t.Context(), second), ErrICCIDBusy)
		first = b.apply(first, Event{Name: OutcomeUnknown})
		require.ErrorIs(t, b.store.Apply(t.Context(), second), ErrICCIDBusy)
		b.apply(first, Event{Name: Found, Purchase: bought(1)})
		require.NoError(t, b.store.Apply(t.Context(), second))
	})
	t.Run("claims what is due and known, once, for a worker that lives", func(t *testing.T) {
		b := setupStore(t)
		s := b.accept(message.Request{}, false)
		b.accept(message.Request{}, true) // held
		_, err := b.db.Exec(t.Context(), `ALTER TABLE saga DROP CONSTRAINT saga_state_check`)
		require.NoError(t, err)
		newer := b.accept(message.Request{}, false)
		_, err = b.db.Exec(t.Context(), `UPDATE saga SET state = 'from_a_newer_version' WHERE id = $1`, newer.ID)
		require.NoError(t, err)

		none, _, err := b.store.Claim(t.Context(), uuid.New(), []State{Pending}, 10)
		require.NoError(t, err)
		require.Empty(t, none, "no lease")
		none, _, err = b.store.Claim(t.Context(), b.lease.ID(), []State{Unknown}, 10)
		require.NoError(t, err)
		require.Empty(t, none, "its lane is closed")
		all := b.claim(1, Pending, Unknown, Polling)
		require.Equal(t, s.ID, all[0].ID)
		require.Equal(t, s.Version+1, all[0].Version)
	})
	t.Run("finds what a dead worker held", func(t *testing.T) {
		b := setupStore(t)
		s := b.accept(message.Request{}, true)
		all, err := b.store.Abandoned(t.Context())
		require.NoError(t, err)
		require.Empty(t, all)
		require.NoError(t, b.lease.Resign(t.Context()))
		all, err = b.store.Abandoned(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Equal(t, s.ID, all[0].ID)
	})
}

func TestLease(t *testing.T) {
	t.Run("is never behind Postgres's clock", func(t *testing.T) {
		b := setupStore(t)
		for range 100 {
			require.NoError(t, b.lease.Renew(t.Context()))
			var now time.Time
			require.NoError(t, b.db.QueryRow(t.Context(), "SELECT now()").Scan(&now))
			require.False(t, b.lease.Now().Before(now))
		}
	})
	t.Run("is not revived under the same id", func(t *testing.T) {
		b := setupStore(t)
		id := b.lease.ID()
		_, err := b.db.Exec(t.Context(), `UPDATE worker SET expires_at = now()`)
		require.NoError(t, err)
		require.NoError(t, b.lease.Renew(t.Context()))
		require.NotEqual(t, id, b.lease.ID())
		require.False(t, b.lease.Runs(id))
		require.True(t, b.lease.Runs(b.lease.ID()))
	})
	t.Run("stops the guard when it runs out, and at the intent's deadline", func(t *testing.T) {
		b := setupStore(t)
		s := Saga{Worker: b.lease.ID(), IntentDeadline: b.lease.Now().Add(time.Minute)}
		require.NoError(t, b.lease.guard(s)())
		s.IntentDeadline = b.lease.Now().Add(-time.Nanosecond)
		require.Error(t, b.lease.guard(s)())
		s.IntentDeadline, s.Worker = b.lease.Now().Add(time.Minute), uuid.New()
		require.ErrorIs(t, b.lease.guard(s)(), ErrLeaseLost)
	})
	t.Run("counts the living", func(t *testing.T) {
		b := setupStore(t)
		other := NewLease(b.db, "other", time.Minute, NewMetrics(prometheus.NewRegistry()))
		require.NoError(t, other.Renew(t.Context()))
		require.Equal(t, 2, other.Workers())
		require.NoError(t, b.lease.Renew(t.Context()))
		require.Equal(t, 2, b.lease.Workers())
		require.NoError(t, other.Resign(context.Background()))
		require.NoError(t, b.lease.Renew(t.Context()))
		require.Equal(t, 1, b.lease.Workers())
	})
}
