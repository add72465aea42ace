package app_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// personal is what of a person's is in the erasure's request, its result and its mishaps.
func personal(b *bench, iccid string) map[string]string {
	all := map[string]string{
		"request id": "canary-request-4711", "customer": "canary-customer-0815", "header": "canary-shop-header", "top-up's ICCID": iccid,
		"reason of a reveal": "canary-reason-of-ann",
	}
	for _, o := range b.sim.Ledger().Package("kallur-digital-7days-1gb") {
		for i, sim := range o.Sims {
			all[fmt.Sprintf("ICCID %d", i)], all[fmt.Sprintf("code %d", i)] = sim.ICCID, sim.MatchingID
		}
	}
	return all
}

// A customer's order, replayed once by an operator and with its codes revealed, and a top-up of theirs are erased: every table is
// searched, and nothing is left but the accounting skeleton and the record of who erased it. When the requests are
// sent again, or delivered again, they are duplicates still, and nothing is bought; another meaning is a
// conflict.
func TestErasingLeavesTheSkeletonAlone(t *testing.T) {
	for _, tt := range []struct{ name, key string }{{"sealed", canaryKey}, {"plain", ""}} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t, pressonesim.Config{})
			maps.Copy(b.env, patient) // PressOne's refusal has to arrive
			b.env["ENCRYPTION_KEY"] = tt.key
			w := b.worker()
			b.publisher()
			const request = `{"request_id":"canary-request-4711","package_id":"kallur-digital-7days-1gb","quantity":2,"metadata":{"customer":"canary-customer-0815"}}`
			iccid := pressonesim.DefaultICCIDs()[1]
			topup := fmt.Sprintf(`{"request_id":"canary-request-4711","package_id":"bonbon-mobile-30days-3gb-topup","iccid":"%s"}`, iccid)
			b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, Action: pressonesim.Status, Status: 422, Code: 11, Times: 1})
			b.publish(message.Order, request, "X-Shop", "canary-shop-header")
			b.result("canary-request-4711", 1)
			act := func(path, body string, want int) map[string]any {
				t.Helper()
				return b.post(w, path, body, want)
			}
			refused := act("privacy/erase", `{"id":"canary-request-4711","actor":"ann","reason":"x"}`, http.StatusConflict)
			require.Contains(t, refused["error"], "only what has ended")
			letter := b.text("SELECT id::text FROM dead_letter WHERE status = 'open'")
			act("dead-letters/replay", fmt.Sprintf(`{"ids":["%s"],"actor":"ann","reason":"canary-reason-of-ann"}`, letter), http.StatusOK)
			require.Contains(t, b.result("canary-request-4711", 2).Type, "completed")
			b.publish(message.Topup, topup)
			require.Contains(t, b.result("canary-request-4711", 3).Type, "completed")
			require.Eventually(t, func() bool {
				return b.count("SELECT count(*) FROM outbox") == 0 && b.count("SELECT count(*) FROM saga WHERE state = 'completed'") == 2
			}, 60*time.Second, 20*time.Millisecond)
			_, err := b.db.Exec(t.Context(), `
				INSERT INTO reveal (id, saga_id, request_id, iccids, actor, reason)
				SELECT gen_random_uuid(), id, request_id, ARRAY[$1], 'ann', 'canary-reason-of-ann' FROM saga WHERE kind = 'order'`, iccid)
			require.NoError(t, err)
			secret := personal(b, iccid)
			require.Len(t, secret, 9)
			before := leaks(secret, b.dump())
			for _, name := range []string{"request id", "customer", "header", "top-up's ICCID", "reason of a reveal"} {
				require.Contains(t, before, name, "the search finds it while it is there")
			}
			sold := b.sim.SoldCount()

			// What is on record is handed out first, without what installs the eSIMs.
			data := act("privacy/export", `{"id":"canary-request-4711","actor":"ann","reason":"asked for it"}`, http.StatusOK)
			text, err := json.Marshal(data)
			require.NoError(t, err)
			require.Contains(t, string(text), "canary-customer-0815")
			for name, code := range secret {
				require.False(t, strings.HasPrefix(name, "code") && strings.Contains(string(text), code), name)
			}

			act("privacy/erase", `{"id":"canary-request-4711","actor":"","reason":"x"}`, http.StatusBadRequest)
			done := act("privacy/erase", `{"id":"canary-request-4711","actor":"ann","reason":"the customer has left"}`, http.StatusOK)
			require.Len(t, done["list"], 2)
			require.Empty(t, leaks(secret, b.dump()))
			require.Equal(t, 2, b.count("SELECT count(*) FROM saga s JOIN saga_purchase p ON p.saga_id = s.id WHERE state = 'completed' AND order_id IS NOT NULL AND (data #>> '{order,price}')::numeric > 0"))
			require.Positive(t, b.count("SELECT count(*) FROM saga_history WHERE event = 'announced'"), "states and times stay")
			require.Equal(t, 2, b.count("SELECT count(*) FROM privacy_action WHERE action = 'erase' AND actor = 'ann' AND reason = 'the customer has left'"))
			require.Equal(t, 2, b.count("SELECT count(*) FROM privacy_action WHERE action = 'export'"))
			for _, sql := range []string{"UPDATE privacy_action SET actor = 'bob'", "DELETE FROM privacy_action", "UPDATE reveal SET actor = 'bob'"} {
				_, err := b.db.Exec(t.Context(), sql)
				require.ErrorContains(t, err, "stays on record", sql)
			}
			act("privacy/erase", `{"id":"canary-request-4711","actor":"ann","reason":"again"}`, http.StatusNotFound)

			b.publish(message.Order, request)
			b.publish(message.Topup, topup)
			b.publish(message.Order, `{"request_id":"canary-request-4711","package_id":"kallur-digital-7days-1gb","quantity":3}`)
			b.redeliver() // and all that was ever published comes once more
			b.completed(b.orders("marker", 1)...)
			require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM dead_letter WHERE code = 'conflict'") >= 1 },
				60*time.Second, 20*time.Millisecond)
			require.Equal(t, sold+1, b.sim.SoldCount(), "the marker alone was bought")
			require.Equal(t, 3, b.count("SELECT count(*) FROM saga"))
		})
	}
}

