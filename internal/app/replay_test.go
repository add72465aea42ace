package app_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/deadletter"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
	"esimflow/internal/saga"
)

// stopped publishes n orders of a package, which PressOne refuses, and waits for their
// dead letters.
func (b *bench) stopped(prefix, packageID string, n int) (ids []string) {
	b.t.Helper()
	for i := range n {
		ids = append(ids, fmt.Sprintf("%s-%d", prefix, i))
		b.publish(message.Order, fmt.Sprintf(`{"request_id":"%s","package_id":"%s"}`, ids[i], packageID))
	}
	sql := fmt.Sprintf("SELECT count(*) FROM dead_letter WHERE status = 'open' AND request_id LIKE '%s-%%'", prefix)
	require.Eventually(b.t, func() bool { return b.count(sql) == n }, unhurried, 20*time.Millisecond, "they do not stop")
	return ids
}

// poor publishes n orders of a package while there is no credit for them, waits for their dead letters, and
// then pays in, in cents.
func (b *bench) poor(packageID string, n int, credit pressonesim.Cents) (ids []string) {
	b.t.Helper()
	b.sim.SetBalance(0)
	ids = b.stopped("order", packageID, n)
	b.sim.SetBalance(credit)
	return ids
}

// usual is a package that costs 9.50.
const usual = "kallur-digital-7days-1gb"

// plenty is credit for all that these tests buy, in cents.
const plenty = 1_000_00

// startReplay starts a replay at a worker's API.
func (b *bench) startReplay(api, filter string) deadletter.Replay {
	b.t.Helper()
	var job deadletter.Replay
	answer := b.press(api, "replays", fmt.Sprintf(`{%s,"actor":"ann","reason":"because"}`, filter))
	require.NoError(b.t, json.Unmarshal([]byte(answer), &job), answer)
	require.NotEqual(b.t, uuid.Nil, job.ID, answer)
	return job
}

// replayed waits for the end of a replay, and of the sagas that it has released.
func (b *bench) replayed(w *app.Worker, id uuid.UUID) deadletter.ReplayReport {
	b.t.Helper()
	var report deadletter.ReplayReport
	require.Eventually(b.t, func() bool {
		report = b.replayReport(w, id)
		return report.State != deadletter.Running && report.Ends.UnderWay == 0
	}, 2*unhurried, 50*time.Millisecond, "it does not end")
	return report
}

func (b *bench) replayReport(w *app.Worker, id uuid.UUID) (report deadletter.ReplayReport) {
	b.t.Helper()
	text, err := json.Marshal(b.get(w, "replays/"+id.String()))
	require.NoError(b.t, err)
	require.NoError(b.t, json.Unmarshal(text, &report))
	return report
}

// boughtOnce checks PressOne's books: nothing was bought twice, and this much in all.
func (b *bench) boughtOnce(n int) {
	b.t.Helper()
	require.Empty(b.t, b.sim.Ledger().Doubles())
	require.Equal(b.t, n, b.sim.SoldCount())
}

// movesOnce checks that no saga was replayed more than once by one replay's worth of
// letters.
func (b *bench) movesOnce(n int) {
	b.t.Helper()
	require.Equal(b.t, n, b.count("SELECT count(*) FROM saga_history WHERE event = 'replayed'"))
	require.Equal(b.t, n, b.count("SELECT count(DISTINCT saga_id) FROM saga_history WHERE event = 'replayed'"))
}

const credit11 = `"code":"11"`

// A worker is killed in the middle of a replay, at the commit that moves a letter: once
// before it, once after it without being told. Another goes on where it was, every letter
// has its turn exactly once, and nothing is bought twice.
func TestReplayOutlivesItsWorker(t *testing.T) {
	const position = 4
	move := step{postgres: func(w pgWrite) bool {
		s, ok := w.find("moved_to = $4")
		return ok && w.commit && len(s.args) > 1 && len(s.args[1]) == 4 && binary.BigEndian.Uint32(s.args[1]) == position
	}}
	for _, when := range []moment{before, after} {
		t.Run(string(when), func(t *testing.T) {
			b := setup(t, pressonesim.Config{})
			b.publisher()
			v := b.victim(app.WorkerProgram, move, when, nil)
			api := v.api()
			ids := b.poor(usual, 9, plenty)
			job := b.startReplay(api, credit11)
			v.die()
			done := map[moment]int{before: position - 1, after: position}[when]
			require.Equal(t, done, b.count("SELECT done FROM replay"))
			require.Equal(t, done, b.count("SELECT count(*) FROM replay_letter WHERE state = 'done'"))
			require.Equal(t, done, b.count("SELECT count(*) FROM dead_letter WHERE status = 'replayed'"))

			w := b.worker()
			report := b.replayed(w, job.ID)
			require.Equal(t, []any{deadletter.Done, 9, 9}, []any{report.State, report.Done, report.Ends.Completed}, report.Note)
			b.movesOnce(9)
			b.boughtOnce(9)
			for _, id := range ids {
				require.Contains(t, b.result(id, 2).Type, ".completed.")
			}
		})
	}
}

