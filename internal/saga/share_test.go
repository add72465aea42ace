package saga

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// applyAll applies decisions at once and returns what became of each.
func (b *storeBench) applyAll(decisions []Decision) []error {
	errs := make([]error, len(decisions))
	var wg sync.WaitGroup
	for i, d := range decisions {
		wg.Go(func() { errs[i] = b.store.Apply(b.t.Context(), d) })
	}
	wg.Wait()
	return errs
}

// submitted is n sagas that were answered, the i-th with order i+1.
func (b *storeBench) submitted(n int) (decisions []Decision) {
	b.t.Helper()
	for i := range n {
		s := b.accept(message.Request{}, true)
		decisions = append(decisions, b.decide(s, Event{Name: Submitted, Purchase: bought(int64(i + 1)), Answer: &Answer{Status: 200, Body: []byte("raw")}}))
	}
	return decisions
}

func (b *storeBench) state(id uuid.UUID) State {
	b.t.Helper()
	s, err := b.store.Get(b.t.Context(), id)
	require.NoError(b.t, err)
	return s.State
}

func (b *storeBench) count(sql string, args ...any) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.db.QueryRow(b.t.Context(), sql, args...).Scan(&n))
	return n
}

func TestSharedCommits(t *testing.T) {
	t.Run("a hundred decisions at once take a few commits, and all are there", func(t *testing.T) {
		b := setupStore(t)
		decisions := b.submitted(100)
		commit, gathered := b.store.sharing.commit, make(chan struct{})
		var first atomic.Int64
		b.store.sharing.commit = func(batch []*shared) { // the first commit takes its time, and the others gather
			first.CompareAndSwap(0, int64(len(batch)))
			<-gathered
			commit(batch)
		}
		done := make(chan []error, 1)
		go func() { done <- b.applyAll(decisions) }()
		require.Eventually(t, func() bool {
			b.store.sharing.mu.Lock()
			defer b.store.sharing.mu.Unlock()
			return int(first.Load())+len(b.store.sharing.waiting) == len(decisions)
		}, 60*time.Second, time.Millisecond)
		close(gathered)
		for _, err := range <-done {
			require.NoError(t, err)
		}
		require.Equal(t, 100, b.count("SELECT count(*) FROM saga WHERE state = 'polling'"))
		require.Equal(t, 100, b.count("SELECT count(*) FROM saga_history WHERE event = 'submitted'"))
		require.Equal(t, 100, b.count("SELECT count(*) FROM saga_answer"))
		require.LessOrEqual(t, b.count("SELECT count(DISTINCT xmin::text) FROM saga"), 12)
		require.Equal(t, 2, testutil.CollectAndCount(b.store.metrics.commitSize))
	})
	t.Run("what has been moved meanwhile is not moved, and nothing of it is written", func(t *testing.T) {
		b := setupStore(t)
		decisions := b.submitted(20)
		stale := decisions[7]
		_, err := b.db.Exec(t.Context(), "UPDATE saga SET version = version + 1 WHERE id = $1", stale.id())
		require.NoError(t, err)
		for i, err := range b.applyAll(decisions) {
			if i == 7 {
				require.ErrorIs(t, err, ErrConflict)
				continue
			}
			require.NoError(t, err)
		}
		require.Equal(t, Submitting, b.state(stale.id()))
		require.Zero(t, b.count("SELECT count(*) FROM saga_answer WHERE saga_id = $1", stale.id()))
		require.Zero(t, b.count("SELECT count(*) FROM saga_purchase WHERE saga_id = $1", stale.id()))
		require.Equal(t, 1, b.count("SELECT count(*) FROM saga_history WHERE saga_id = $1", stale.id()))
		require.Equal(t, 19, b.count("SELECT count(*) FROM saga_answer"))
	})
	t.Run("what Postgres refuses fails alone", func(t *testing.T) {
		b := setupStore(t)
		b.apply(b.accept(message.Request{}, true), Event{Name: Submitted, Purchase: bought(5)})
		for i, err := range b.applyAll(b.submitted(20)) {
			if i == 4 {
				require.ErrorIs(t, err, ErrOrderOwned)
				continue
			}
			require.NoError(t, err)
		}
		require.Equal(t, 20, b.count("SELECT count(*) FROM saga WHERE state = 'polling'"))
	})
	t.Run("what cannot be written down fails alone", func(t *testing.T) {
		b := setupStore(t)
		decisions := b.submitted(20)
		decisions[4].After.Purchase.Order.CreatedAt = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
		for i, err := range b.applyAll(decisions) {
			if i == 4 {
				require.True(t, IsData(err), "%v", err)
				continue
			}
			require.NoError(t, err)
		}
	})
	t.Run("what somebody has locked keeps nobody else waiting for long", func(t *testing.T) {
		b := setupStore(t)
		decisions := b.submitted(20)
		locker, err := b.db.Begin(t.Context())
		require.NoError(t, err)
		defer func() { _ = locker.Rollback(t.Context()) }()
		_, err = locker.Exec(t.Context(), "SELECT FROM saga WHERE id = $1 FOR UPDATE", decisions[3].id())
		require.NoError(t, err)
		for i, err := range b.applyAll(decisions) {
			if i == 3 {
				require.Error(t, err)
				continue
			}
			require.NoError(t, err)
		}
	})
	t.Run("what waits for somebody else's order keeps nobody else from being written", func(t *testing.T) {
		b := setupStore(t)
		other := b.accept(message.Request{}, true)
		decisions := b.submitted(20)
		locker, err := b.db.Begin(t.Context())
		require.NoError(t, err)
		defer func() { _ = locker.Rollback(t.Context()) }()
		_, err = locker.Exec(t.Context(), "UPDATE saga SET order_id = 4 WHERE id = $1", other.ID)
		require.NoError(t, err)
		for i, err := range b.applyAll(decisions) {
			if i == 3 {
				require.Error(t, err)
				continue
			}
			require.NoError(t, err)
		}
	})
	t.Run("two decisions about one saga do not share one: the second is a conflict", func(t *testing.T) {
		b := setupStore(t)
		d := b.submitted(1)[0]
		errs := b.applyAll([]Decision{d, d, d})
		var conflicts int
		for _, err := range errs {
			if err != nil {
				require.ErrorIs(t, err, ErrConflict)
				conflicts++
			}
		}
		require.Equal(t, 2, conflicts)
	})
}

