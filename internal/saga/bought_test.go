package saga

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// installable is an order of one eSIM, and a PressOne that says it can be installed.
func installable(id int64) (Event, oneProvider) {
	sim := pressone.Sim{ICCID: "8901234567890123456", LPA: "rsp.example", MatchingID: "M", QRCode: "LPA:1$rsp.example$M"}
	order := bought(id).Order
	order.Quantity, order.Sims = 1, []pressone.Sim{sim}
	return answered(Saga{}, pressone.Receipt{Order: order, Status: 200, Raw: []byte("raw")}, nil),
		oneProvider{sim: func(context.Context) (pressone.Sim, error) { return sim, nil }, orders: func() []pressone.Order { return nil }}
}

// joined has r commit a purchase while another commit is under way, waits until the poll's
// result shares its own, and lets go.
func (b *storeBench) joined(r *Runner, s Saga, e Event) (next Saga, pending Event, err error) {
	b.t.Helper()
	other := b.submitted(1)[0]
	commit, begun, letGo := b.store.sharing.commit, make(chan struct{}), make(chan struct{})
	first := true
	b.store.sharing.commit = func(batch []*shared) {
		if first {
			first = false
			close(begun)
			<-letGo
		}
		commit(batch)
	}
	ended := make(chan error, 2)
	go func() { ended <- b.store.Apply(context.Background(), other) }()
	<-begun
	go func() {
		var boughtErr error
		next, pending, boughtErr = r.bought(context.Background(), context.Background(), s, e)
		err = boughtErr
		ended <- nil
	}()
	require.Eventually(b.t, func() bool {
		b.store.sharing.mu.Lock()
		defer b.store.sharing.mu.Unlock()
		return len(b.store.sharing.waiting) == 1 && len(b.store.sharing.waiting[0].decision.Earlier) == 1
	}, 60*time.Second, time.Millisecond)
	close(letGo)
	require.NoError(b.t, <-ended)
	require.NoError(b.t, <-ended)
	return next, pending, err
}