// Two operators press at two workers at once, and a third replays one of the letters by
// itself: every letter moves once, and each is told what became of it.
func TestReplayPressedByTwo(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	first, second := b.worker(), b.worker()
	b.publisher()
	b.poor(usual, 20, plenty)
	var one string
	require.NoError(t, b.db.QueryRow(t.Context(), "SELECT id::text FROM dead_letter ORDER BY created_at DESC LIMIT 1").Scan(&one))

	var wg sync.WaitGroup
	answers := make([]string, 3)
	for i, w := range []*app.Worker{first, second} {
		wg.Go(func() {
			answers[i] = b.press(w.APIAddr(), "replays", fmt.Sprintf(`{%s,"actor":"operator %d","reason":"credited"}`, credit11, i))
		})
	}
	wg.Go(func() {
		answers[2] = b.press(first.APIAddr(), "dead-letters/replay", fmt.Sprintf(`{"ids":["%s"],"actor":"joe","reason":"mine"}`, one))
	})
	wg.Wait()
	released := strings.Count(answers[2], `"done":true`)
	for _, answer := range answers[:2] {
		var job deadletter.Replay
		require.NoError(t, json.Unmarshal([]byte(answer), &job))
		if job.ID == uuid.Nil {
			require.Contains(t, answer, "refused")
			continue
		}
		report := b.replayed(first, job.ID)
		require.Equal(t, report.Letters, report.Done+report.Refused)
		released += report.Done
	}
	require.Equal(t, 20, released)
	b.movesOnce(20)
	b.await(func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'completed'") == 20 }) // the one that joe has released belongs to no job
	b.boughtOnce(20)
}

// An aborted replay moves nothing any more; what is left can be replayed by another.
func TestReplayAborted(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	w := b.worker()
	b.publisher()
	b.poor(usual, 6, plenty)
	job := b.startReplay(w.APIAddr(), credit11+`,"rate":0.1`)
	require.Eventually(t, func() bool { return b.count("SELECT done FROM replay") > 0 }, unhurried, 20*time.Millisecond)
	path := "replays/" + job.ID.String()
	b.post(w, path+"/abort", `{"actor":"joe"}`, http.StatusBadRequest)
	aborted := b.post(w, path+"/abort", `{"actor":"joe","reason":"wrong account"}`, http.StatusOK)
	require.Equal(t, "aborted by joe: wrong account", aborted["note"])
	b.post(w, path+"/abort", `{"actor":"joe","reason":"again"}`, http.StatusConflict)
	b.post(w, "replays/"+uuid.NewString()+"/abort", `{"actor":"joe","reason":"x"}`, http.StatusNotFound)
	report := b.replayed(w, job.ID)
	require.Equal(t, deadletter.Aborted, report.State)
	require.Less(t, report.Done, 6)
	require.Equal(t, 6, report.Done+report.Skipped)
	require.Equal(t, report.Skipped, b.count("SELECT count(*) FROM dead_letter WHERE status = 'open'"))

	rest := b.replayed(w, b.startReplay(w.APIAddr(), credit11).ID)
	require.Equal(t, report.Skipped, rest.Ends.Completed)
	b.movesOnce(6)
	b.boughtOnce(6)
}

// What lacked credit is released as far as the balance covers it: PressOne refuses nothing,
// and the letters that are left say what they would cost.
func TestReplayWithinTheBalance(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	maps.Copy(b.env, patient) // what PressOne is asked is counted
	w := b.worker()
	b.publisher()
	b.poor(usual, 8, 30_00)
	asked := b.sim.Requests(pressonesim.Orders)

	preview := b.post(w, "replays/preview", `{"class":"insufficient_credit"}`, http.StatusOK)
	require.InDelta(t, 8, preview["willing"], 0)
	require.Equal(t, []any{map[string]any{"amount": "76.00", "currency": "USD"}}, preview["cost"])

	report := b.replayed(w, b.startReplay(w.APIAddr(), `"class":"insufficient_credit"`).ID)
	require.Equal(t, []int{3, 5, 3}, []int{report.Done, report.Skipped, report.Ends.Completed}, report.Note)
	require.Contains(t, report.Note, "it costs 9.50 USD, and 1.50 USD are left")
	require.Equal(t, asked+3, b.sim.Requests(pressonesim.Orders))
	require.Equal(t, 5, b.count("SELECT count(*) FROM dead_letter WHERE status = 'open'"))
	b.boughtOnce(3)
}

// What has no known price is released one at a time, and the first new refusal for lack of
// credit (here a 402 with code 4007) ends it: one request more than the balance covers.
func TestReplayOfUnknownPrices(t *testing.T) {
	b := setup(t, pressonesim.Config{Knobs: pressonesim.Knobs{OutOfCredit: http.StatusPaymentRequired}})
	maps.Copy(b.env, patient) // what PressOne is asked is counted
	w := b.worker()
	b.publisher()
	b.sim.AddPackage(pressonesim.Package{ID: "secret", Price: 700, Hidden: true})
	b.poor("secret", 6, 15_00)
	asked := b.sim.Requests(pressonesim.Orders)
	preview := b.post(w, "replays/preview", `{"code":"4007"}`, http.StatusOK)
	require.InDelta(t, 6, preview["unpriced"], 0)

	report := b.replayed(w, b.startReplay(w.APIAddr(), `"code":"4007"`).ID)
	require.Equal(t, []int{3, 3, 2, 1}, []int{report.Done, report.Skipped, report.Ends.Completed, report.Ends.Stopped}, report.Note)
	require.Contains(t, report.Note, "the credit is insufficient again, code 4007")
	require.Equal(t, asked+3, b.sim.Requests(pressonesim.Orders))
	b.boughtOnce(2)
}

// Of a package that was out of stock one order goes first. While it is under way the others
// wait; when it has completed they follow, until one is out of stock again.
func TestReplayBehindACanary(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	maps.Copy(b.env, patient) // attempts are counted
	w := b.worker()
	b.publisher()
	for id, n := range map[string]int{"scarce": 30, "gone": 10} {
		b.sim.AddPackage(pressonesim.Package{ID: id, Stock: new(0)})
		b.stopped(id, id, n)
	}
	asked := func(id string) int {
		return b.count(fmt.Sprintf("SELECT sum(attempts) FROM saga WHERE package_id = '%s'", id))
	}
	gone, scarce := asked("gone"), asked("scarce")
	b.sim.SetStock("scarce", 4)
	b.sim.Tune(func(k *pressonesim.Knobs) { k.ReadyAfter, k.NotReadyAs = time.Hour, pressonesim.NoQRCode })
	job := b.startReplay(w.APIAddr(), `"class":"out_of_stock","rate":3`)
	require.Eventually(t, func() bool { return b.sim.SoldCount() == 1 }, unhurried, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		report := b.replayReport(w, job.ID)
		return report.Done >= 2 && strings.Contains(report.Note, "waiting for the first order of scarce")
	}, unhurried, 20*time.Millisecond)
	require.Equal(t, 2, b.replayReport(w, job.ID).Done, "one of each")

	b.sim.Tune(func(k *pressonesim.Knobs) { k.ReadyAfter = 0 })
	report := b.replayed(w, job.ID)
	require.Equal(t, deadletter.Done, report.State)
	require.Equal(t, 4, report.Ends.Completed)
	require.Contains(t, report.Note, "gone")
	require.Contains(t, report.Note, "scarce is out of stock again, code 33")
	require.Equal(t, 1, asked("gone")-gone, "its canary only")
	require.Less(t, asked("scarce")-scarce, 30, "not all of them were sent after the first refusal")
	b.boughtOnce(4)
}

