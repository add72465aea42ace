package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"esimflow/internal/deadletter"
	"esimflow/internal/message"
	"esimflow/internal/ops"
	"esimflow/internal/pressonesim"
	"esimflow/internal/saga"
)

// TestOperators drives one system with everything that operators type. The subtests are
// in order: each works on requests of its own.
func TestOperators(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *stack)
	}{
		{"submits requests", testSubmit},
		{"lists and shows sagas", testSagas},
		{"adopts an order", testAdopt},
		{"confirms that nothing was bought", testConfirmAbsent},
		{"replays when there is credit again", testReplay},
		{"is refused in part", testReplayPartly},
		{"deals with bytes that are no request", testMalformed},
		{"corrects what could not be understood", testEdit},
		{"discards", testDiscard},
		{"finds nothing", testNotFound},
		{"is told what is missing", testMissing},
		{"is not let in", testUnauthorized},
	} {
		t.Run(part.name, func(t *testing.T) {
			part.test(t, &stack{t: t, env: s.env, sim: s.sim, nc: s.nc})
		})
	}
}

func testSagas(t *testing.T, s *stack) {
	t.Helper()
	s.ok("order", "submit", "--package", aPackage, "--request-id", "sagas-1", "--wait")
	done := s.awaitState("sagas-1", saga.Completed)

	list := s.ok("saga", "list", "--state", "completed", "--kind", "order", "--order-id", number(done.OrderID))
	require.Contains(t, list, done.ID.String())
	require.Contains(t, list, "sagas-1")
	require.Len(t, okJSON[[]saga.Summary](s, "saga", "list", "--limit", "1"), 1)
	none := s.exits(exitOK, "saga", "list", "--request-id", "nobody's", "--json")
	require.Empty(t, fromJSON[[]saga.Summary](t, none.out))
	require.Contains(t, none.err, "No saga matches")

	byRequest := s.ok("saga", "show", "sagas-1")
	require.Equal(t, byRequest, s.ok("saga", "show", done.ID.String()))
	for _, want := range []string{
		"completed: nobody moves it", "1 × " + aPackage, done.Reference, "submitting → polling", "notifying → completed", "+",
	} {
		require.Contains(t, byRequest, want)
	}
	require.NotContains(t, byRequest, "LPA:1$")
	view := okJSON[ops.SagaView](s, "saga", "show", "sagas-1")
	require.Equal(t, saga.Announced, view.Timeline[len(view.Timeline)-1].Event)
}

// lost makes the answer to a purchase be lost, so that whether it was bought is unknown,
// and waits until an operator has to decide. applied says whether it was bought.
func lost(s *stack, name string, applied bool) {
	s.t.Helper()
	when := pressonesim.Before
	if applied {
		when = pressonesim.After
	}
	s.sim.AddPackage(pressonesim.Package{ID: name, Price: 450, AmountMB: 1000, Days: 7, ListLag: time.Hour})
	s.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, PackageID: name, When: when, Action: pressonesim.Drop, Times: 1})
	s.ok("order", "submit", "--package", name, "--request-id", name)
	s.awaitState(name, saga.DeadLettered)
	s.letter("--package", name, "--code", saga.CodeOutcomeUnknown)
}

func testAdopt(t *testing.T, s *stack) {
	t.Helper()
	lost(s, "lost-and-bought", true)
	order := s.sim.Ledger().Package("lost-and-bought")[0]
	number := fmt.Sprint(order.ID)

	r := s.exits(exitUsage, "saga", "adopt", "lost-and-bought", "--order", number)
	require.Contains(t, r.err, "--reason")
	require.Contains(t, s.exits(exitUsage, "saga", "adopt", "lost-and-bought", "--reason", "x").err, "--order")
	require.Contains(t, s.exits(exitUsage, "saga", "adopt", "lost-and-bought", "--order", number, "--reason", "x", "--actor", " ").err, "--actor")
	require.Contains(t, s.exits(exitRefused, "saga", "adopt", "lost-and-bought", "--order", "1", "--reason", "a guess").err, "refused")

	require.Contains(t, s.ok("saga", "adopt", "lost-and-bought", "--order", number, "--reason", "seen in their console"), "polling")
	s.awaitState("lost-and-bought", saga.Completed)
	shown := s.ok("saga", "show", "lost-and-bought")
	require.Contains(t, shown, "by maria: seen in their")
	again := s.exits(exitRefused, "saga", "adopt", "lost-and-bought", "--order", number, "--reason", "again")
	require.Equal(t, "esimctl: refused: a saga that is completed cannot be adopted\n", again.err)
	require.Len(t, s.sim.Ledger().Package("lost-and-bought"), 1)
	require.Contains(t, s.ok("dlq", "list", "--status", "adopted"), "lost-and-bought")
}

