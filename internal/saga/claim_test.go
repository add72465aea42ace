package saga

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
)

// However many new requests wait, what was begun does not wait behind them: not what is
// bought, not what may be, and not what PressOne has refused for the moment.
func TestWhatWasBegunIsClaimedFirst(t *testing.T) {
	b := setupStore(t)
	for range 20 {
		b.accept(message.Request{}, false)
	}
	bought := b.apply(b.accept(message.Request{}, true), Event{Name: Submitted, Purchase: bought(1)})
	require.NoError(t, b.store.Release(t.Context(), bought, b.lease.Now()))
	refused := b.apply(b.accept(message.Request{}, true), Event{Name: NotApplied, Free: true})
	maybe := b.accept(message.Request{}, true)
	b.apply(maybe, Event{Name: OutcomeUnknown})
	_, err := b.db.Exec(t.Context(), "UPDATE saga SET due_at = now(), worker = NULL WHERE id IN ($1, $2)", refused.ID, maybe.ID)
	require.NoError(t, err)

	claim := func(n int, states ...State) (ids []string) {
		t.Helper()
		all, _, err := b.store.Claim(t.Context(), b.lease.ID(), states, n)
		require.NoError(t, err)
		for _, s := range all {
			ids = append(ids, s.ID.String())
		}
		return ids
	}
	require.Eventually(t, func() bool { // the lease's clock may be a moment ahead of Postgres's
		_, wait, err := b.store.Claim(t.Context(), b.lease.ID(), []State{Polling}, 0)
		return err == nil && wait <= 0
	}, 5*time.Second, time.Millisecond)
	require.ElementsMatch(t, []string{bought.ID.String(), refused.ID.String(), maybe.ID.String()}, claim(3, Pending, Unknown, Polling))
	require.Len(t, claim(4, Pending, Unknown, Polling), 4)
	require.Empty(t, claim(4, Unknown, Polling), "ordering is closed")
	_, err = b.db.Exec(t.Context(), "UPDATE saga SET deadline_at = now() WHERE state = 'pending' AND worker IS NULL")
	require.NoError(t, err)
	require.Len(t, claim(100, Unknown, Polling), 16, "and yet what is late is given up")
}