// While ordering is closed nothing is released; when it opens, the replay goes on.
func TestReplayWaitsForTheGate(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	w := b.worker()
	b.publisher()
	b.poor(usual, 3, plenty)
	ordering := func(until string) {
		_, err := b.db.Exec(t.Context(), "UPDATE provider_gate SET closed_until = "+until+", reason = 'paused' WHERE lane = 'write'")
		require.NoError(t, err)
	}
	ordering("now() + interval '1 hour'")
	require.Eventually(t, func() bool {
		return strings.Contains(b.fetch("http://"+w.TelemetryAddr()+"/metrics"), `esimflow_provider_gate_open{lane="write"} 0`)
	}, unhurried, 20*time.Millisecond, "the worker does not see it")
	job := b.startReplay(w.APIAddr(), credit11)
	require.Eventually(t, func() bool { return strings.Contains(b.replayReport(w, job.ID).Note, "ordering at PressOne is closed") },
		unhurried, 20*time.Millisecond)
	require.Zero(t, b.count("SELECT done FROM replay"))
	ordering("now()")
	require.Equal(t, 3, b.replayed(w, job.ID).Ends.Completed)
	b.boughtOnce(3)
}

// What is never replayed, or only singly, is refused in the set, with the reason; all of
// nothing is refused as a whole.
func TestReplayRefuses(t *testing.T) {
	b := setup(t, pressonesim.Config{Knobs: pressonesim.Knobs{ListLag: time.Hour}})
	maps.Copy(b.env, patient) // only the answers that are meant to are lost
	b.env["UNKNOWN_POLICY"] = "hold"
	w := b.worker()
	b.publisher()
	b.sim.AddPackage(pressonesim.Package{ID: "recycled", Recycled: true})
	b.stopped("recycled", "recycled", 1)
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, Action: pressonesim.Drop, When: pressonesim.After, Times: 2})
	b.stopped("lost", usual, 2)

	b.post(w, "replays", `{"actor":"ann","reason":"x"}`, http.StatusBadRequest)
	b.post(w, "replays/preview", `{}`, http.StatusBadRequest)
	b.post(w, "replays", `{"kind":"order","actor":"ann"}`, http.StatusBadRequest)
	b.post(w, "replays", `{"kind":"order","rate":-1,"actor":"ann","reason":"x"}`, http.StatusBadRequest)
	b.post(w, "replays", `{"code":"nothing","actor":"ann","reason":"x"}`, http.StatusNotFound)
	b.post(w, "replays", `{"kind":"order","actor":"ann","reason":"x"}`, http.StatusConflict)
	b.post(w, "dead-letters/replay", `{"kind":"order","actor":"ann","reason":"x"}`, http.StatusBadRequest)
	preview := b.post(w, "replays/preview", `{"kind":"order"}`, http.StatusOK)
	require.InDelta(t, 3, preview["refused"], 0)

	var lost string
	require.NoError(t, b.db.QueryRow(t.Context(), "SELECT id::text FROM dead_letter WHERE code = 'outcome_unknown' LIMIT 1").Scan(&lost))
	b.sim.Tune(func(k *pressonesim.Knobs) { k.ListLag = 0 })
	report := b.replayed(w, b.startReplay(w.APIAddr(), fmt.Sprintf(`"ids":["%s"]`, lost)).ID)
	require.Equal(t, []any{string(saga.Unknown), 1}, []any{report.Set[0].MovedTo, report.Ends.Completed}, "singly it is looked up")
	b.boughtOnce(3)
}

