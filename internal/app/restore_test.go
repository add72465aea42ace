package app_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/config"
	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
	"esimflow/internal/restore"
)

// sinceTheCopy is an installation that has gone on after a copy of its database was made: what
// was pending then was bought, what was unknown or polled was completed, what had stopped was replayed, more was bought. Then all
// programs were stopped, and the copy put in the place of the database.
type sinceTheCopy struct {
	*bench
	copiedAt time.Time
	sold     int
	bought   []string // requests that were completed, before or since
	purged   string   // one of them, whose request is not on the stream any more
}

func setupSinceTheCopy(t *testing.T, sim pressonesim.Config) *sinceTheCopy {
	t.Helper()
	b := &sinceTheCopy{bench: setup(t, sim), purged: "since-0"}
	b.lenientTokens()
	maps.Copy(b.env, patient)     // only the answer that is meant to is lost
	b.env["LEASE_TTL"] = "1500ms" // it is waited for, see begin
	iccids := pressonesim.DefaultICCIDs()
	topup := func(id string, n int) {
		b.publish(message.Topup, fmt.Sprintf(`{"request_id":"%s","package_id":"bonbon-mobile-30days-3gb-topup","iccid":"%s"}`, id, iccids[n]))
		b.bought = append(b.bought, id)
	}
	w, stop := b.brief()

	b.bought = b.orders("done", 2)
	topup("done-topup", 0)
	b.completed(b.bought...)
	b.sim.SetBalance(0) // these stop, and are replayed after the copy
	poor := b.orders("poor", 2)
	require.Eventually(t, func() bool { return len(b.openLetters()) == 2 }, time.Minute, 20*time.Millisecond)
	b.sim.SetBalance(1_000_00)
	b.post(w, "gate/pause", `{"lane":"read","actor":"ann","reason":"lists are slow"}`, http.StatusOK)
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, When: pressonesim.After, Action: pressonesim.Drop, Times: 1})
	b.bought = append(b.bought, b.orders("unknown", 1)...)
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'unknown'") == 1 }, time.Minute, 20*time.Millisecond)
	b.bought = append(b.bought, b.orders("polling", 1)...)
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'polling'") == 1 }, time.Minute, 20*time.Millisecond)
	for _, kind := range message.Kinds() {
		b.post(w, "gate/pause", fmt.Sprintf(`{"kind":"%s","actor":"ann","reason":"prices"}`, kind), http.StatusOK)
	}
	b.bought = append(b.bought, b.orders("pending", 3)...)
	topup("pending-topup", 1)
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'pending'") == 4 }, time.Minute, 20*time.Millisecond)

	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM outbox") == 0 }, time.Minute, 20*time.Millisecond)

	backup := devstack.CopyPostgres(t, b.env["DATABASE_URL"])
	b.copiedAt = time.Now()

	require.Eventually(t, func() bool { return w.Ready() == nil }, time.Minute, 20*time.Millisecond)
	b.resumeReading(w)
	for _, kind := range message.Kinds() {
		b.insist(w, "gate/resume", fmt.Sprintf(`{"kind":"%s","actor":"ann","reason":"prices"}`, kind))
	}
	for _, id := range b.openLetters() {
		b.insist(w, "dead-letters/replay", fmt.Sprintf(`{"ids":["%s"],"actor":"ann","reason":"credit"}`, id))
	}
	b.bought = append(b.bought, b.orders("since", 3)...)
	topup("since-topup", 2)
	b.publish(message.Order, order("since-1"))   // again
	b.publish(message.Order, order("pending-1")) // again
	b.publish(message.Order, "bytes that mean nothing")
	b.completed(b.bought...)
	for _, id := range poor {
		require.Contains(t, b.result(id, 2).Type, ".completed.")
	}
	b.bought = append(b.bought, poor...)
	require.Eventually(t, func() bool { return len(b.openLetters()) == 1 && b.count("SELECT count(*) FROM outbox") == 0 },
		time.Minute, 20*time.Millisecond)
	stop()
	b.sold = b.sim.SoldCount()
	require.Equal(t, len(b.bought), b.sold)

	for _, m := range b.messages(message.RequestsStream) {
		if string(m.Data) == order(b.purged) {
			s, err := b.js.Stream(t.Context(), message.RequestsStream)
			require.NoError(t, err)
			require.NoError(t, s.DeleteMsg(t.Context(), m.Sequence))
		}
	}
	b.env["DATABASE_URL"] = backup
	lost, err := pgxpool.New(t.Context(), backup)
	require.NoError(t, err)
	b.db, lost = lost, b.db
	t.Cleanup(func() {
		b.checkSecrets()
		b.db.Close()
		b.db = lost // for what is checked at the end
	})
	require.Equal(t, 11, b.count("SELECT count(*) FROM saga"), "the copy knows nothing of what came since")
	return b
}

