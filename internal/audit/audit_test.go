package audit

import (
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/pressone"
	"esimflow/internal/pressonesim"
	"esimflow/internal/saga"
)

var policy = saga.Policy{
	SubmitTimeout: time.Minute, ListLag: time.Second, SettleDelay: time.Second, AbsenceLooks: 2, RetryInitial: time.Second,
	RetryMax: time.Minute, MaxTries: 12, Deadline: time.Hour, PollInitial: time.Second, PollMax: time.Minute, PollDeadline: time.Hour,
}

const aPackage = "kallur-digital-7days-1gb"

// bench is PressOne, Postgres, and an auditor that does what it is told.
type bench struct {
	*Auditor

	t      *testing.T
	sim    *pressonesim.Server
	client *pressone.Client

	mu    sync.Mutex
	clock time.Time // PressOne's, unless zero
}

func setup(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	b := &bench{t: t}
	sim, err := pressonesim.Start(pressonesim.Config{Now: b.time})
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	b.sim = sim
	b.client, err = pressone.New(pressone.Config{BaseURL: sim.URL(), ClientID: "client", ClientSecret: "secret"})
	require.NoError(t, err)
	t.Cleanup(b.client.Close)
	db, err := pgxpool.New(t.Context(), devstack.Postgres(t))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	b.Auditor = b.auditor(db, "one")
	return b
}

func (b *bench) auditor(db *pgxpool.Pool, name string) *Auditor {
	reg := prometheus.NewRegistry()
	return New(Config{
		DB: db, Store: saga.NewStore(db, saga.NewMetrics(reg)), Policy: policy, Provider: b.client,
		Gate: pressone.NewGate(db, pressone.GateConfig{}), Holder: name, Interval: time.Hour, Window: 48 * time.Hour,
		Wake: func() {}, Published: func() {}, Metrics: NewMetrics(reg), Log: slog.New(slog.DiscardHandler),
	})
}

func (b *bench) time() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.clock.IsZero() {
		return time.Now()
	}
	return b.clock
}

// at sets PressOne's clock.
func (b *bench) at(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = t
}

// audit runs an audit from beginning to end.
func (b *bench) audit() Report {
	b.t.Helper()
	run, err := b.Request(b.t.Context(), time.Time{}, time.Time{}, "ann")
	require.NoError(b.t, err)
	return b.finish(run)
}

func (b *bench) finish(run Run) Report {
	b.t.Helper()
	require.NoError(b.t, b.turn(b.t.Context()))
	r, err := b.Audit(b.t.Context(), run.ID)
	require.NoError(b.t, err)
	require.Equal(b.t, "done", r.State)
	return r
}

// saga makes a saga to which these things have happened.
func (b *bench) saga(id string, events ...saga.Event) saga.Saga {
	b.t.Helper()
	return b.accept(message.Request{Kind: message.Order, RequestID: id, PackageID: aPackage, Quantity: 1}, events...)
}

func (b *bench) accept(r message.Request, events ...saga.Event) saga.Saga {
	b.t.Helper()
	s := saga.New(r, saga.Source{Body: []byte("{}"), Metadata: json.RawMessage("{}")}, time.Now())
	d, err := policy.Decide(s, saga.Event{Name: saga.Accepted}, time.Now(), 0)
	require.NoError(b.t, err)
	_, err = b.Store.Accept(b.t.Context(), []saga.Decision{d})
	require.NoError(b.t, err)
	return b.happen(s.ID, events...)
}

func (b *bench) happen(id uuid.UUID, events ...saga.Event) saga.Saga {
	b.t.Helper()
	for _, e := range events {
		s := b.get(id)
		if e.Name == saga.SubmitStarted { // held, as whoever submits holds it
			s.Worker = uuid.New()
			_, err := b.DB.Exec(b.t.Context(), "UPDATE saga SET worker = $2 WHERE id = $1", s.ID, s.Worker)
			require.NoError(b.t, err)
		}
		if e.Name == saga.Submitted && e.Purchase == nil {
			e.Purchase = &saga.Purchase{Order: b.buy(s.Reference)}
		}
		d, err := policy.Decide(s, e, time.Now(), 0)
		require.NoError(b.t, err)
		require.NoError(b.t, b.Store.Apply(b.t.Context(), d))
	}
	return b.get(id)
}

func (b *bench) get(id uuid.UUID) saga.Saga {
	b.t.Helper()
	s, err := b.Store.Get(b.t.Context(), id)
	require.NoError(b.t, err)
	return s
}