func testConfirmAbsent(t *testing.T, s *stack) {
	t.Helper()
	lost(s, "lost-and-absent", false)

	letter := s.letter("--package", "lost-and-absent")
	inBulk := s.exits(exitRefused, "dlq", "replay", "--package", "lost-and-absent", "--reason", "x", "--yes")
	require.Contains(t, inBulk.err, "replay it by itself")
	require.Contains(t, s.ok("dlq", "replay", letter, "--dry-run"), "unknown", "by its id it may be replayed")

	moved := okJSON[ops.Moved](s, "saga", "confirm-absent", "lost-and-absent", "--reason", "PressOne says so", "--actor", "joe")
	require.Equal(t, saga.Pending, moved.State)
	s.awaitState("lost-and-absent", saga.Completed)
	s.exits(exitRefused, "saga", "confirm-absent", "lost-and-absent", "--reason", "again")
	require.Len(t, s.sim.Ledger().Package("lost-and-absent"), 1)
}

// broke submits requests that PressOne refuses for lack of credit.
func broke(s *stack, requestIDs ...string) {
	s.t.Helper()
	s.sim.SetBalance(0)
	for _, id := range requestIDs {
		s.ok("order", "submit", "--package", aPackage, "--request-id", id)
	}
	for _, id := range requestIDs {
		s.awaitState(id, saga.DeadLettered)
	}
	s.sim.SetBalance(1_000_000)
}

func testReplay(t *testing.T, s *stack) {
	t.Helper()
	broke(s, "broke-1", "broke-2", "broke-3")
	list := okJSON[[]deadletter.Letter](s, "dlq", "list", "--code", "11", "--class", "insufficient_credit", "--kind", "order")
	require.Len(t, list, 3)
	require.Contains(t, s.ok("dlq", "list", "--code", "11"), "broke-2")
	shown := s.ok("dlq", "show", list[0].ID.String())
	require.Contains(t, shown, `"request_id":"`+list[0].RequestID+`"`)
	require.Contains(t, shown, "bought       no")
	require.Contains(t, shown, "application/json")

	require.Contains(t, s.exits(exitUsage, "dlq", "replay", "--code", "11").err, "--reason")
	require.Contains(t, s.exits(exitUsage, "dlq", "replay", "--code", "11", "--reason", "credited").err, "--yes")
	dry := s.exits(exitOK, "dlq", "replay", "--code", "11", "--dry-run")
	require.Contains(t, dry.err, "3 dead letters would be replayed")
	require.Contains(t, dry.err, "cost: 28.50 USD")
	require.Contains(t, dry.err, "packages: "+aPackage+" ×3")
	require.Equal(t, 3, strings.Count(dry.out, "→ pending"))
	groups := okJSON[[]deadletter.Group](s, "dlq", "list", "--group", "--code", "11")
	require.Equal(t, []any{"11", "insufficient_credit", 3}, []any{groups[0].Code, groups[0].Class, groups[0].Count})
	require.Contains(t, s.ok("dlq", "list", "--group"), "insufficient_credit")
	s.awaitState("broke-1", saga.DeadLettered)

	r := s.exits(exitOK, "dlq", "replay", "--code", "11", "--reason", "account credited", "--yes", "--wait", "--rate", "50", "--json")
	report := fromJSON[deadletter.ReplayReport](t, r.out)
	require.Len(t, report.Set, 3)
	require.Equal(t, deadletter.Done, report.State)
	for _, one := range report.Set {
		require.Equal(t, deadletter.Released, one.State)
		require.Equal(t, saga.Completed, one.Saga)
	}
	require.Contains(t, s.ok("replay", "list"), report.ID.String())
	shown = s.ok("replay", "show", report.ID.String())
	require.Contains(t, shown, "account credited")
	require.Contains(t, shown, "3 done, 0 refused, 0 failed, 0 skipped, 0 waiting")
	require.Equal(t, report, okJSON[deadletter.ReplayReport](s, "replay", "show", report.ID.String()))
	require.Contains(t, s.exits(exitRefused, "replay", "abort", report.ID.String(), "--reason", "x").err, "done already")
	require.Contains(t, s.ok("saga", "show", "broke-1"), "by maria: account credited")
	require.Contains(t, s.ok("dlq", "list", "--status", "replayed"), "broke-1")
	require.Contains(t, s.exits(exitNotFound, "dlq", "replay", "--code", "11", "--reason", "x", "--yes").err, "no open dead letter")
}