// brief starts a worker and a publisher that stop before the test ends.
func (b *bench) brief() (w *app.Worker, stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w, err := app.NewWorker(b.t.Context(), b.config(config.Worker), b.logger())
	require.NoError(b.t, err)
	p, err := app.NewPublisher(b.t.Context(), b.config(config.Publisher), b.logger())
	require.NoError(b.t, err)
	done := make(chan error, 2)
	go func() { done <- w.Run(ctx) }()
	go func() { done <- p.Run(ctx) }()
	stopped := false
	stop = func() {
		if cancel(); !stopped {
			stopped = true
			require.NoError(b.t, <-done)
			require.NoError(b.t, <-done)
		}
	}
	b.t.Cleanup(stop)
	require.Eventually(b.t, func() bool { return w.Ready() == nil }, time.Minute, 10*time.Millisecond, "worker is not ready")
	return w, stop
}

// resumeReading ends a pause that the copy holds too.
func (b *bench) resumeReading(w *app.Worker) {
	b.t.Helper()
	b.insist(w, "gate/resume", `{"lane":"read","actor":"ann","reason":"lists are fast"}`)
}

// insist asks the API to do something. To copy, all connections to Postgres were ended: whoever meets such a one is
// refused, and tries again.
func (b *bench) insist(w *app.Worker, path, body string) {
	b.t.Helper()
	b.await(func() bool {
		status, _ := b.ask(w, http.MethodPost, path, body)
		return status != http.StatusInternalServerError
	})
}

// begin opens the restored database, as soon as the leases in it have run out.
func (b *sinceTheCopy) begin() (begun restore.Begun) {
	b.t.Helper()
	conn, err := pgx.Connect(b.t.Context(), b.env["DATABASE_URL"])
	require.NoError(b.t, err)
	defer func() { require.NoError(b.t, conn.Close(context.Background())) }()
	var refused *restore.RefusedError
	require.Eventually(b.t, func() bool {
		begun, err = restore.Begin(b.t.Context(), conn, b.copiedAt, restore.By{Actor: "ann", Reason: "disk lost"})
		if err != nil {
			require.ErrorAs(b.t, err, &refused)
		}
		return err == nil
	}, time.Minute, 50*time.Millisecond)
	return begun
}

// audit audits from the day before the copy on, to its end.
func (b *bench) audit(w *app.Worker, from time.Time) map[string]any {
	b.t.Helper()
	run := b.post(w, "audits", fmt.Sprintf(`{"from":"%s","actor":"ann"}`, from.UTC().AddDate(0, 0, -1).Format(time.DateOnly)), http.StatusOK)
	var report map[string]any
	require.Eventually(b.t, func() bool {
		report = b.get(w, fmt.Sprintf("audits/%s", run["id"]))
		return report["state"] != "running"
	}, time.Minute, 50*time.Millisecond)
	require.Equal(b.t, "done", report["state"], "%v", report)
	return report
}

// redelivered has everything delivered again to a worker that starts then, and waits until all
// is taken. Upstream has sent one request again meanwhile.
func (b *sinceTheCopy) redelivered() (w *app.Worker) {
	b.t.Helper()
	_, err := restore.Redeliver(b.t.Context(), b.js)
	require.NoError(b.t, err)
	b.publish(message.Order, order("since-1"))
	w, _ = b.brief()
	b.resumeReading(w)
	require.Eventually(b.t, func() bool {
		left, err := restore.Left(b.t.Context(), b.js)
		return err == nil && left == 0
	}, time.Minute, 50*time.Millisecond)
	return w
}

// openFindings are the orders of a report's findings that are open.
func openFindings(report map[string]any) (ids []string) {
	findings, _ := report["findings"].([]any)
	for _, f := range findings {
		if f, _ := f.(map[string]any); f["status"] == "open" {
			ids = append(ids, fmt.Sprint(f["id"]))
		}
	}
	return ids
}

