package deadletter

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// shop shows one order, whatever it is asked for, and sells one package.
type shop struct {
	order   pressone.Order
	err     error
	balance pressone.Balance
}

func (s *shop) Order(context.Context, int64) (pressone.Order, error) { return s.order, s.err }

func (s *shop) Packages(context.Context) ([]pressone.Package, error) {
	return []pressone.Package{{ID: "p", Price: "9.5"}}, nil
}

func (s *shop) Balance(context.Context) (pressone.Balance, error) { return s.balance, nil }

var policy = saga.Policy{
	SubmitTimeout: time.Minute, ListLag: time.Second, SettleDelay: time.Second, AbsenceLooks: 2, RetryInitial: time.Second,
	RetryMax: time.Minute, MaxTries: 12, Deadline: time.Hour, PollInitial: time.Second, PollMax: time.Minute, PollDeadline: time.Hour,
}

type bench struct {
	*Desk
	t    *testing.T
	shop *shop
}

func setup(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	db, err := pgxpool.New(t.Context(), devstack.Postgres(t))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	b := &bench{t: t, shop: &shop{balance: pressone.Balance{Known: true, Amount: "1000", Currency: "USD"}}}
	b.Desk = NewDesk(Config{
		DB: db, Store: saga.NewStore(db, saga.NewMetrics(prometheus.NewRegistry())), Policy: policy, Provider: b.shop, Metrics: NewMetrics(prometheus.NewRegistry()),
		Wake: func() {}, Published: func() {}, Log: slog.New(slog.DiscardHandler),
	})
	return b
}

// saga makes a saga to which these things have happened.
func (b *bench) saga(id string, events ...saga.Event) saga.Saga {
	b.t.Helper()
	r := message.Request{Kind: message.Order, RequestID: id, PackageID: "p", Quantity: 1}
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
		s, err := b.Store.Get(b.t.Context(), id)
		require.NoError(b.t, err)
		if e.Name == saga.SubmitStarted { // held, as whoever submits holds it
			s.Worker = uuid.New()
			_, err := b.DB.Exec(b.t.Context(), "UPDATE saga SET worker = $2 WHERE id = $1", s.ID, s.Worker)
			require.NoError(b.t, err)
		}
		d, err := policy.Decide(s, e, time.Now(), 0)
		require.NoError(b.t, err)
		require.NoError(b.t, b.Store.Apply(b.t.Context(), d))
	}
	s, err := b.Store.Get(b.t.Context(), id)
	require.NoError(b.t, err)
	return s
}

var (
	unknownStop = []saga.Event{
		{Name: saga.SubmitStarted},
		{Name: saga.OutcomeUnknown},
		{Name: saga.GaveUp, Code: saga.CodeOutcomeUnknown, Class: saga.ClassOutcomeUnknown, Seen: "x"},
	}
	poorStop     = []saga.Event{{Name: saga.SubmitStarted}, {Name: saga.Refused, Code: "11", Class: "insufficient_credit", Seen: "x"}}
	recycledStop = []saga.Event{{Name: saga.SubmitStarted}, {Name: saga.Refused, Code: "73", Class: "recycled", Seen: "x"}}
	ann          = By{Actor: "ann", Reason: "because"}
)

func (b *bench) refused(err error, why string) {
	b.t.Helper()
	got, ok := Refusal(err)
	require.True(b.t, ok, "%v", err)
	require.Contains(b.t, got, why)
}