func testReplayPartly(t *testing.T, s *stack) {
	t.Helper()
	broke(s, "partly-1", "partly-2")
	ids := map[string]string{}
	for _, l := range okJSON[[]deadletter.Letter](s, "dlq", "list", "--code", "11") {
		ids[l.RequestID] = l.ID.String()
	}
	require.Len(t, ids, 2)
	job := strings.TrimSpace(s.ok("dlq", "replay", ids["partly-1"], "--reason", "x", "--yes"))
	s.awaitState("partly-1", saga.Completed)
	require.Contains(t, s.ok("replay", "show", job), "→ pending")

	both := []string{"dlq", "replay", "--id", ids["partly-1"], ids["partly-2"], "--reason", "x", "--yes"}
	r := s.exits(exitPartly, append(both, "--wait")...)
	require.Contains(t, r.out, "refused: it was replayed")
	require.Contains(t, r.err, "1 replayed, 1 refused")
	s.awaitState("partly-2", saga.Completed)
	s.exits(exitRefused, both...)
	s.exits(exitRefused, append(both, "--dry-run")...)

	broke(s, "partly-3")
	s.sim.SetBalance(0)
	again := s.exits(exitRefused, "dlq", "replay", "--code", "11", "--reason", "x", "--yes", "--wait")
	require.Contains(t, again.out, "skipped: stopped: the balance is too low")
	s.sim.SetBalance(1_000_000)
	s.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, Action: pressonesim.Status, Status: 422, Code: 11, Times: 1})
	again = s.exits(exitFailed, "dlq", "replay", "--code", "11", "--reason", "x", "--yes", "--wait")
	require.Contains(t, again.out, "dead_lettered again, with code 11")
	require.Contains(t, s.exits(exitRefused, "saga", "discard", "partly-3", "--reason", "enough").err, "more than once")
	s.ok("saga", "discard", "partly-3", "--reason", "enough", "--letter", s.letter("--code", "11"))
}

func testMalformed(t *testing.T, s *stack) {
	t.Helper()
	s.publish(message.Order, []byte("\xff\x00 no JSON"))
	letter := s.letter("--code", saga.CodeMalformed)
	shown := s.ok("dlq", "show", letter)
	require.Contains(t, shown, "ff 00 20 6e 6f", "what is no text is dumped")
	require.Contains(t, shown, "X-Sender  shop")
	require.Equal(t, "\xff\x00 no JSON", string(okJSON[deadletter.Letter](s, "dlq", "show", letter).Body))

	r := s.exits(exitOK, "dlq", "replay", letter, "--reason", "try again", "--yes", "--wait")
	require.Contains(t, r.out, "→ esim.request.order, as a new request")
	next := s.letter("--code", saga.CodeMalformed)
	require.NotEqual(t, letter, next)
	require.Contains(t, s.exits(exitRefused, "dlq", "resubmit", next, "--reason", "x", "--yes").err, "cannot be understood")
	s.ok("dlq", "resubmit", next, "--reason", "x", "--yes", "--force")
	last := s.letter("--code", saga.CodeMalformed)
	require.Contains(t, s.ok("dlq", "discard", last, "--reason", "rubbish"), "discarded")
	require.Contains(t, s.exits(exitRefused, "dlq", "discard", last, "--reason", "rubbish").err, "it was discarded")
}