// buy buys at PressOne, behind our back.
func (b *bench) buy(description string) pressone.Order {
	b.t.Helper()
	r, err := b.client.SubmitOrder(b.t.Context(), func() error { return nil }, pressone.OrderRequest{
		PackageID: aPackage, Quantity: 1, Description: description,
	})
	require.NoError(b.t, err)
	return r.Order
}

var (
	bought  = []saga.Event{{Name: saga.SubmitStarted}, {Name: saga.Submitted}}
	unknown = []saga.Event{{Name: saga.SubmitStarted}, {Name: saga.OutcomeUnknown}}
	stopped = append(slices.Clone(unknown), saga.Event{Name: saga.GaveUp, Code: saga.CodeOutcomeUnknown, Class: saga.ClassOutcomeUnknown})
	absent  = append(slices.Clone(unknown), saga.Event{Name: saga.ProvedAbsent})
)

// one is the only finding of a report.
func (b *bench) one(r Report) Finding {
	b.t.Helper()
	require.Len(b.t, r.Findings, 1)
	return r.Findings[0]
}

func TestBooksThatAgree(t *testing.T) {
	b := setup(t)
	for range 3 {
		b.saga(uuid.NewString(), bought...)
	}
	b.buy(b.saga("in flight", saga.Event{Name: saga.SubmitStarted}).Reference)
	b.buy(b.saga("looked up", unknown...).Reference)
	b.saga("waiting")
	r := b.audit()
	require.Empty(t, r.Findings)
	require.EqualValues(t, 5, r.Orders)
	require.EqualValues(t, 3, r.Paired)
	require.EqualValues(t, 2, r.Unsettled)
	require.NotNil(t, r.FinishedAt)
	require.Positive(t, testutil.ToFloat64(b.Metrics.last))
}

