package app_test

import (
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// With Postgres away a scrape is answered all the same, counts stay what they were, ages
// grow on, and how long ago it is that anything was read shows. It comes back by itself.
func TestMetricsWithoutPostgres(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	pg := devstack.PrivatePostgres(t)
	b.env["DATABASE_URL"] = pg.URL()
	conn, err := pgx.Connect(t.Context(), pg.URL())
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "UPDATE provider_gate SET closed_until = now() + interval '10 min', reason = 'limited' WHERE lane = 'write'")
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	v := watch(b)
	for _, id := range []string{"a", "b", "c"} {
		b.publish(message.Order, order(id))
	}
	waiting := func() float64 { return maxima(v.scrape(), "esimflow_sagas")["kind=order,state=pending"] }
	age := func() float64 { return maxima(v.scrape(), "esimflow_saga_oldest_age_seconds")["state=pending"] }
	stale := func() float64 { return maxima(v.scrape(), "esimflow_collector_age_seconds")["part=sagas"] }
	require.Eventually(t, func() bool { return waiting() == 3 }, time.Minute, 20*time.Millisecond)
	require.InDelta(t, 0, maxima(v.scrape(), "esimflow_provider_gate_open")["lane=write"], 0, "which is why")

	require.NoError(t, pg.StopImmediate())
	require.Eventually(t, func() bool { return stale() > 2 }, time.Minute, 20*time.Millisecond)
	before := age()
	require.Greater(t, before, 1.0)
	require.InDelta(t, 3, waiting(), 0)
	require.Eventually(t, func() bool { return age() > before+1 }, time.Minute, 20*time.Millisecond, "it grows on")
	require.Eventually(t, func() bool {
		return sums(v.scrape(), "esimflow_collector_errors_total")["part=sagas"] > 0
	}, time.Minute, 20*time.Millisecond)

	require.NoError(t, pg.Start(t.Context()))
	fresh := map[string]bool{} // who has read it again: a reading that takes long is not soon followed by another
	require.Eventually(t, func() bool {
		for _, m := range v.scrape()["esimflow_collector_age_seconds"].GetMetric() {
			if slices.Contains(labelsOf(m), "part=sagas") && m.GetGauge().GetValue() < 1 {
				fresh[m.Label[0].GetValue()] = true
			}
		}
		return len(fresh) == 2
	}, time.Minute, 20*time.Millisecond)
	require.InDelta(t, 3, waiting(), 0)
	require.Greater(t, age(), before+1)
}