// testEdit: a request that could not be understood is corrected, and ends completed.
func testEdit(t *testing.T, s *stack) {
	t.Helper()
	s.publish(message.Order, []byte(`{"request_id":"edit-1","package_id":"`+aPackage+`","quantity":"two"}`))
	letter := s.letter("--code", saga.CodeMalformed)
	env := s.with("EDITOR", "sed -i s/xyz/abc/")
	require.Contains(t, runIn(t, env, "dlq", "edit", letter, "--reason", "x", "--yes").err, "nothing was changed")
	require.Contains(t, runIn(t, s.env, "dlq", "edit", letter, "--reason", "x", "--yes").err, "EDITOR")
	env["EDITOR"] = `sed -i s/"two"/2/`
	r := runIn(t, env, "dlq", "edit", letter, "--reason", "quantity was a word", "--yes")
	require.Equal(t, exitOK, r.code, r.err)
	require.Equal(t, 2, s.awaitState("edit-1", saga.Completed).Quantity)
	require.Contains(t, s.ok("dlq", "show", letter), "replayed")

	s.publish(message.Order, []byte(`{"request_id":"edit-2"}`))
	letter = s.letter("--code", saga.CodeMalformed)
	file := filepath.Join(t.TempDir(), "corrected.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"request_id":"edit-2","package_id":"`+aPackage+`"}`), 0o600))
	s.ok("dlq", "resubmit", letter, "--file", file, "--reason", "it had no package", "--yes")
	s.awaitState("edit-2", saga.Completed)
	s.exits(exitRefused, "dlq", "resubmit", letter, "--file", file, "--reason", "again", "--yes")

	broke(s, "edit-3")
	require.Contains(t, s.exits(exitRefused, "dlq", "resubmit", s.letter("--code", "11"), "--reason", "x", "--yes").err, "cannot be changed")
	s.ok("saga", "discard", "edit-3", "--reason", "x")
}

func testDiscard(t *testing.T, s *stack) {
	t.Helper()
	broke(s, "discard-1", "discard-2")
	require.Contains(t, s.ok("saga", "discard", "discard-1", "--reason", "customer left"), "discarded")
	s.exits(exitRefused, "saga", "discard", "discard-1", "--reason", "customer left")
	s.exits(exitRefused, "saga", "confirm-absent", "discard-2", "--reason", "it is known")
	letter := s.letter("--code", "11")
	require.Contains(t, s.exits(exitUsage, "dlq", "discard", letter).err, "--reason")
	s.ok("dlq", "discard", letter, "--reason", "customer left")
	s.awaitState("discard-2", saga.Discarded)
	empty := s.exits(exitOK, "dlq", "list", "--code", "11")
	require.Empty(t, empty.out)
	require.Contains(t, empty.err, "No dead letter matches")
}

func testNotFound(t *testing.T, s *stack) {
	t.Helper()
	id := uuid.NewString()
	for _, args := range [][]string{
		{"saga", "show", "nobody's"},
		{"saga", "show", "no/body's?"},
		{"saga", "show", id},
		{"saga", "adopt", id, "--order", "1", "--reason", "x"},
		{"saga", "confirm-absent", id, "--reason", "x"},
		{"saga", "discard", id, "--reason", "x"},
		{"dlq", "resubmit", id, "--reason", "x", "--yes"},
		{"dlq", "replay", id, "--reason", "x", "--yes"},
		{"dlq", "replay", "--iccid", "8934000000000008728", "--reason", "x", "--yes"},
		{"dlq", "replay", "--older", "1000h", "--dry-run"},
	} {
		require.Empty(t, s.exits(exitNotFound, args...).out)
	}
}

func testUnauthorized(t *testing.T, s *stack) {
	t.Helper()
	for _, token := range []string{"", "a-wrong-one"} {
		r := runIn(t, s.with("OPS_TOKEN", token), "saga", "list")
		require.Equal(t, exitFailed, r.code)
		require.Contains(t, r.err, "OPS_TOKEN")
		require.NotContains(t, r.err, opsToken)
	}
	r := runIn(t, s.with("ESIMFLOW_URL", "http://127.0.0.1:1"), "saga", "list", "--url", s.env["ESIMFLOW_URL"])
	require.Equal(t, exitOK, r.code, "--url comes before ESIMFLOW_URL: %s", r.err)
}