func TestOrphans(t *testing.T) {
	t.Run("one with our reference is adopted by its saga", func(t *testing.T) {
		b := setup(t)
		s := b.saga("stopped", stopped...)
		o := b.buy(s.Reference)
		f := b.one(b.audit())
		require.Equal(t, Orphan, f.Finding)
		require.Equal(t, Adopted, f.Status)
		require.Equal(t, s.ID, *f.SagaID)
		now := b.get(s.ID)
		require.Equal(t, saga.Polling, now.State)
		require.Equal(t, o.ID, now.OrderID)
		timeline, err := b.Store.Timeline(t.Context(), s.ID)
		require.NoError(t, err)
		require.Equal(t, "audit", timeline[len(timeline)-1].Actor)
		require.Zero(t, testutil.ToFloat64(b.Metrics.findings.WithLabelValues("orphan")))
		require.Equal(t, 1, int(testutil.ToFloat64(b.Metrics.seen.WithLabelValues("orphan"))))
		require.Empty(t, b.audit().Findings, "the next audit finds nothing")
	})
	t.Run("one whose saga is about to buy it again is adopted in time", func(t *testing.T) {
		b := setup(t)
		s := b.saga("absent", absent...)
		require.Equal(t, saga.Pending, s.State)
		o := b.buy(s.Reference)
		require.Equal(t, Adopted, b.one(b.audit()).Status)
		now := b.get(s.ID)
		require.Equal(t, saga.Polling, now.State)
		require.Equal(t, o.ID, now.OrderID)
	})
	t.Run("the first of two is adopted, and the second is a double", func(t *testing.T) {
		b := setup(t)
		s := b.saga("twice", stopped...)
		first, second := b.buy(s.Reference), b.buy(s.Reference)
		r := b.audit()
		require.Len(t, r.Findings, 2)
		double, orphan := r.Findings[0], r.Findings[1]
		require.Equal(t, Double, double.Finding)
		require.Equal(t, second.ID, double.OrderID)
		require.Equal(t, Open, double.Status)
		require.Contains(t, double.Advice, "refund")
		require.Equal(t, Adopted, orphan.Status)
		require.Equal(t, first.ID, b.get(s.ID).OrderID)
		require.Equal(t, 1, int(testutil.ToFloat64(b.Metrics.findings.WithLabelValues("double"))))

		b.sim.SetOrderStatus(int(second.ID), pressonesim.Refunded)
		require.Empty(t, b.audit().Findings)
		settled, err := b.Findings(t.Context(), Settled, 10)
		require.NoError(t, err)
		require.Equal(t, second.ID, settled[0].OrderID)
	})
	t.Run("one that nobody asked for stays until it is explained", func(t *testing.T) {
		b := setup(t)
		o := b.buy("by hand, for the trade fair")
		f := b.one(b.audit())
		require.Equal(t, Open, f.Status)
		require.Equal(t, o.ID, f.OrderID)
		require.Equal(t, "by hand, for the trade fair", f.Order.Description)
		require.Len(t, f.Order.ICCIDs, 1)
		again := b.one(b.audit())
		require.Equal(t, f.ID, again.ID)
		require.Equal(t, f.FirstSeen, again.FirstSeen)
		done, err := b.Dismiss(t.Context(), f.ID, "ann", "bought by marketing")
		require.NoError(t, err)
		require.Equal(t, Dismissed, done.Status)
		_, err = b.Dismiss(t.Context(), f.ID, "ann", "again")
		require.ErrorContains(t, err, "dismissed already")
		r := b.audit()
		require.Zero(t, r.Open(), "what was dismissed is not opened again")
		_, err = b.Dismiss(t.Context(), uuid.New(), "ann", "x")
		require.ErrorIs(t, err, ErrNotFound)
	})
	t.Run("one of a saga that is gone, after a restore", func(t *testing.T) {
		b := setup(t)
		s := b.saga("lost", bought...)
		_, err := b.DB.Exec(t.Context(), "DELETE FROM saga WHERE id = $1", s.ID)
		require.NoError(t, err)
		f := b.one(b.audit())
		require.Equal(t, Orphan, f.Finding)
		require.Contains(t, f.Why, "restored")
		require.Contains(t, f.Advice, "do not publish its request again")
	})
	t.Run("one of a saga that was erased stays dismissed, and nothing personal is noted of it again", func(t *testing.T) {
		b := setup(t)
		require.NoError(t, b.Store.LoadDigestKey(t.Context()))
		s := b.saga("erased", append(slices.Clone(stopped), saga.Event{Name: saga.WasDiscarded, Actor: "ann"})...)
		o := b.buy(s.Reference)
		f := b.one(b.audit())
		require.Equal(t, []string{o.Sims[0].ICCID}, f.Order.ICCIDs)
		_, err := b.Dismiss(t.Context(), f.ID, "ann", "refunded")
		require.NoError(t, err)
		_, err = b.DB.Exec(t.Context(), "DELETE FROM outbox")
		require.NoError(t, err)
		require.NoError(t, b.Store.Erase(t.Context(), s.ID, "ann", "the customer has left"))
		again := b.one(b.audit())
		require.Equal(t, []any{f.ID, Dismissed, f.Order.Code}, []any{again.ID, again.Status, again.Order.Code})
		require.Empty(t, again.Order.ICCIDs)
		require.Empty(t, again.Order.Description)
	})
	t.Run("one that an operator has adopted is erased with the saga that owns it", func(t *testing.T) {
		b := setup(t)
		require.NoError(t, b.Store.LoadDigestKey(t.Context()))
		o := b.buy("a typo of the reference")
		require.Nil(t, b.one(b.audit()).SagaID)
		s := b.saga("stopped", stopped...)
		p := &saga.Purchase{Order: o}
		b.happen(s.ID, saga.Event{Name: saga.Adopted, Actor: "ann", Purchase: p}, saga.Event{Name: saga.Ready, Purchase: p})
		require.NoError(t, b.turn(t.Context()), "which settles it")
		_, err := b.DB.Exec(t.Context(), "DELETE FROM outbox")
		require.NoError(t, err)
		var q pgx.Batch
		b.Store.Announce(&q, []uuid.UUID{s.ID})
		require.NoError(t, b.DB.SendBatch(t.Context(), &q).Close())
		require.NoError(t, b.Store.Erase(t.Context(), s.ID, "ann", "the customer has left"))
		settled, err := b.Findings(t.Context(), Settled, 10)
		require.NoError(t, err)
		require.Len(t, settled, 1)
		require.Equal(t, OrderData{}, settled[0].Order)
	})
	t.Run("one that its saga does not fit is for an operator", func(t *testing.T) {
		b := setup(t)
		s := b.accept(message.Request{Kind: message.Order, RequestID: "three", PackageID: aPackage, Quantity: 3}, stopped...)
		b.buy(s.Reference)
		f := b.one(b.audit())
		require.Equal(t, Open, f.Status)
		require.Contains(t, f.Why, "quantity 1, not 3")
		require.Equal(t, saga.DeadLettered, b.get(s.ID).State)
	})
	t.Run("one that an operator has adopted is settled at once", func(t *testing.T) {
		b := setup(t)
		o := b.buy("a typo of the reference")
		b.audit()
		s := b.saga("stopped", stopped...)
		b.happen(s.ID, saga.Event{Name: saga.Adopted, Actor: "ann", Purchase: &saga.Purchase{Order: o}})
		require.NoError(t, b.turn(t.Context()))
		require.Zero(t, testutil.ToFloat64(b.Metrics.findings.WithLabelValues("orphan")))
	})
}