// Whatever comes in whatever order, each is committed once, no commit has two of one saga,
// and those of one saga are committed in their order.
func TestSharingLaw(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sagas := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 700).Draw(t, "sagas")
		ids := make([]uuid.UUID, 6)
		for i := range ids {
			ids[i] = uuid.New()
		}
		var mu sync.Mutex
		last := map[uuid.UUID]int{}
		committed := 0
		var fault string
		q := &sharing{}
		q.commit = func(batch []*shared) {
			mu.Lock()
			defer mu.Unlock()
			seen := map[uuid.UUID]bool{}
			if len(batch) > maxShared {
				fault = fmt.Sprint("a commit of ", len(batch))
			}
			for _, w := range batch {
				id := w.decision.id()
				if seen[id] || w.decision.After.Attempts <= last[id] {
					fault = "two of one saga, or out of order"
				}
				seen[id], last[id] = true, w.decision.After.Attempts
				committed++
				w.done <- nil
			}
		}
		var waiting []*shared
		for i, n := range sagas {
			waiting = append(waiting, q.add(t.Context(), Decision{After: Saga{ID: ids[n], Attempts: i + 1}}, nil))
		}
		for _, w := range waiting {
			if err := <-w.done; err != nil {
				t.Fatal(err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if fault != "" || committed != len(sagas) {
			t.Fatal(fault, committed, len(sagas))
		}
	})
}

// PressOne's answer is kept as it came, and tells what was bought: that is not written a
// second time. An answer that is not about the saga's order tells nothing.
func TestAnswersTellWhatWasBought(t *testing.T) {
	b := setupStore(t)
	body := []byte(`{"data":{"id":7,"code":"c","package_id":"p","quantity":1,"type":"sim","price":"4.50","currency":"USD","created_at":"2026-01-01 00:00:00",
		"sims":[{"iccid":"8901234567890123456","lpa":"l","matching_id":"m","qrcode":"q"}]}}`)
	order, err := pressone.ReadOrder(body)
	require.NoError(t, err)
	s := b.accept(message.Request{}, true)
	require.NoError(t, b.store.KeepAnswer(t.Context(), s.ID, 1, Answer{Status: 200, Body: []byte(`{"data":{"id":8}}`)}))
	s = b.apply(s, answered(s, pressone.Receipt{Order: order, Raw: body, Status: 200}, nil))
	require.Zero(t, b.count("SELECT count(*) FROM saga_purchase"))
	got, err := b.store.Get(t.Context(), s.ID)
	require.NoError(t, err)
	require.Equal(t, s.Purchase, got.Purchase)

	more := got.Purchase.clone()
	more.Confirmed = []string{"8901234567890123456"}
	s = b.apply(s, Event{Name: NotReady, Purchase: more})
	require.Equal(t, 1, b.count("SELECT count(*) FROM saga_purchase"), "what was confirmed is not asked for again")
	got, err = b.store.Get(t.Context(), s.ID)
	require.NoError(t, err)
	require.Equal(t, more.Confirmed, got.Purchase.Confirmed)
}
