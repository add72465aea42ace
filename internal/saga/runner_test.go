package saga

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// oneProvider delegates to functions: these tests are about what surrounds the calls.
type oneProvider struct {
	submit func(ctx context.Context, guard pressone.Guard) (pressone.Receipt, error)
	orders func() []pressone.Order
	sim    func(ctx context.Context) (pressone.Sim, error) // nil: it cannot be had
}

func (p oneProvider) SubmitOrder(ctx context.Context, g pressone.Guard, _ pressone.OrderRequest) (pressone.Receipt, error) {
	return p.submit(ctx, g)
}

func (p oneProvider) SubmitTopup(ctx context.Context, g pressone.Guard, _ pressone.TopupRequest) (pressone.Receipt, error) {
	return p.submit(ctx, g)
}

func (p oneProvider) Orders(context.Context, pressone.OrderFilter) ([]pressone.Order, error) {
	return p.orders(), nil
}

func (p oneProvider) Order(context.Context, int64) (pressone.Order, error) {
	return pressone.Order{}, &pressone.Error{Disposition: pressone.Unknown}
}

func (p oneProvider) Sim(ctx context.Context, _ string) (pressone.Sim, error) {
	if p.sim != nil {
		return p.sim(ctx)
	}
	return pressone.Sim{}, &pressone.Error{Disposition: pressone.Unknown}
}

func (oneProvider) Authorize(context.Context) error { return nil }

func (p oneProvider) Topups(context.Context, string) ([]pressone.Package, error) { return nil, nil }

// openGate never closes.
type openGate struct{}

func (openGate) ClosedFor(pressone.Lane) time.Duration { return 0 }

func (openGate) Room(pressone.Lane) int { return pressone.Unlimited }

func (openGate) Paused(message.Kind) bool { return false }

func (openGate) Pass(pressone.Lane) pressone.Pass { return pressone.Pass{} }

func (openGate) Enter(context.Context, pressone.Lane) (pressone.Pass, time.Duration, error) {
	return pressone.Pass{}, 0, nil
}

func (openGate) Leave(context.Context, pressone.Pass, error) (bool, error) { return false, nil }

func (openGate) Drop(context.Context, pressone.Pass) error { return nil }

func (openGate) Wait(context.Context) error { return nil }

func (b *storeBench) runner(p oneProvider) *Runner {
	policy := testPolicy
	policy.RetryInitial, policy.SettleDelay, policy.ListLag = 10*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond
	return NewRunner(RunnerConfig{
		Policy: policy, MaxInFlight: 4, Eager: true, LeaseTTL: time.Minute, Budget: 5 * time.Second,
		Store: b.store, Lease: b.lease, Provider: p, Gate: openGate{}, Limiter: openGate{},
		Published: func() {}, Beat: func(context.Context, int) error { return nil }, Log: slog.New(slog.DiscardHandler),
	})
}

func (b *storeBench) run(r *Runner) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-r.Started()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(b.t, <-done)
		})
	}
	b.t.Cleanup(stop)
	return stop
}

func (b *storeBench) eventually(state State, id uuid.UUID) Saga {
	b.t.Helper()
	var s Saga
	require.Eventually(b.t, func() bool {
		var err error
		s, err = b.store.Get(b.t.Context(), id)
		return err == nil && s.State == state
	}, time.Minute, 5*time.Millisecond, "it is not %s", state)
	return s
}

// events lists what happened to a saga.
func (b *storeBench) events(id uuid.UUID) (names []EventName) {
	b.t.Helper()
	timeline, err := b.store.Timeline(b.t.Context(), id)
	require.NoError(b.t, err)
	for _, e := range timeline {
		names = append(names, e.Event)
	}
	return names
}

