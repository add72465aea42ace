package app_test

import (
	"fmt"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/config"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// What was bought long ago leaves the database. When the stream's consumers are made anew and
// deliver everything again, nothing of it is bought again: whoever has left the record is
// refused, and what is on record is a duplicate.
func TestWhatHasLeftIsNotBoughtAgain(t *testing.T) {
	b := setupAsApp(t, pressonesim.Config{})
	maps.Copy(b.env, patient)                                                    // PressOne's refusal has to arrive
	w := b.worker(func(cfg *config.Config) { cfg.Retention = 15 * time.Second }) // what is taken in later than that is refused
	b.publisher()
	b.sim.AddPackage(pressonesim.Package{ID: "poor", Price: 450})
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, PackageID: "poor", Action: pressonesim.Status, Status: 422, Code: 11, Times: 1})
	b.publish(message.Order, `{"request_id":"stopped","package_id":"poor"}`)
	b.publish(message.Order, order("old"))
	b.publish(message.Topup, fmt.Sprintf(`{"request_id":"old","package_id":"bonbon-mobile-30days-3gb-topup","iccid":"%s"}`, pressonesim.DefaultICCIDs()[1]))
	b.result("stopped", 1)
	b.completed("old")
	require.Contains(t, b.result("old", 2).Type, ".completed.")
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM saga WHERE request_id = 'old'") == 0 },
		60*time.Second, 20*time.Millisecond, "they leave")
	require.Equal(t, 1, b.count("SELECT count(*) FROM saga"), "what an operator has to see stays")
	require.Zero(t, b.count("SELECT count(*) FROM saga_history WHERE saga_id NOT IN (SELECT id FROM saga)"))
	b.completed(b.orders("young", 1)...)
	require.Equal(t, 3, b.sim.SoldCount())

	b.redeliver()
	b.completed(b.orders("marker", 1)...)
	require.Eventually(t, func() bool {
		return b.count("SELECT count(*) FROM dead_letter WHERE code = 'expired' AND request_id = 'old'") == 2
	},
		60*time.Second, 20*time.Millisecond, "they are refused, and kept")
	require.Equal(t, 4, b.sim.SoldCount(), "nothing but the marker was bought")
	require.Equal(t, 1, b.count("SELECT count(*) FROM dead_letter WHERE request_id = 'stopped'"))
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM outbox") == 0 }, 60*time.Second, 20*time.Millisecond)

	t.Run("and not by an operator either", func(t *testing.T) {
		var id string
		require.NoError(t, b.db.QueryRow(t.Context(),
			"SELECT id::text FROM dead_letter WHERE code = 'expired' AND request_id = 'old' AND kind = 'order'").Scan(&id))
		answer := b.post(w, "dead-letters/replay", fmt.Sprintf(`{"ids":["%s"],"actor":"ann","reason":"x"}`, id), http.StatusOK)
		require.Contains(t, fmt.Sprint(answer), "should send it again")
		require.Equal(t, 1, b.count("SELECT count(*) FROM dead_letter WHERE status = 'open' AND code = 'expired' AND request_id = 'old' AND kind = 'order'"))
		require.Equal(t, 4, b.sim.SoldCount())
		b.post(w, "dead-letters/"+id+"/discard", `{"actor":"ann","reason":"upstream has its result"}`, http.StatusOK)
	})
	t.Run("until upstream sends it again", func(t *testing.T) {
		b.publish(message.Order, order("old"))
		require.Eventually(t, func() bool { return b.sim.SoldCount() == 5 }, 60*time.Second, 20*time.Millisecond)
	})
}
