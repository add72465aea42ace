package app_test

import (
	"fmt"
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// Pressing replay in many places at once does nothing twice.
func TestReplayPressedAtOnce(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	maps.Copy(b.env, patient) // what PressOne is asked for by the API is answered
	w := b.worker()
	b.publisher()
	b.sim.SetBalance(0)
	b.publish(message.Order, order("poor"))
	failed := b.result("poor", 1)
	require.Equal(t, "11", failed.Data["code"])
	b.letters(1)
	b.sim.SetBalance(1_000_00)
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, Action: pressonesim.Slow, Delay: 300 * time.Millisecond, Times: 1})
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for range 8 {
		wg.Go(func() {
			got := b.post(w, "dead-letters/replay", fmt.Sprintf(`{"ids":["%s"],"actor":"ann","reason":"x"}`, failed.Data["dead_letter_id"]), http.StatusOK)
			mu.Lock()
			defer mu.Unlock()
			if first(got)["done"] == true {
				done++
			}
		})
	}
	wg.Wait()
	require.Equal(t, 1, done)
	e := b.result("poor", 2)
	require.Contains(t, e.Type, ".completed.")
	require.Regexp(t, `\.2\.completed$`, e.ID)
	require.Equal(t, 1, b.sim.SoldCount())
	require.Eventually(t, func() bool { return len(b.messages(message.DeadLettersStream)) == 0 }, 60*time.Second, 20*time.Millisecond,
		"the stream shows what is open")
}

// first is the first of a list that the API has answered.
func first(got map[string]any) map[string]any {
	list, _ := got["list"].([]any)
	object, _ := list[0].(map[string]any)
	return object
}

func TestOperatorsAreRefused(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	maps.Copy(b.env, patient) // what PressOne is asked for by the API is answered
	w := b.worker()
	b.publisher()
	b.sim.AddPackage(pressonesim.Package{ID: "recycled", Price: 1, Recycled: true})
	b.publish(message.Order, `{"request_id":"recycled","package_id":"recycled"}`)
	e := b.result("recycled", 1)
	require.Equal(t, "yes", e.Data["purchased"])
	require.Equal(t, false, e.Data["replayable"])

	got := b.post(w, "dead-letters/replay", `{"class":"recycled","dry_run":true}`, http.StatusOK)
	require.Contains(t, first(got)["why"], "recycled")
	b.post(w, "replays", `{"class":"recycled","actor":"ann","reason":"x"}`, http.StatusConflict)
	b.post(w, "dead-letters/replay", `{"actor":"ann","reason":"x"}`, http.StatusBadRequest)
	b.post(w, "sagas/recycled/discard", `{"actor":"ann"}`, http.StatusBadRequest)
	b.post(w, "sagas/recycled/confirm-absent", `{"actor":"ann","reason":"x"}`, http.StatusConflict)
	b.post(w, "sagas/recycled/adopt", `{"order_id":1,"actor":"ann","reason":"x"}`, http.StatusConflict)
	b.post(w, "sagas/nobody/discard", `{"actor":"ann","reason":"x"}`, http.StatusNotFound)
	require.Equal(t, "discarded", b.post(w, "sagas/recycled/discard", `{"actor":"ann","reason":"refunded"}`, http.StatusOK)["state"])
	b.post(w, "sagas/recycled/discard", `{"actor":"ann","reason":"again"}`, http.StatusConflict)
}
