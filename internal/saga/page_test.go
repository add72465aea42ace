package saga

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
)

// Operators look at sagas a page at a time: each one is on one page, the youngest first.
func TestPages(t *testing.T) {
	b := setupStore(t)
	var want []uuid.UUID
	for i := range 5 {
		s := b.accept(message.Request{}, i == 2)
		want = append([]uuid.UUID{s.ID}, want...)
	}
	b.accept(message.Request{Kind: message.Topup, PackageID: "t", ICCID: "8934000000000008728"}, false)
	read := func(f PageFilter) (got []uuid.UUID) {
		f.Limit = 2
		for {
			page, err := b.store.Page(t.Context(), f)
			require.NoError(t, err)
			for _, s := range page {
				got = append(got, s.ID)
			}
			if len(page) < 2 {
				return got
			}
			f.Before = page[1].ID
		}
	}
	require.Equal(t, want, read(PageFilter{Kind: message.Order}))
	require.Len(t, read(PageFilter{}), 6)
	require.Len(t, read(PageFilter{State: Pending}), 5, "those that are held are not forgotten")
	require.Equal(t, want[2:3], read(PageFilter{State: Submitting}))
	for _, state := range []State{Unknown, Polling, Notifying, Completed, DeadLettered, Discarded} {
		require.Empty(t, read(PageFilter{State: state}))
	}
	found, err := b.store.Search(t.Context(), "8934000000000008728", nil, 10)
	require.NoError(t, err)
	require.Len(t, found, 1)

	tallies, err := b.store.Tallies(t.Context())
	require.NoError(t, err)
	counts := map[State]int{}
	for _, one := range tallies {
		counts[one.State] = one.Count
		require.WithinDuration(t, time.Now(), one.Oldest, time.Minute)
	}
	require.Equal(t, map[State]int{Pending: 5, Submitting: 1}, counts)
	minutes, whole, err := b.store.Pace(t.Context(), time.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.True(t, whole)
	accepted := 0
	for _, m := range minutes {
		accepted += m.Accepted
	}
	require.Equal(t, 6, accepted)
}

// What operators look for is found without looking at what has ended long ago, however few
// of it there are.
func TestLookingPassesByWhatHasEnded(t *testing.T) {
	b := setupStore(t)
	_, err := b.db.Exec(t.Context(), `
		INSERT INTO saga (id, kind, request_id, state, deadline_at, reference, fingerprint, package_id, quantity, order_id, requested_at, created_at)
		SELECT gen_random_uuid(), 'order', 'r' || g, 'completed', now(), 'ref' || g, 'f', 'p', 1, g, now(), now() - interval '1 day'
		FROM generate_series(1, 30000) g`)
	require.NoError(t, err)
	for range 3 {
		b.accept(message.Request{}, false)
	}
	held := b.accept(message.Request{}, true)
	held = b.apply(held, Event{Name: Submitted, Purchase: bought(1_000_000)})
	b.apply(held, Event{Name: Ready, Purchase: bought(1_000_000)})
	b.apply(b.accept(message.Request{}, true), Event{Name: OutcomeUnknown})
	stop := Event{Name: Refused, Code: "11", Class: "insufficient_credit"}
	b.apply(b.accept(message.Request{}, true), stop)
	b.apply(b.apply(b.accept(message.Request{}, true), stop), Event{Name: WasDiscarded, Actor: "ann", Reason: "x"})
	b.apply(b.accept(message.Request{}, true), Event{Name: Submitted, Purchase: bought(1_000_001)})
	_, err = b.db.Exec(t.Context(), "ANALYZE")
	require.NoError(t, err)

	type look struct {
		sql  string
		args []any
	}
	page := func(sql string, state State) look { return look{sql, []any{"", string(state), nil, 51}} }
	for name, l := range map[string]look{
		"in general":    page(pageSQL, ""),
		"unknown":       page(pageSQL, Unknown),
		"dead-lettered": page(pageSQL, DeadLettered),
		"discarded":     page(pageSQL, Discarded),
		"pending":       page(movingPageSQL, Pending),
		"submitting":    page(movingPageSQL, Submitting),
		"polling":       page(movingPageSQL, Polling),
		"notifying":     page(notifyingPageSQL, Notifying),
		"by name":       {searchSQL, []any{nil, "r4711", []int64{4711}, 50}},
		"counted":       {tallySQL, []any{MostTallied}},
		"by the minute": {paceSQL, []any{FirstID(time.Now().Add(-time.Minute)), mostPaced}},
	} {
		t.Run(name, func(t *testing.T) { b.cheap(t, l.sql, l.args...) })
	}
}

var removed = regexp.MustCompile(`Rows Removed by (?:Filter|Index Recheck): ([0-9]+)`)

// cheap runs a query and requires that it has looked at few rows in vain. Random ids above
// those of today are the only ones that may stand before it.
func (b *storeBench) cheap(t *testing.T, sql string, args ...any) {
	t.Helper()
	rows, err := b.db.Query(t.Context(), "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) "+sql, append([]any{pgx.QueryExecModeCacheDescribe}, args...)...)
	require.NoError(t, err)
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	text := strings.Join(plan, "\n")
	require.NotContains(t, text, "Seq Scan on saga", text)
	for _, m := range removed.FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		require.Less(t, n, 1000, text)
	}
}
