package app_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
	"esimflow/migrations"
)

// After a run in which most of what can happen has happened, the programs' counters say what
// Postgres, the streams and PressOne's own books say, to the last one; what is shared shows
// what is open; and no series was born by it: each was there at zero before.
func TestMetricsAgreeWithTheRecord(t *testing.T) {
	b := eventful(t)
	v := watch(b)
	before := series(v.scrape())
	v.troubles()
	counted := map[string]func() map[string]float64{
		"esimflow_saga_transitions_total": func() map[string]float64 {
			return b.query(`
				SELECT format('event=%s,from=%s,to=%s', event, from_state, to_state), count(*)::float8
				FROM saga_history GROUP BY 1`)
		},
		"esimflow_saga_ends_total":       b.ends,
		"esimflow_saga_duration_seconds": b.ends,
		"esimflow_dead_letters_total": func() map[string]float64 {
			return b.query(`
				SELECT format('class=%s,code=%s,kind=%s', class, CASE code WHEN '77' THEN 'other' ELSE code END, kind), count(*)::float8
				FROM dead_letter GROUP BY 1`)
		},
		"esimflow_intake_messages_total": func() map[string]float64 {
			return b.query(`
				SELECT format('kind=%s,result=accepted', kind), count(*)::float8 FROM saga GROUP BY 1
				UNION ALL
				SELECT format('kind=%s,result=%s', kind, code), count(*)::float8 FROM dead_letter WHERE saga_id IS NULL GROUP BY 1
				UNION ALL
				SELECT 'kind=order,result=duplicate', 1`)
		},
	}
	for name, want := range counted { // after the commit, and somebody may have seen that before
		require.Eventually(t, func() bool { return maps.Equal(want(), sums(v.scrape(), name)) }, time.Minute, 50*time.Millisecond,
			"%s: %v, and not %v", name, lazily(want), lazily(func() map[string]float64 { return sums(v.scrape(), name) }))
	}
	spent := b.spent()
	require.Eventually(t, func() bool { return near(spent, sums(v.scrape(), "esimflow_spend_total")) }, time.Minute, 50*time.Millisecond, "%v", spent)
	require.Eventually(t, func() bool { // what is open is read a little later
		all := v.scrape()
		open := b.query("SELECT 'code=' || code, count(*)::float8 FROM dead_letter WHERE status = 'open' GROUP BY 1")
		return maps.Equal(open, maxima(all, "esimflow_dead_letters")) && len(maxima(all, "esimflow_sagas")) == 0 &&
			maps.Equal(map[string]float64{"where=dead_letter": 3}, maxima(all, "esimflow_unknown_outcomes")) &&
			len(maxima(all, "esimflow_outbox_pending_messages")) == 0 && len(maxima(all, "esimflow_intake_pending_messages")) == 0
	}, time.Minute, 50*time.Millisecond)
	all := v.scrape()

	for name, want := range counted { // and it stays so
		require.Equal(t, want(), sums(all, name), name)
	}
	published := sums(all, "esimflow_outbox_published_total") // once more where the acknowledgement came late
	stored := float64(b.stored(message.EventsStream) + b.stored(message.DeadLettersStream))
	require.LessOrEqual(t, published["result=ok"], stored)
	require.GreaterOrEqual(t, published["result=ok"]+published["result=duplicate"], stored)

	// PressOne's books.
	require.InDeltaMapValues(t, spent, sums(all, "esimflow_spend_total"), 1e-6)
	submitted := 0.0
	for key, n := range sums(all, "esimflow_provider_requests_total") {
		if strings.Contains(key, "operation=submit_order") {
			submitted += n
		}
	}
	require.InDelta(t, float64(b.sim.Requests(pressonesim.Orders)), submitted, 0, "requests to PressOne")

	// What is open, and what it may cost.
	require.InDeltaMapValues(t, map[string]float64{"currency=USD": 9.5}, maxima(all, "esimflow_unknown_exposure"), 1e-6)
	require.Equal(t, map[string]float64{"": 2}, maxima(all, "esimflow_unknown_exposure_unpriced"), "two packages that nobody has bought")
	require.Equal(t, map[string]float64{"": float64(migrations.Latest())}, maxima(all, "esimflow_schema_version"))
	require.Empty(t, maxima(all, "esimflow_outbox_pending_messages"))
	require.Empty(t, maxima(all, "esimflow_intake_pending_messages"))
	require.InDelta(t, 256, maxima(all, "esimflow_in_flight_limit")[""], 0)
	require.Eventually(t, func() bool {
		left := b.sim.Balance()
		return maxima(v.scrape(), "esimflow_provider_balance")["currency=USD"] == float64(left)/100
	}, time.Minute, 50*time.Millisecond, "the balance")

	born := slices.DeleteFunc(series(v.scrape()), func(s string) bool { return slices.Contains(before, s) })
	require.Empty(t, born, "series that were not there at zero")
	v.namesNobody()
}

// ends counts the ends of sagas.
func (b *bench) ends() map[string]float64 {
	b.t.Helper()
	return b.query(`
		SELECT format('end=%s,kind=%s', h.to_state, s.kind), count(*)::float8
		FROM saga_history h JOIN saga s ON s.id = h.saga_id
		WHERE h.to_state IN ('completed', 'dead_lettered', 'discarded') GROUP BY 1`)
}

// spent is what PressOne's own books say that was charged.
func (b *bench) spent() map[string]float64 {
	spent := map[string]float64{}
	for _, o := range b.sim.Ledger().Sold {
		kind := map[pressonesim.Kind]string{pressonesim.KindSim: "order", pressonesim.KindTopup: "topup"}[o.Kind]
		spent["currency=USD,kind="+kind] += float64(o.Price) / 100
	}
	return spent
}

// near reports whether two maps are the same, but for how sums are rounded.
func near(a, b map[string]float64) bool {
	return maps.EqualFunc(a, b, func(x, y float64) bool { return math.Abs(x-y) < 1e-6 })
}

// lazily is printed as what it returns then.
type lazily func() map[string]float64

func (l lazily) String() string { return fmt.Sprint(l()) }

// namesNobody looks for what must be in no metric: secrets, and whatever there are as many
// of as there are orders.
func (v *watched) namesNobody() {
	v.t.Helper()
	never := []string{v.env["PRESSONE_CLIENT_SECRET"], "LPA:1$", "Bearer", "plain-", "kallur", "sold-out", pressonesim.DefaultICCIDs()[0]}
	for _, o := range v.sim.Ledger().Sold {
		never = append(never, o.Sent)
		for _, sim := range o.Sims {
			never = append(never, sim.MatchingID, sim.ICCID)
		}
	}
	for _, addr := range []string{v.worker.TelemetryAddr(), v.publisher.TelemetryAddr()} {
		text := v.fetch("http://" + addr + "/metrics")
		for _, s := range never {
			require.NotContains(v.t, text, s)
		}
	}
}

// stored is how many messages a stream has ever stored.
func (b *bench) stored(stream string) uint64 {
	b.t.Helper()
	s, err := b.js.Stream(b.t.Context(), stream)
	require.NoError(b.t, err)
	return s.CachedInfo().State.LastSeq
}
