package app_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// cutPoint is a commit whose connection breaks, in a process that lives.
type cutPoint struct {
	killPoint
	then  func(b *bench) // instead of waiting for the result
	act   *act           // what the operator presses, until it is done
	moved bool           // the saga is taken over from the process while PressOne's answer is on its way
	kept  bool           // PressOne's answer has to be on record in the end, whatever else is
	soon  bool           // not only when the lease on the token's refresh has run out
}

// cutPoints is the kill points whose commits are cut too.
func cutPoints() []cutPoint {
	all := killPoints()
	like := func(name string) killPoint {
		i := slices.IndexFunc(all, func(p killPoint) bool { return p.name == name })
		return all[i]
	}
	claim := like("10-claimed")
	claim.killed, claim.once = nil, func(b *bench) bool { return b.count("SELECT count(*) FROM saga WHERE state = 'pending'") == 1 }
	accepted := like("02-accepted")
	accepted.arrange = nil // nobody opens the lane
	late := like("56-late-fragment")
	late.late, late.env = nil, map[string]string{"SUBMIT_TIMEOUT": "90s"}
	lateFound := like("57-late-answer")
	lateFound.late, lateFound.env = nil, late.env
	replayed := like("90-replayed")
	replayed.press = nil
	pressed := replay(addCredit)
	notReady := like("71-not-ready")
	notReady.env = nil
	points := []cutPoint{
		{killPoint: notReady, then: func(b *bench) {
			b.sim.Tune(func(k *pressonesim.Knobs) { k.ReadyAfter = 0 })
			b.ended(1)
		}},
		{killPoint: like("87-malformed"), then: func(b *bench) {
			require.Eventually(b.t, func() bool { return b.streamed(message.DeadLettersStream) == 1 }, unhurried, 5*time.Millisecond)
		}},
		{killPoint: claim},
		{killPoint: accepted},
		{killPoint: like("50-submitted"), kept: true},
		{killPoint: like("51-submitted-topup"), kept: true},
		{killPoint: late, moved: true, kept: true},
		{killPoint: lateFound, moved: true, kept: true},
		{killPoint: replayed, act: &pressed},
		{killPoint: like("20-token-lease"), soon: true},
		{killPoint: like("22-token-stored"), soon: true},
	}
	for _, name := range []string{
		"01-accepted-with-intent", "12-intent", "13-intent-topup", "31-list-unread",
		"52-no-answer", "54-not-applied", "55-refused", "62-found", "63-found-topup", "65-not-found", "66-proved-absent",
		"73-ready", "80-leadership", "82-announced", "84-letter-noted",
	} {
		points = append(points, cutPoint{killPoint: like(name)})
	}
	return points
}

// hasty is the settings of a process that has to notice by itself what it was not told. Its lease, and what it
// sends, outlive a machine that does something else for seconds: otherwise a request takes another way.
var hasty = map[string]string{"SUBMIT_TIMEOUT": "8s", "READ_TIMEOUT": "20s", "LEASE_TTL": "9s", "POLL_INITIAL": "50ms", "POLL_MAX": "200ms"}

// Postgres may answer a COMMIT with a broken connection, and then it has either committed or
// not. Whoever asked goes on living, finds out by itself, and nothing is bought twice.
func TestCommitsOfUnknownOutcome(t *testing.T) {
	for _, p := range cutPoints() {
		for _, when := range []moment{before, after} {
			t.Run(p.name+"-"+string(when), func(t *testing.T) { p.survive(setup(t, p.sim), when) })
		}
	}
}

func (p cutPoint) survive(b *bench, when moment) {
	t := b.t
	maps.Copy(b.env, hasty)
	maps.Copy(b.env, p.env)
	b.redeliverSoon()
	if p.arrange != nil {
		p.arrange(b)
	}
	cut := newWires(t, p.at(b), when)
	cut.cut = true
	direct := b.env
	through := maps.Clone(b.env)
	through["DATABASE_URL"] = cut.postgres(b.env["DATABASE_URL"])
	if p.moved {
		cut.slow = newPause(calls(http.MethodPost, "/orders"))
		through["PRESSONE_BASE_URL"] = cut.pressone(b.env["PRESSONE_BASE_URL"], new([]byte))
	}
	b.publish(p.orOrder(), p.request(p.orOrder()))
	var w *app.Worker
	if p.program == app.PublisherProgram {
		w = b.patientWorker()
		b.env = through
		b.publisher()
	} else {
		b.env = through
		w = b.patientWorker()
		b.env = direct
		b.publisher()
	}
	b.env = direct
	if p.moved {
		b.takenOver(cut.slow)
	}
	if p.act != nil {
		p.act.untilDone(b, w)
	}
	select {
	case <-cut.reached:
	case <-time.After(unhurried):
		require.Fail(t, "it does not get there", "books: %s", b.books())
	}
	switch {
	case p.soon:
		b.refreshesLong()
	case p.moved:
		b.later() // what was sent has settled
	}
	if p.then != nil {
		p.then(b)
	} else {
		b.ended(max(p.ends, 1))
	}
	b.allQuiet()
	require.Equal(t, p.finallySold(), b.sim.SoldCount(), "sold")
	if p.kept {
		require.NotZero(t, b.count("SELECT count(*) FROM saga_answer"), "PressOne's answer is not kept")
	}
	b.comesBack(w)
}

// refreshesLong makes the lease on the token's refresh, if somebody has it, last for longer than anybody waits here.
func (b *bench) refreshesLong() {
	b.t.Helper()
	_, err := b.db.Exec(b.t.Context(), `UPDATE provider_token SET refreshing_until = now() + interval '4 minutes' WHERE refreshing_until > now()`)
	require.NoError(b.t, err)
}

// takenOver has another worker take the saga over while PressOne's answer is on its way.
func (b *bench) takenOver(slow *pause) {
	b.t.Helper()
	select {
	case <-slow.begun:
	case <-time.After(unhurried):
		require.Fail(b.t, "nothing is submitted", "books: %s", b.books())
	}
	_, err := b.db.Exec(b.t.Context(), `UPDATE worker SET expires_at = now() - interval '1 second'`)
	require.NoError(b.t, err)
	b.patientWorker()
	require.Eventually(b.t, func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'unknown'") == 1 }, unhurried, 5*time.Millisecond)
	close(slow.letGo)
}

// untilDone presses until that is answered.
func (a act) untilDone(b *bench, w *app.Worker) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return b.count("SELECT count(*) FROM dead_letter") == 1 },
		unhurried, 5*time.Millisecond, "it does not stop")
	if a.change != nil {
		a.change(b)
	}
	a = a.about(b)
	first := b.press(w.APIAddr(), a.path, a.body)
	require.Contains(b.t, first, `"failed":true`, "nobody knows whether it was done")
	second := b.press(w.APIAddr(), a.path, a.body)
	require.NotContains(b.t, second, `"failed":true`)
}

// comesBack holds if the worker takes requests, and completes them, as if nothing had been.
func (b *bench) comesBack(w *app.Worker) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return w.Ready() == nil }, unhurried, 10*time.Millisecond)
	b.sim.ClearFaults()
	b.sim.Tune(func(k *pressonesim.Knobs) { *k = pressonesim.Knobs{} })
	sold := b.sim.SoldCount()
	b.publish(message.Order, order("next"))
	require.Eventually(b.t, func() bool {
		return b.count("SELECT count(*) FROM saga WHERE request_id = 'next' AND state = 'completed'") == 1
	}, unhurried, 10*time.Millisecond)
	require.Equal(b.t, sold+1, b.sim.SoldCount())
}