// What operators wrote while they dealt with somebody's top-up is about that person too: why its dead letter was replayed, in a job
// that was chosen by the ICCID; why that job was to be aborted; why a finding of the audit was dismissed; and the request id, in what
// somebody was told who named two things by it. All of that leaves with the erasure, the fact that somebody acted stays.
func TestErasingBlanksWhatOperatorsWrote(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	maps.Copy(b.env, patient) // PressOne's refusal has to arrive
	w := b.worker()
	b.publisher()
	iccid := pressonesim.DefaultICCIDs()[1]
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Topups, Action: pressonesim.Status, Status: 422, Code: 34, Times: 1})
	b.publish(message.Topup, fmt.Sprintf(`{"request_id":"canary-request-4711","package_id":"bonbon-mobile-30days-3gb-topup","iccid":"%s"}`, iccid))
	b.publish(message.Order, order("canary-request-4711"))
	b.letters(1)
	job := b.startReplay(w.APIAddr(), fmt.Sprintf(`"iccid":"%s"`, iccid))
	require.Equal(t, 1, b.replayed(w, job.ID).Ends.Completed)
	require.Eventually(t, func() bool {
		return b.count("SELECT count(*) FROM outbox") == 0 && b.count("SELECT count(*) FROM saga WHERE state = 'completed'") == 2
	}, unhurried, 20*time.Millisecond)
	b.post(w, "replays/"+job.ID.String()+"/abort", `{"actor":"ann","reason":"canary-reason-of-ann"}`, http.StatusConflict)
	b.post(w, "sagas/canary-request-4711/discard", `{"actor":"ann","reason":"canary-reason-of-ann"}`, http.StatusBadRequest)
	finding := b.text(`
		INSERT INTO audit_finding (id, finding, order_id, saga_id, data, why, advice, run_id)
		SELECT gen_random_uuid(), 'phantom', order_id, id, '{}', 'x', 'x', gen_random_uuid() FROM saga WHERE kind = 'topup'
		RETURNING id::text`)
	b.post(w, "audit-findings/"+finding+"/dismiss", `{"actor":"ann","reason":"canary-reason-of-ann"}`, http.StatusOK)
	secret := map[string]string{
		"request id": "canary-request-4711", "ICCID": iccid, "reason": "canary-reason-of-ann", "reason of the job": "because",
	}
	require.Len(t, leaks(secret, b.dump()), 4, "the search finds them while they are there")
	actions := b.count("SELECT count(*) FROM action")

	b.post(w, "privacy/erase", `{"id":"canary-request-4711","actor":"ann","reason":"the customer has left"}`, http.StatusOK)
	require.Empty(t, leaks(secret, b.dump()))
	require.Equal(t, actions+1, b.count("SELECT count(*) FROM action WHERE actor = 'ann'"))
	require.Equal(t, actions+1, b.count("SELECT count(*) FROM action_result"))
}

