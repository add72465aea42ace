package saga

import (
	"context"
	"errors"
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
		oneProvider{sim: func() (pressone.Sim, error) { return sim, nil }, orders: func() []pressone.Order { return nil }}
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
	}, 30*time.Second, time.Millisecond)
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
				w.done <- errors.Join(<-unheard.done, errors.New("the connection was lost"))
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
}