func TestBought(t *testing.T) {
	t.Run("and ready meanwhile, it takes one commit", func(t *testing.T) {
		b := setupStore(t)
		e, p := installable(500)
		next, pending, err := b.joined(b.runner(p), b.accept(message.Request{}, true), e)
		require.NoError(t, err)
		require.Empty(t, pending.Name)
		require.Equal(t, Notifying, next.State)
		require.Equal(t, []EventName{Accepted, Submitted, Ready}, b.events(next.ID))
		require.Equal(t, 1, b.count("SELECT count(DISTINCT xmin::text) FROM saga_history WHERE saga_id = $1 AND event <> 'accepted'", next.ID))
		require.Equal(t, 1, b.count("SELECT count(*) FROM saga_answer WHERE saga_id = $1", next.ID))
		require.Equal(t, 1, b.count("SELECT count(*) FROM outbox WHERE saga_id = $1", next.ID))
		stored, err := b.store.Get(t.Context(), next.ID)
		require.NoError(t, err)
		require.Equal(t, next.Version, stored.Version)
	})
	t.Run("it is owned by one saga, also when it was ready meanwhile", func(t *testing.T) {
		b := setupStore(t)
		b.apply(b.accept(message.Request{}, true), Event{Name: Submitted, Purchase: bought(501)})
		e, p := installable(501)
		next, _, err := b.joined(b.runner(p), b.accept(message.Request{}, true), e)
		require.NoError(t, err)
		require.Equal(t, DeadLettered, next.State)
		require.Equal(t, Unknown, next.StoppedIn)
		require.Equal(t, 1, b.count("SELECT count(*) FROM saga_answer WHERE saga_id = $1", next.ID))
	})
	t.Run("a result that Postgres does not take does not lose the order", func(t *testing.T) {
		b := setupStore(t)
		_, err := b.db.Exec(t.Context(), "ALTER TABLE outbox ADD CHECK (saga_id IS NULL)")
		require.NoError(t, err)
		e, p := installable(502)
		next, pending, err := b.joined(b.runner(p), b.accept(message.Request{}, true), e)
		require.NoError(t, err)
		require.Empty(t, pending.Name)
		require.Equal(t, Polling, next.State)
		require.Equal(t, int64(502), b.eventually(Polling, next.ID).OrderID)
	})
	t.Run("a commit whose answer was lost is found out about", func(t *testing.T) {
		b := setupStore(t)
		e, p := installable(503)
		r := b.runner(p)
		commit := b.store.sharing.commit
		b.store.sharing.commit = func(batch []*shared) {
			if w := batch[0]; len(w.decision.Earlier) > 0 {
				unheard := &shared{decision: w.decision, done: make(chan error, 1)}
				commit([]*shared{unheard})
				w.end(errors.Join(<-unheard.done, errors.New("the connection was lost")))
				return
			}
			commit(batch)
		}
		s := b.accept(message.Request{}, true)
		next, pending, err := b.joined(r, s, e)
		require.NoError(t, err)
		require.Empty(t, pending.Name)
		require.Equal(t, Polling, next.State, "as far as we know")
		require.Equal(t, int64(503), b.eventually(Notifying, s.ID).OrderID)
		require.Equal(t, []EventName{Accepted, Submitted, Ready}, b.events(s.ID))
		require.Equal(t, 1, b.count("SELECT count(*) FROM outbox WHERE saga_id = $1", s.ID))
	})
	// The commit fails while PressOne takes its time to answer the poll. What was bought is on record nowhere: it is written
	// again at once, and the poll comes to an end.
	t.Run("it is written again before the poll is answered", func(t *testing.T) {
		b := setupStore(t)
		e, p := installable(504)
		answer := make(chan struct{})
		sim := p.sim
		p.sim = func(ctx context.Context) (pressone.Sim, error) {
			select {
			case <-answer:
				return sim(ctx)
			case <-ctx.Done():
				return pressone.Sim{}, context.Cause(ctx)
			}
		}
		p.submit = func(context.Context, pressone.Guard) (pressone.Receipt, error) {
			return pressone.Receipt{Order: e.Purchase.Order, Status: e.Answer.Status, Raw: e.Answer.Body}, nil
		}
		commit, failed := b.store.sharing.commit, false
		b.store.sharing.commit = func(batch []*shared) {
			if batch[0].decision.Entry.Event == Submitted && !failed {
				failed = true
				batch[0].end(errors.New("Postgres was away"))
				return
			}
			commit(batch)
		}
		s := b.accept(message.Request{}, false)
		b.run(b.runner(p))
		require.Equal(t, int64(504), b.eventually(Polling, s.ID).OrderID)
		close(answer)
		b.eventually(Notifying, s.ID)
		require.Equal(t, []EventName{Accepted, SubmitStarted, Submitted, Ready}, b.events(s.ID))
	})
}

// Whatever PressOne takes for the time of an order, its result can be stored and announced, and nobody else's commit fails for it.
func TestAnOrderOfAnyTimeIsAnnounced(t *testing.T) {
	b := setupStore(t)
	for i, at := range []string{"9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00", "9999-12-31 23:59:59", "0000-00-00 00:00:00", "0001-01-01"} {
		order, err := pressone.ReadOrder(fmt.Appendf(nil, `{"data":{"id":%d,"package_id":"p","quantity":1,"created_at":%q,"sims":[{"iccid":"8901234567890123456"}]}}`, i+1, at))
		require.NoError(t, err)
		s := b.apply(b.accept(message.Request{}, true), Event{Name: Submitted, Purchase: &Purchase{Order: order}})
		require.Equal(t, Notifying, b.apply(s, Event{Name: Ready, Purchase: &Purchase{Order: order}}).State, at)
	}
}