func TestDoubles(t *testing.T) {
	b := setup(t)
	s := b.saga("twice", bought...)
	second := b.buy(s.Reference)
	f := b.one(b.audit())
	require.Equal(t, Double, f.Finding)
	require.Equal(t, second.ID, f.OrderID)
	require.Equal(t, "twice", f.RequestID)
	require.NotEqual(t, second.ID, b.get(s.ID).OrderID)
}

func TestPhantoms(t *testing.T) {
	t.Run("an order that PressOne does not know", func(t *testing.T) {
		b := setup(t)
		made := pressone.Order{ID: 4711, PackageID: aPackage, Quantity: 1}
		s := b.saga("made up", saga.Event{Name: saga.SubmitStarted}, saga.Event{Name: saga.Submitted, Purchase: &saga.Purchase{Order: made}})
		f := b.one(b.audit())
		require.Equal(t, Phantom, f.Finding)
		require.EqualValues(t, 4711, f.OrderID)
		require.Equal(t, s.ID, *f.SagaID)
		require.Equal(t, f.ID, b.one(b.audit()).ID)
	})
	t.Run("an order that PressOne says has failed, until it does not", func(t *testing.T) {
		b := setup(t)
		s := b.saga("failed", bought...)
		b.sim.SetOrderStatus(int(s.OrderID), pressonesim.Failed)
		require.Equal(t, Phantom, b.one(b.audit()).Finding)
		b.sim.SetOrderStatus(int(s.OrderID), pressonesim.Completed)
		require.Empty(t, b.audit().Findings)
		all, err := b.Findings(t.Context(), Settled, 10)
		require.NoError(t, err)
		require.Len(t, all, 1)
	})
	t.Run("an order that was bought days after its request was accepted is found on the list of its day", func(t *testing.T) {
		b := setup(t)
		for _, back := range []int{5, 9} { // a replay after an outage, of thousands, is not asked for one by one
			s := b.saga(uuid.NewString(), bought...)
			accepted := saga.FirstID(time.Now().AddDate(0, 0, -back))
			accepted[15] = byte(back)
			_, err := b.DB.Exec(t.Context(), "UPDATE saga SET id = $2 WHERE id = $1", s.ID, accepted)
			require.NoError(t, err)
		}
		run, err := b.Request(t.Context(), time.Now().Add(-10*oneDay), time.Time{}, "ann")
		require.NoError(t, err)
		b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.OrderList, Action: pressonesim.Status, Status: 500, Skip: 8})
		require.Error(t, b.turn(t.Context()), "it is interrupted between the two days")
		b.sim.ClearFaults()
		r := b.finish(run)
		require.Empty(t, r.Findings)
		require.EqualValues(t, 2, r.Paired)
		require.Zero(t, b.sim.Requests(pressonesim.OneOrder))
	})
	t.Run("an order of another day is asked for by itself", func(t *testing.T) {
		b := setup(t)
		b.at(time.Now().Add(-20 * 24 * time.Hour)) // PressOne's time is what it is
		b.saga("old", bought...)
		r := b.audit()
		require.Empty(t, r.Findings)
		require.Zero(t, r.Orders)
		require.Positive(t, b.sim.Requests(pressonesim.OneOrder))
	})
}

// A top-up whose description PressOne has replaced, and whose saga has stopped, is offered
// to it: an operator decides.
func TestATopupThatLostItsName(t *testing.T) {
	b := setup(t)
	b.sim.Tune(func(k *pressonesim.Knobs) { k.TopupDescription = pressonesim.Replaced })
	iccid := pressonesim.DefaultICCIDs()[0]
	r := message.Request{Kind: message.Topup, RequestID: "t", PackageID: "bonbon-mobile-30days-3gb-topup", ICCID: iccid, Quantity: 1}
	s := b.accept(r, unknown...)
	_, err := b.client.SubmitTopup(t.Context(), func() error { return nil }, pressone.TopupRequest{
		PackageID: r.PackageID, ICCID: iccid, Description: s.Reference,
	})
	require.NoError(t, err)
	require.Empty(t, b.audit().Findings, "its saga looks for it")
	b.happen(s.ID, stopped[len(stopped)-1])
	f := b.one(b.audit())
	require.Equal(t, Orphan, f.Finding)
	require.Equal(t, s.ID, *f.SagaID)
	require.Contains(t, f.Advice, "esimctl saga adopt "+s.ID.String())
	require.Equal(t, saga.DeadLettered, b.get(s.ID).State)
}