// Bytes that could not be understood are corrected and published again, with an id of
// their own, and end completed; as they were, a replay publishes them once.
func TestReplayOfBytes(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	w := b.worker()
	b.publisher()
	b.publish(message.Order, `{"request_id":"fixed","package_id":"kallur-digital-7days-1gb","quantity":"one"}`, "Nats-Msg-Id", "original", "X-Sender", "shop")
	b.publish(message.Order, "garbage", "Nats-Msg-Id", "other")
	b.letters(2)
	var id string
	require.NoError(t, b.db.QueryRow(t.Context(), "SELECT id::text FROM dead_letter WHERE sequence = 1").Scan(&id))
	body, err := json.Marshal([]byte(`{"request_id":"fixed","package_id":"kallur-digital-7days-1gb","quantity":1}`))
	require.NoError(t, err)
	path, action := "dead-letters/"+id+"/resubmit", fmt.Sprintf(`{"actor":"ann","reason":"a word for a number","body":%s}`, body)
	b.post(w, path, `{"actor":"ann"}`, http.StatusBadRequest)
	b.post(w, path, action, http.StatusOK)
	require.Contains(t, b.result("fixed", 1).Type, ".completed.")
	b.post(w, path, action, http.StatusConflict)

	report := b.replayed(w, b.startReplay(w.APIAddr(), `"class":"malformed"`).ID)
	require.Equal(t, []int{1, 1}, []int{report.Done, report.Ends.Published})
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM dead_letter WHERE status = 'open'") == 1 }, unhurried, 20*time.Millisecond)
	requests := b.messages(message.RequestsStream)
	require.Len(t, requests, 4)
	for _, m := range requests[2:] {
		require.NotContains(t, []string{"original", "other"}, m.Header.Get("Nats-Msg-Id"))
		require.True(t, strings.HasSuffix(m.Header.Get("Nats-Msg-Id"), ".replay"))
	}
	require.True(t, slices.ContainsFunc(requests[2:], func(m *jetstream.RawStreamMsg) bool { return m.Header.Get("X-Sender") == "shop" }))
	b.boughtOnce(1)
}