// The database is restored to an older point, and opened as docs/operations.md says. Nothing
// that was bought since is bought again: what was pending, what was replayed, what was taken
// since. The audit gives each order to the saga with its reference, an operator one whose saga has
// another; the one order whose request is nowhere any more is left. Everything is announced again, and life goes on.
func TestPostgresIsRestoredToAnOlderPoint(t *testing.T) {
	b := setupSinceTheCopy(t, pressonesim.Config{})
	begun := b.begin()
	require.Equal(t, []string{"order", "topup"}, begun.Paused)
	require.Equal(t, int64(6), begun.Extended)
	require.Equal(t, int64(2), begun.OpenDead)

	w := b.redelivered()
	require.Equal(t, 14, b.count("SELECT count(*) FROM saga"), "all but the one that was purged")
	require.Equal(t, b.sold, b.sim.SoldCount())
	// One was bought under another message of its request, or by an earlier version.
	_, err := b.db.Exec(t.Context(), "UPDATE saga SET reference = 'abcdefghijklmnopqrstuvwxyz' WHERE request_id = 'since-2'")
	require.NoError(t, err)
	report := b.audit(w, b.copiedAt)
	require.Len(t, openFindings(report), 2, "%v", report)
	require.Equal(t, 2, b.count("SELECT count(*) FROM audit_finding WHERE status = 'open' AND finding = 'orphan' AND why LIKE '%restored from an older point%'"))
	require.Equal(t, 8, b.count("SELECT count(*) FROM audit_finding WHERE status = 'adopted'"))
	known, _ := b.result("since-2", 1).Data["order"].(map[string]any) // upstream was told whose it is
	b.post(w, "sagas/since-2/adopt", fmt.Sprintf(`{"order_id":%.0f,"actor":"ann","reason":"its result names it"}`, known["id"]), http.StatusOK)
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM audit_finding WHERE status = 'open'") == 1 }, time.Minute, 20*time.Millisecond)
	open := openFindings(b.audit(w, b.copiedAt))
	require.Len(t, open, 1)
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'completed'") == 14 }, time.Minute, 20*time.Millisecond)
	require.Equal(t, 1, b.count("SELECT count(*) FROM dead_letter WHERE status = 'open'"), "the bytes that mean nothing")

	b.post(w, "audit-findings/"+open[0]+"/dismiss", `{"actor":"ann","reason":"delivered by hand"}`, http.StatusOK)
	for _, kind := range message.Kinds() {
		b.post(w, "gate/resume", fmt.Sprintf(`{"kind":"%s","actor":"ann","reason":"audited"}`, kind), http.StatusOK)
	}
	b.completed(b.orders("after", 2)...)
	require.Equal(t, b.sold+2, b.sim.SoldCount())
	require.Empty(t, b.sim.Ledger().Doubles())
	for _, id := range b.bought {
		require.Contains(t, b.result(id, 1).Type, "esimflow.")
	}
	orders := map[any]any{} // PressOne's order, and whose it is
	for _, e := range b.events() {
		bought, _ := e.Data["order"].(map[string]any)
		if owner, known := orders[bought["id"]]; known && bought != nil {
			require.Equal(t, owner, e.Subject, "who gets a result twice gets the same order")
		}
		orders[bought["id"]] = e.Subject
	}
}

// What the procedure is for: a worker that is started on such a database as if nothing had happened, where NATS has no
// witness, buys again what was pending when the copy was made. No worker can see that from the database alone. The audit finds each of them.
func TestARestoredPostgresIsNotOpenedAsItIs(t *testing.T) {
	b := setupSinceTheCopy(t, pressonesim.Config{})
	require.NoError(t, b.js.DeleteStream(t.Context(), message.WitnessStream))
	w, _ := b.brief()
	b.says("ESIM_WITNESS does not exist")
	b.resumeReading(w)
	for _, kind := range message.Kinds() { // an operator's, from before the copy
		b.post(w, "gate/resume", fmt.Sprintf(`{"kind":"%s","actor":"ann","reason":"prices"}`, kind), http.StatusOK)
	}
	require.Eventually(t, func() bool { return b.sim.SoldCount() == b.sold+4 }, time.Minute, 20*time.Millisecond)
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'completed'") == 9 }, time.Minute, 20*time.Millisecond)
	report := b.audit(w, b.copiedAt)
	require.Len(t, openFindings(report), 8, "%v", report)
	require.Equal(t, 4, b.count("SELECT count(*) FROM audit_finding WHERE status = 'open' AND finding = 'double'"))
	require.Equal(t, 4, b.count("SELECT count(*) FROM audit_finding WHERE status = 'open' AND finding = 'orphan'"))
}

