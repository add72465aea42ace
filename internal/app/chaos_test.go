package app_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// Three calls in ten go wrong, before the effect or after it, on submissions and on
// reads, with two workers, and top-ups that compete for their eSIMs and whose
// descriptions are replaced. Every request completes, bought once.
func TestThreeCallsInTenGoWrong(t *testing.T) {
	b := setup(t, pressonesim.Config{
		Knobs: pressonesim.Knobs{
			TopupDescription: pressonesim.Replaced, ListLag: 50 * time.Millisecond,
			FailedRows: true, Rendering: pressonesim.Mixed,
		},
		Chaos: pressonesim.Chaos{Rate: 0.3, Seed: 1, Reads: true, SlowFor: 300 * time.Millisecond},
	})
	b.lenientTokens()
	maps.Copy(b.env, patient) // the simulator is to be the one that loses answers
	b.env["RETRY_MAX_ATTEMPTS"] = "30"
	b.worker()
	b.worker()
	b.publisher()
	iccids := pressonesim.DefaultICCIDs()
	const orders, topups = 80, 24
	for i := range orders {
		b.publish(message.Order, fmt.Sprintf(`{"request_id":"o-%d","package_id":"kallur-digital-7days-1gb","quantity":%d}`, i, 1+i%3))
	}
	for i := range topups {
		b.publish(message.Topup, fmt.Sprintf(`{"request_id":"t-%d","package_id":"bonbon-mobile-30days-3gb-topup","iccid":"%s"}`, i, iccids[i%8]))
	}
	require.Eventually(t, func() bool {
		return b.count("SELECT count(*) FROM saga WHERE state = 'completed'") == orders+topups
	}, 5*time.Minute, 50*time.Millisecond)
	require.Positive(t, b.count("SELECT count(*) FROM saga_history WHERE event = 'outcome_unknown'"), "something has gone wrong")
	require.Empty(t, b.sim.Ledger().Doubles())
	require.Equal(t, orders+topups, b.sim.SoldCount())
	require.Equal(t, orders+topups, b.count("SELECT count(DISTINCT order_id) FROM saga"))
	require.Len(t, b.events(), orders+topups)
	for i, iccid := range iccids[:8] {
		require.Len(t, b.sim.Ledger().Topups(iccid), topups/8, "eSIM %d", i)
	}
}