func TestDesk(t *testing.T) {
	t.Run("replays what a filter chooses, by what is known about the money", func(t *testing.T) {
		b := setup(t)
		poor, recycled, unknown := b.saga("poor", poorStop...), b.saga("recycled", recycledStop...), b.saga("unknown", unknownStop...)
		dry, err := b.Preview(t.Context(), Filter{Kind: message.Order})
		require.NoError(t, err)
		require.Len(t, dry.Set, 3)
		require.Equal(t, []int{3, 1, 2}, []int{dry.Letters, dry.Willing, dry.Refused})
		require.Equal(t, []Money{{Amount: "9.50", Currency: "USD"}}, dry.Cost)
		require.Equal(t, saga.DeadLettered, b.happen(poor.ID).State, "nothing is changed")

		job := b.start(NewReplay{Filter: Filter{Kind: message.Order}, By: ann})
		b.finish(job)
		report := b.report(job)
		for i, l := range report.Set {
			require.Equal(t, dry.Set[i].Why, l.Why)
			require.Equal(t, l.RequestID == "poor", l.State == Released)
		}
		require.Equal(t, []int{1, 2}, []int{report.Done, report.Refused})
		require.Equal(t, saga.Pending, b.happen(poor.ID).State)
		require.Equal(t, saga.DeadLettered, b.happen(recycled.ID).State)

		result, err := b.Replay(t.Context(), unknown.DeadLetter(), ann)
		require.NoError(t, err)
		require.True(t, result.Done, "by itself it is looked up again")
		require.Equal(t, saga.Unknown, b.happen(unknown.ID).State)
		l, err := b.Get(t.Context(), unknown.DeadLetter())
		require.NoError(t, err)
		require.Equal(t, []string{"replayed", "ann", "because"}, []string{l.Status, l.Actor, l.Note})
	})
	t.Run("refuses to replay everything", func(t *testing.T) {
		b := setup(t)
		_, err := b.Start(t.Context(), NewReplay{By: ann})
		require.ErrorIs(t, err, ErrEmptyFilter)
		_, err = b.Preview(t.Context(), Filter{})
		require.ErrorIs(t, err, ErrEmptyFilter)
	})
	t.Run("takes a confirmation for the stop that was seen only", func(t *testing.T) {
		b := setup(t)
		s := b.saga("a", unknownStop...)
		first := s.DeadLetter()
		_, err := b.ConfirmAbsent(t.Context(), s.ID, first, ann)
		require.NoError(t, err)
		b.happen(s.ID, unknownStop...) // submitted again, and not known again
		_, err = b.ConfirmAbsent(t.Context(), s.ID, first, ann)
		b.refused(err, "more than once")
		result, err := b.Replay(t.Context(), first, ann)
		require.NoError(t, err)
		require.False(t, result.Done)
		require.Contains(t, result.Why, "confirmed_absent")
	})
	t.Run("adopts only an order that can be the saga's", func(t *testing.T) {
		b := setup(t)
		other := b.saga("other")
		s := b.saga("a", unknownStop...)
		good := pressone.Order{ID: 7, PackageID: "p", Quantity: 1, Type: "sim", Status: "completed"}
		adopt := func(change func(*pressone.Order)) error {
			b.shop.order = good
			change(&b.shop.order)
			_, err := b.Adopt(t.Context(), s.ID, s.DeadLetter(), 7, ann)
			return err
		}
		b.refused(adopt(func(o *pressone.Order) { o.Status = "failed" }), "not a purchase")
		b.refused(adopt(func(o *pressone.Order) { o.PackageID = "q" }), "package")
		b.refused(adopt(func(o *pressone.Order) { o.Quantity = 2 }), "quantity")
		b.refused(adopt(func(o *pressone.Order) { o.Type = "topup" }), "type")
		b.refused(adopt(func(o *pressone.Order) { o.Description = &other.Reference }), "another saga's reference")
		b.shop.err = &pressone.Error{Status: 401, Disposition: pressone.NotApplied}
		b.refused(adopt(func(*pressone.Order) {}), "does not show")
		b.shop.err = nil
		require.NoError(t, adopt(func(*pressone.Order) {}))
		require.Equal(t, saga.Polling, b.happen(s.ID).State)

		third := b.saga("c", unknownStop...)
		_, err := b.Adopt(t.Context(), third.ID, third.DeadLetter(), 7, ann)
		b.refused(err, "another saga owns")
	})
	t.Run("replays no bytes that would not fit with the id that a replay needs", func(t *testing.T) {
		b := setup(t)
		id := uuid.NewString()
		var q pgx.Batch
		saga.QueueLetter(&q, message.DeadLetter{
			ID: id, Kind: message.Order, Code: "malformed", Class: "malformed", Reason: "x", Purchased: "no", Replayable: true,
			SourceSubject: "esim.request.order", Body: []byte(strings.Repeat("x", message.MaxRequestSize-10)),
		}, "", "")
		require.NoError(t, b.DB.SendBatch(t.Context(), &q).Close())
		result, err := b.Replay(t.Context(), uuid.MustParse(id), ann)
		require.NoError(t, err)
		require.Contains(t, result.Why, "too large")
		require.NoError(t, b.Discard(t.Context(), uuid.MustParse(id), ann))
	})
}
