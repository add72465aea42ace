package saga

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
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
	}, 60*time.Second, time.Millisecond)
	require.ElementsMatch(t, []string{bought.ID.String(), refused.ID.String(), maybe.ID.String()}, claim(3, Pending, Unknown, Polling))
	require.Len(t, claim(4, Pending, Unknown, Polling), 4)
	require.Empty(t, claim(4, Unknown, Polling), "ordering is closed")
	_, err = b.db.Exec(t.Context(), "UPDATE saga SET deadline_at = now() WHERE state = 'pending' AND worker IS NULL")
	require.NoError(t, err)
	require.Len(t, claim(100, Unknown, Polling), 16, "and yet what is late is given up")
}

// Top-ups are paused. Those that were not submitted yet are not claimed, neither new ones nor those that PressOne has refused for the
// moment; orders are, and so is every top-up that was or may have been bought, to be polled or looked up. What is late is given
// up all the same. Nothing is due for whoever waits for the next.
func TestPausedKindsAreNotClaimed(t *testing.T) {
	b := setupStore(t)
	topup := message.Request{Kind: message.Topup, ICCID: "8934000000000008728"}
	fresh := b.accept(topup, false)
	topup.ICCID = "8934000000000008729"
	refused := b.apply(b.accept(topup, true), Event{Name: NotApplied, Free: true})
	topup.ICCID = "8934000000000008730"
	maybe := b.apply(b.accept(topup, true), Event{Name: OutcomeUnknown})
	topup.ICCID = "8934000000000008731"
	bought := b.apply(b.accept(topup, true), Event{Name: Submitted, Purchase: bought(1)})
	_, err := b.db.Exec(t.Context(), "UPDATE saga SET due_at = now(), worker = NULL WHERE id = ANY($1)", []uuid.UUID{refused.ID, maybe.ID, bought.ID})
	require.NoError(t, err)
	_, err = b.db.Exec(t.Context(), "UPDATE saga SET due_at = now()")
	require.NoError(t, err)
	claim := func(paused ...message.Kind) (ids []uuid.UUID, next time.Duration) {
		t.Helper()
		all, next, err := b.store.Claim(t.Context(), b.lease.ID(), []State{Pending, Unknown, Polling}, 100, paused...)
		require.NoError(t, err)
		for _, s := range all {
			ids = append(ids, s.ID)
		}
		return ids, next
	}
	ids, next := claim(message.Topup)
	require.ElementsMatch(t, []uuid.UUID{maybe.ID, bought.ID}, ids)
	require.Greater(t, next, time.Minute)
	order := b.accept(message.Request{}, false)
	_, err = b.db.Exec(t.Context(), "UPDATE saga SET due_at = now() WHERE id = $1", order.ID)
	require.NoError(t, err)
	ids, _ = claim(message.Topup, message.Order)
	require.Empty(t, ids)
	ids, _ = claim(message.Topup)
	require.Equal(t, []uuid.UUID{order.ID}, ids)
	waiting, err := b.store.Waiting(t.Context())
	require.NoError(t, err)
	require.Equal(t, []Waiting{{Kind: message.Topup, Count: 2}}, waiting)

	_, err = b.db.Exec(t.Context(), "UPDATE saga SET deadline_at = now() WHERE id = $1", fresh.ID)
	require.NoError(t, err)
	ids, _ = claim(message.Topup)
	require.Equal(t, []uuid.UUID{fresh.ID}, ids, "it is late")
	ids, _ = claim()
	require.Equal(t, []uuid.UUID{refused.ID}, ids)
}

const thousandsSQL = `
INSERT INTO saga (id, kind, request_id, reference, fingerprint, package_id, quantity, state, requested_at, due_at, deadline_at)
SELECT gen_random_uuid(), 'order', 'r' || n, 'ref' || n, '', 'p', 1, 'pending', now(), now() - interval '1 hour', now() + interval '1 hour'
FROM generate_series(1, 5000) AS n`

// Orders are paused and pile up, all of them older than a top-up that may be claimed. Postgres does not go through them to find it.
func TestPausedRequestsAreNotSteppedOver(t *testing.T) {
	b := setupStore(t)
	_, err := b.db.Exec(t.Context(), thousandsSQL)
	require.NoError(t, err)
	_, err = b.db.Exec(t.Context(), "ANALYZE saga")
	require.NoError(t, err)
	topup := b.accept(message.Request{Kind: message.Topup, ICCID: "8934000000000008728"}, false)
	_, err = b.db.Exec(t.Context(), "UPDATE saga SET due_at = now() - interval '1 second' WHERE id = $1", topup.ID)
	require.NoError(t, err)
	states, paused, open := []State{Pending, Unknown, Polling}, []message.Kind{message.Order}, []message.Kind{message.Topup}
	for sql, args := range map[string][]any{claimSQL: {b.lease.ID(), states, 10, paused, open}, nextDueSQL: {states, paused}} {
		tx, err := b.db.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), plannedSQL)
		require.NoError(t, err)
		rows, err := tx.Query(t.Context(), "EXPLAIN (ANALYZE, TIMING OFF) "+sql, args...)
		require.NoError(t, err)
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		require.NoError(t, tx.Rollback(t.Context()))
		require.NotRegexp(t, `Rows Removed by Filter: \d{3}`, strings.Join(plan, "\n"))
	}
	all, _, err := b.store.Claim(t.Context(), b.lease.ID(), states, 10, paused...)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, topup.ID, all[0].ID)
}

// Both lanes are closed, so that there is no state to claim sagas in. Those past their deadline are given up all the same.
func TestLateSagasAreClaimedWhileAllIsClosed(t *testing.T) {
	b := setupStore(t)
	late := b.accept(message.Request{}, false)
	b.accept(message.Request{}, false)
	_, err := b.db.Exec(t.Context(), "UPDATE saga SET due_at = now(), deadline_at = CASE WHEN id = $1 THEN now() ELSE deadline_at END", late.ID)
	require.NoError(t, err)
	claimed, _, err := b.store.Claim(t.Context(), b.lease.ID(), nil, 10)
	require.NoError(t, err)
	require.Len(t, claimed, 1)
	require.Equal(t, late.ID, claimed[0].ID)
}

// Orders have been paused for so long that many are late, while top-ups go on. A claim takes as many as it asks for and no
// more: each of them has a slot that somebody waits for when it ends.
func TestAClaimNeverTakesMoreThanThereIsRoomFor(t *testing.T) {
	b := setupStore(t)
	for i := range 4 {
		b.accept(message.Request{}, false)
		b.accept(message.Request{Kind: message.Topup, PackageID: "t", ICCID: fmt.Sprintf("893400000000000872%d", i)}, false)
	}
	_, err := b.db.Exec(t.Context(), "UPDATE saga SET due_at = now(), deadline_at = CASE kind WHEN 'order' THEN now() ELSE deadline_at END")
	require.NoError(t, err)
	for _, want := range []int{3, 3, 2} {
		claimed, _, err := b.store.Claim(t.Context(), b.lease.ID(), []State{Pending, Unknown, Polling}, 3, message.Order)
		require.NoError(t, err)
		require.Len(t, claimed, want)
	}
}