// Somebody forgets the procedure, and starts a worker on a restored database. It sees from what NATS was told that commits are
// missing, before it claims anything, and pauses; it has taken over the pauses of before, so that whoever ends them reads why. It
// buys nothing of what is pending, and nothing that is new. Then the procedure is followed, and ends as if it had been from the beginning.
func TestAWorkerSeesThatItsPostgresWasRestored(t *testing.T) {
	b := setupSinceTheCopy(t, pressonesim.Config{})
	b.exec("DELETE FROM gate_pause WHERE name = 'order'") // as if the copy had been made a moment before
	_, stop := b.brief()
	require.Equal(t, 2, b.count("SELECT count(*) FROM gate_pause WHERE what = 'kind' AND actor = 'esimflow'"))
	require.Equal(t, 1, b.count("SELECT count(*) FROM gate_pause WHERE reason LIKE 'Postgres has lost commits: %EsimflowPostgresForgot%(paused before by ann: prices)'"))
	require.Contains(t, b.log.String(), "Postgres has lost commits")
	b.publish(message.Order, order("while-it-is-paused"))
	b.await(func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'pending'") == 5 })
	was := b.witnessed()
	b.await(func() bool { return b.witnessed() > was+1 })
	require.Equal(t, b.sold, b.sim.SoldCount())
	stop()

	require.Equal(t, []string{"order", "topup"}, b.begin().Paused)
	require.Zero(t, b.count("SELECT count(*) FROM gate_pause WHERE actor = 'esimflow'"))
	w := b.redelivered()
	require.Equal(t, 15, b.count("SELECT count(*) FROM saga"))
	require.Len(t, openFindings(b.audit(w, b.copiedAt)), 1, "the one that was purged")
	for _, kind := range message.Kinds() {
		b.post(w, "gate/resume", fmt.Sprintf(`{"kind":"%s","actor":"ann","reason":"audited"}`, kind), http.StatusOK)
	}
	b.completed("while-it-is-paused")
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'completed'") == 15 }, time.Minute, 20*time.Millisecond)
	require.Equal(t, b.sold+1, b.sim.SoldCount())
	require.Empty(t, b.sim.Ledger().Doubles())
	require.Equal(t, 1, b.count("SELECT losses FROM witness"), "it is said once")
}

// PressOne replaces the descriptions of top-ups, so that those that were bought since the copy
// have nobody's reference. Nobody guesses whose they are: they are findings that name the eSIM, an
// operator gives each to its request, and none is bought again.
func TestTopupsOfARestoredPostgresAreGivenByHand(t *testing.T) {
	b := setupSinceTheCopy(t, pressonesim.Config{Knobs: pressonesim.Knobs{TopupDescription: pressonesim.Replaced}})
	b.begin()
	w := b.redelivered()
	report := b.audit(w, b.copiedAt)
	require.Len(t, openFindings(report), 3, "%v", report)
	iccids := pressonesim.DefaultICCIDs()
	for n, id := range map[int]string{1: "pending-topup", 2: "since-topup"} {
		bought := b.sim.Ledger().Topups(iccids[n])
		require.Len(t, bought, 1)
		other := b.sim.Ledger().Topups(iccids[3-n])
		b.post(w, "sagas/"+id+"/adopt", fmt.Sprintf(`{"order_id":%d,"actor":"ann","reason":"x"}`, other[0].ID), http.StatusConflict)
		b.post(w, "sagas/"+id+"/adopt", fmt.Sprintf(`{"order_id":%d,"actor":"ann","reason":"its eSIM"}`, bought[0].ID), http.StatusOK)
	}
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'completed'") == 14 }, time.Minute, 20*time.Millisecond)
	for _, kind := range message.Kinds() {
		b.post(w, "gate/resume", fmt.Sprintf(`{"kind":"%s","actor":"ann","reason":"audited"}`, kind), http.StatusOK)
	}
	b.completed(b.orders("after", 1)...)
	require.Equal(t, b.sold+1, b.sim.SoldCount())
}
