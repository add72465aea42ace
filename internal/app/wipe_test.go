package app_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/config"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// wiping is a CODES_KEEP of a second.
func wiping(cfg *config.Config) { cfg.CodesKeep = time.Second }

// Some time after sagas are completed their activation codes leave the database, sealed or not; what the books
// need stays, a duplicate is still one, and what is not completed keeps what it needs to be.
func TestCodesAreWiped(t *testing.T) {
	for _, tt := range []struct{ name, key string }{{"sealed", canaryKey}, {"plain", ""}} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t, pressonesim.Config{})
			maps.Copy(b.env, patient) // answers are counted
			b.env["ENCRYPTION_KEY"] = tt.key
			b.sim.AddPackage(pressonesim.Package{ID: "dead", Price: 450, Recycled: true})
			w := b.worker(wiping)
			b.publisher()
			b.publish(message.Order, `{"request_id":"three","package_id":"kallur-digital-7days-1gb","quantity":3}`)
			b.publish(message.Topup, fmt.Sprintf(`{"request_id":"topup","package_id":"bonbon-mobile-30days-3gb-topup","iccid":"%s"}`, pressonesim.DefaultICCIDs()[1]))
			b.publish(message.Order, `{"request_id":"stopped","package_id":"dead"}`)
			b.result("stopped", 1)
			b.completed("three")
			b.completed("topup")
			require.Eventually(t, func() bool {
				return b.count("SELECT count(*) FROM saga_purchase WHERE wiped_at IS NOT NULL") == 2
			}, 60*time.Second, 20*time.Millisecond)

			require.Equal(t, 1, b.count("SELECT count(*) FROM saga_answer"), "what has not ended keeps its own")
			require.Zero(t, b.count("SELECT count(*) FROM saga_purchase WHERE wiped_at IS NOT NULL AND sealed IS NOT NULL"))
			codes := map[string]string{}
			for _, o := range b.sim.Ledger().Package("kallur-digital-7days-1gb") {
				for _, sim := range o.Sims {
					codes[sim.ICCID] = sim.MatchingID
				}
			}
			require.Len(t, codes, 3)
			require.Empty(t, leaks(codes, b.dump()))

			s := b.get(w, "sagas/three")
			require.Equal(t, "9.5 USD", s["price"])
			require.Len(t, s["iccids"], 3)
			require.NotEmpty(t, s["order"])
			b.publish(message.Order, `{"request_id":"three","package_id":"kallur-digital-7days-1gb","quantity":3}`)
			b.completed(b.orders("marker", 1)...)
			require.Equal(t, 4, b.sim.SoldCount(), "it is a duplicate still")
		})
	}
}

// Where the key is missing, codes that are due stay as they are: with them the price would be lost, which only
// they tell. With the key they go.
func TestCodesWithoutTheirKeyStay(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	maps.Copy(b.env, patient) // answers are counted
	b.env["ENCRYPTION_KEY"] = canaryKey
	first := b.process(app.WorkerProgram)
	publisher := b.process(app.PublisherProgram)
	b.publish(message.Order, order("r"))
	b.completed("r")
	b.stop(first, publisher)

	b.env["ENCRYPTION_KEY"] = base64.StdEncoding.EncodeToString(make([]byte, 32))
	b.worker(wiping)
	require.Eventually(t, func() bool {
		return strings.Contains(b.log.String(), "activation codes stay")
	}, 60*time.Second, 20*time.Millisecond)
	require.Equal(t, 1, b.count("SELECT count(*) FROM saga_answer"))

	b.env["ENCRYPTION_KEY"] += "," + canaryKey
	b.worker(wiping)
	_, err := b.db.Exec(t.Context(), "UPDATE lease SET holder = 'gone', expires_at = now() WHERE name = 'codes'")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := b.db.Exec(t.Context(), "UPDATE lease SET expires_at = now() WHERE name = 'codes'") // they take turns
		return err == nil && b.count("SELECT count(*) FROM saga_answer") == 0
	}, 60*time.Second, 20*time.Millisecond)
	require.Equal(t, 1, b.count("SELECT count(*) FROM saga_purchase WHERE wiped_at IS NOT NULL AND data ->> 'order' LIKE '%9.5%'"))
}