// A saga has left after RETENTION, and somebody asks for what is still there by their request id: a dead letter that never had a saga,
// what operators wrote about it, and who was shown the codes. What is open is refused as ever; who is not known is not found.
func TestErasingWhatASagaHasLeftBehind(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	w := b.worker()
	b.publisher()
	erase := func(id string, want int) map[string]any {
		t.Helper()
		return b.post(w, "privacy/erase", fmt.Sprintf(`{"id":"%s","actor":"ann","reason":"the customer has left"}`, id), want)
	}
	b.publish(message.Order, order("canary-request-4711"))
	b.completed("canary-request-4711")
	b.publish(message.Order, `{"request_id":"canary-request-4711","package_id":"kallur-digital-7days-1gb","quantity":2,"metadata":{"customer":"canary-customer-0815"}}`)
	b.letters(1)
	letter := b.text("SELECT id::text FROM dead_letter")
	b.post(w, "sagas/canary-request-4711/discard", `{"actor":"ann","reason":"canary-reason-of-ann"}`, http.StatusConflict)
	const iccid = "8934000000000008728"
	for _, sql := range []string{
		`INSERT INTO reveal (id, saga_id, request_id, iccids, actor, reason) SELECT gen_random_uuid(), id, request_id, '{` + iccid + `}', 'ann', 'canary-reason-of-ann' FROM saga`,
		"DELETE FROM saga_request", "DELETE FROM saga_purchase", "DELETE FROM saga_answer", "DELETE FROM saga_history", "DELETE FROM saga",
	} {
		_, err := b.db.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	require.Contains(t, erase("canary-request-4711", http.StatusConflict)["error"], "a dead letter of it is open")
	b.post(w, "dead-letters/"+letter+"/discard", `{"actor":"ann","reason":"canary-reason-of-ann"}`, http.StatusOK)
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM outbox") == 0 }, unhurried, 20*time.Millisecond)
	secret := map[string]string{
		"request id": "canary-request-4711", "customer": "canary-customer-0815", "ICCID": iccid, "reason": "canary-reason-of-ann",
	}
	require.Len(t, leaks(secret, b.dump()), 4, "the search finds them while they are there")
	require.Len(t, erase("canary-request-4711", http.StatusOK)["list"], 1)
	require.Empty(t, leaks(secret, b.dump()))
	require.Equal(t, 1, b.count("SELECT count(*) FROM privacy_action WHERE reason = 'the customer has left'"))
	erase("canary-request-4711", http.StatusNotFound)
	erase(iccid, http.StatusNotFound)

	b.post(w, "gate/pause", `{"kind":"order","actor":"ann","reason":"strange prices"}`, http.StatusOK)
	erase("kind order", http.StatusNotFound)
	require.Equal(t, 1, b.count("SELECT count(*) FROM action WHERE reason = 'strange prices'"), "an erasure is not a way to rewrite the trail")
}