func TestRunner(t *testing.T) {
	t.Run("records a late answer after it was taken over", func(t *testing.T) {
		b := setupStore(t)
		posted, answer := make(chan struct{}), make(chan struct{})
		r := b.runner(oneProvider{submit: func(context.Context, pressone.Guard) (pressone.Receipt, error) {
			close(posted)
			<-answer
			return pressone.Receipt{Order: bought(77).Order, Status: 200, Raw: []byte("raw")}, nil
		}})
		s := b.accept(message.Request{}, false)
		b.run(r)
		<-posted
		taken, err := b.store.Get(t.Context(), s.ID)
		require.NoError(t, err)
		b.apply(taken, Event{Name: WorkerLost, Seen: "as if by another worker"}) // due in more than a minute
		close(answer)
		s = b.eventually(Polling, s.ID)
		require.Equal(t, int64(77), s.OrderID)
		require.Equal(t, []EventName{Accepted, SubmitStarted, WorkerLost, Found}, b.events(s.ID)[:4])
	})
	t.Run("leaves to others what it submits yet under a lease that it has lost", func(t *testing.T) {
		b := setupStore(t)
		posted, answer := make(chan struct{}), make(chan struct{})
		r := b.runner(oneProvider{submit: func(context.Context, pressone.Guard) (pressone.Receipt, error) {
			close(posted)
			<-answer
			return pressone.Receipt{}, &pressone.Error{Disposition: pressone.Unknown}
		}})
		s := b.accept(message.Request{}, false)
		b.run(r)
		t.Cleanup(func() { close(answer) })
		<-posted
		taken, err := b.store.Get(t.Context(), s.ID)
		require.NoError(t, err)
		version := b.apply(taken, Event{Name: WorkerLost, Seen: "as if by another worker"}).Version
		b.lease.Forsake()
		require.NoError(t, b.lease.Renew(t.Context()))
		_, err = b.db.Exec(t.Context(), "UPDATE saga SET due_at = now()")
		require.NoError(t, err)
		r.Wake()
		require.Eventually(t, func() bool { // claimed, and given back
			return b.count("SELECT count(*) FROM saga WHERE version > $1 AND worker IS NULL AND due_at > now()", version) == 1
		}, time.Minute, time.Millisecond)
	})
	t.Run("takes a late answer for what it is although the order was taken for absent", func(t *testing.T) {
		b := setupStore(t)
		posted, answer := make(chan struct{}), make(chan struct{})
		r := b.runner(oneProvider{submit: func(context.Context, pressone.Guard) (pressone.Receipt, error) {
			close(posted) // a second submission would panic
			<-answer
			return pressone.Receipt{Order: bought(81).Order, Status: 200, Raw: []byte("raw")}, nil
		}})
		s := b.accept(message.Request{}, false)
		b.run(r)
		<-posted
		taken, err := b.store.Get(t.Context(), s.ID)
		require.NoError(t, err)
		lost := b.apply(taken, Event{Name: WorkerLost, Seen: "as if by another worker"})
		d, err := testPolicy.Decide(lost, Event{Name: ProvedAbsent, Seen: "PressOne breaks its bounds"}, b.lease.Now().Add(time.Hour), 0.5)
		require.NoError(t, err)
		require.NoError(t, b.store.Apply(t.Context(), d)) // due in an hour
		close(answer)
		s = b.eventually(Polling, s.ID)
		require.Equal(t, int64(81), s.OrderID)
		require.Equal(t, []EventName{Accepted, SubmitStarted, WorkerLost, ProvedAbsent, Found}, b.events(s.ID)[:5])
	})
	t.Run("keeps going when PressOne's texts hold what Postgres refuses", func(t *testing.T) {
		b := setupStore(t)
		order := bought(78).Order
		order.Code, order.Currency = "a\x00b", "\xff\x00"
		r := b.runner(oneProvider{submit: func(context.Context, pressone.Guard) (pressone.Receipt, error) {
			return pressone.Receipt{Order: order, Status: 200, Raw: []byte("raw\x00")}, nil
		}})
		s := b.accept(message.Request{}, false)
		b.run(r)
		require.Equal(t, int64(78), b.eventually(Polling, s.ID).OrderID)
	})
	t.Run("submits nothing again when PressOne names an order that another saga owns", func(t *testing.T) {
		b := setupStore(t)
		b.apply(b.accept(message.Request{}, true), Event{Name: Submitted, Purchase: bought(79)})
		posts := 0
		r := b.runner(oneProvider{
			submit: func(context.Context, pressone.Guard) (pressone.Receipt, error) {
				posts++
				return pressone.Receipt{Order: bought(79).Order, Status: 200, Raw: []byte("raw")}, nil
			},
			orders: func() []pressone.Order { return nil },
		})
		s := b.accept(message.Request{}, false)
		stop := b.run(r)
		s = b.eventually(DeadLettered, s.ID)
		stop()
		require.Equal(t, Unknown, s.StoppedIn)
		require.Equal(t, 1, posts)
	})
	t.Run("looks again when the order that was found has got its owner meanwhile", func(t *testing.T) {
		b := setupStore(t)
		r := b.runner(oneProvider{})
		b.apply(b.accept(message.Request{}, true), Event{Name: Submitted, Purchase: bought(80)})
		s := b.apply(b.accept(message.Request{}, true), Event{Name: OutcomeUnknown})
		next, err := r.apply(t.Context(), s, found(bought(80).Order, "nameless"))
		require.NoError(t, err)
		require.Equal(t, Unknown, next.State)
		require.Equal(t, LookupFailed, b.events(s.ID)[2])
	})
	t.Run("puts an intent that was not sent back when it is stopped", func(t *testing.T) {
		b := setupStore(t)
		r := b.runner(oneProvider{})
		s := b.accept(message.Request{}, true)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		e, err := r.perform(ctx, t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, NotApplied, e.Name)
		s = b.apply(s, e)
		require.Equal(t, Pending, s.State)
		require.Zero(t, s.Tries)
	})
	t.Run("never leaves a submitting saga without an owner", func(t *testing.T) {
		b := setupStore(t)
		s := b.accept(message.Request{}, false)
		s.Worker, s.DueAt = b.lease.ID(), b.lease.Now().Add(time.Hour) // as if Postgres's clock had been ahead when it was claimed
		d := b.decide(s, Event{Name: SubmitStarted})
		require.Equal(t, s.Worker, d.After.Worker)
		require.True(t, d.After.DueAt.IsZero())
	})
	t.Run("hands on what was accepted and not told", func(t *testing.T) {
		b := setupStore(t)
		r := b.runner(oneProvider{})
		s := b.accept(message.Request{}, true) // committed, and its process never heard of it
		require.NoError(t, r.sweep(t.Context()))
		s, err := b.store.Get(t.Context(), s.ID)
		require.NoError(t, err)
		require.Equal(t, Unknown, s.State)
		require.Equal(t, uuid.Nil, s.Worker)
	})
	t.Run("takes over what a dead worker held, but not what it still works on itself", func(t *testing.T) {
		b := setupStore(t)
		r := b.runner(oneProvider{})
		lost, ours := b.accept(message.Request{}, true), b.accept(message.Request{}, true)
		r.held.add(ours.ID)
		_, err := b.db.Exec(t.Context(), "UPDATE worker SET expires_at = now()")
		require.NoError(t, err)
		require.NoError(t, r.takeOver(t.Context()))
		require.Equal(t, Unknown, b.eventually(Unknown, lost.ID).State)
		require.Equal(t, Submitting, b.eventually(Submitting, ours.ID).State)
	})
	t.Run("passes by a row that a frozen process has locked", func(t *testing.T) {
		b := setupStore(t)
		r := b.runner(oneProvider{})
		locked, other := b.accept(message.Request{}, true), b.accept(message.Request{}, true)
		_, err := b.db.Exec(t.Context(), "UPDATE worker SET expires_at = now()")
		require.NoError(t, err)
		frozen, err := b.db.Begin(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { _ = frozen.Rollback(context.Background()) })
		require.NoError(t, Durable(t.Context(), frozen))
		_, err = frozen.Exec(t.Context(), "SELECT FROM saga WHERE id = $1 FOR UPDATE", locked.ID)
		require.NoError(t, err)
		if r.takeOver(t.Context()) == nil { // so late that Postgres had ended the frozen session
			require.Error(t, frozen.Conn().Ping(t.Context()))
		}
		b.eventually(Unknown, other.ID)
		require.Eventually(t, func() bool { // Postgres ends the frozen session
			return r.takeOver(t.Context()) == nil
		}, 60*time.Second, 100*time.Millisecond)
		b.eventually(Unknown, locked.ID)
		require.Error(t, frozen.Commit(t.Context()))
	})
	t.Run("gives room back", func(t *testing.T) {
		b := setupStore(t)
		r := b.runner(oneProvider{submit: func(context.Context, pressone.Guard) (pressone.Receipt, error) {
			return pressone.Receipt{}, &pressone.Error{Disposition: pressone.Refused, Code: "33"}
		}})
		b.run(r)
		require.Eventually(t, func() bool {
			a := r.Admit(message.Order, 100, time.Time{})
			defer a.Cancel()
			return a.Room == 3 && r.Admit(message.Topup, 100, time.Time{}).Room == 0
		}, 60*time.Second, time.Millisecond)
		var a *Admission
		require.Eventually(t, func() bool {
			if a = r.Admit(message.Order, 4, time.Time{}); a.Room > 0 {
				return true
			}
			a.Cancel()
			return false
		}, 60*time.Second, time.Millisecond)
		s := New(message.Request{Kind: message.Order, RequestID: "r", PackageID: "p", Quantity: 1}, Source{Body: []byte("{}"), Metadata: []byte("{}")}, time.Now())
		s.Worker = a.Worker
		d := b.decide(s, Event{Name: Accepted})
		_, err := b.store.Accept(t.Context(), []Decision{d})
		require.NoError(t, err)
		a.Start([]Saga{d.After}, false)
		b.eventually(DeadLettered, s.ID)
		require.Eventually(t, func() bool {
			a := r.Admit(message.Order, 100, time.Time{})
			defer a.Cancel()
			return a.Room == 3
		}, 60*time.Second, time.Millisecond)
	})
	t.Run("has no room before it runs", func(t *testing.T) {
		b := setupStore(t)
		require.Zero(t, b.runner(oneProvider{}).Admit(message.Order, 10, time.Time{}).Room)
	})
}
