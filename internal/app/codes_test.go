package app_test

import (
	"fmt"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// answerTest is an answer of PressOne's to a submission, and what is to come of it.
type answerTest struct {
	name  string
	fault pressonesim.Fault
	// completed, or a dead letter with this code and class
	code, class string
}

func status(code, times, http int) pressonesim.Fault {
	return pressonesim.Fault{Action: pressonesim.Status, Status: http, Code: code, Times: times}
}

func body(http int, text string) pressonesim.Fault {
	return pressonesim.Fault{Action: pressonesim.Status, Status: http, Body: text, ContentType: "application/json"}
}

// refusals end as dead letters, and nothing is bought.
var refusals = []answerTest{
	{"11", status(11, 0, 422), "11", "insufficient_credit"},
	{"4007", status(4007, 0, 402), "4007", "insufficient_credit"},
	{"402 without a code", status(0, 0, 402), "http_402", "insufficient_credit"},
	{"33", status(33, 0, 422), "33", "out_of_stock"},
	{"quantity", body(422, `{"data":{"quantity":"SIM quantity is not available. Available quantity: 0."},"meta":{"message":"the parameter is invalid"}}`), "http_422", "out_of_stock"},
	{"73", status(73, 0, 422), "73", "recycled"},
	{"14", status(14, 0, 422), "14", "rejected"},
	{"23", status(23, 0, 422), "23", "rejected"},
	{"34", status(34, 0, 422), "34", "rejected"},
	{"43", status(43, 0, 422), "43", "rejected"},
	{"an unknown code", status(77, 0, 422), "77", "rejected"},
	{"4001", status(4001, 0, 400), "4001", "rejected"},
	{"4008", status(4008, 0, 400), "4008", "rejected"},
	{"4010", status(4010, 0, 400), "4010", "rejected"},
	{"4005", status(4005, 0, 404), "4005", "rejected"},
	{"404 without a code", status(0, 0, 404), "http_404", "rejected"},
	{"413", status(0, 0, 413), "http_413", "rejected"},
	{"package_id", body(422, `{"data":{"package_id":"The selected package is invalid."},"meta":{"message":"the parameter is invalid"}}`), "http_422", "rejected"},
	{"package_id with 400", body(400, `{"data":{"package_id":"The selected package is invalid."},"meta":{"message":"the parameter is invalid"}}`), "http_400", "rejected"},
	{"code as text", body(422, `{"code":"33","reason":"insufficient stock of eSIMs"}`), "33", "out_of_stock"},
}

// passing are answers that are followed by success, with one purchase in the end.
func passing() []answerTest {
	tests := []answerTest{
		{"13 once", status(13, 1, 422), "", ""},
		{"53 once", status(53, 1, 422), "", ""},
		{"4004 once", pressonesim.Fault{Action: pressonesim.Status, Status: 429, Code: 4004, Times: 1, RetryAfter: time.Second}, "", ""},
		{"429 without Retry-After", status(0, 1, 429), "", ""},
		{"4009 once", status(4009, 1, 401), "", ""},
		{"4013 once", status(4013, 1, 401), "", ""},
		{"4014 twice", status(4014, 2, 401), "", ""},
		{"403 once", status(0, 1, 403), "", ""},
		{"89 once", status(89, 1, 422), "", ""},
	}
	for _, when := range []pressonesim.When{pressonesim.Before, pressonesim.After} {
		lost := func(name string, f pressonesim.Fault) {
			f.When, f.Times = when, 1
			tests = append(tests, answerTest{name + " " + string(when) + " the effect", f, "", ""})
		}
		lost("4033", status(4033, 1, 503))
		lost("5001", status(5001, 1, 500))
		lost("53", status(53, 1, 422))
		lost("409 with a code", status(4008, 1, 409))
		for _, s := range []int{408, 409, 500, 502, 503, 504, 520} {
			lost(fmt.Sprint(s), status(0, 1, s))
		}
		for _, a := range []pressonesim.Action{pressonesim.Drop, pressonesim.Garbled, pressonesim.MissingID, pressonesim.Redirect, pressonesim.Hang} {
			lost(string(a), pressonesim.Fault{Action: a})
		}
		lost("an empty 200", pressonesim.Fault{Action: pressonesim.Status, Status: http.StatusOK, Body: " ", ContentType: "text/html"})
	}
	return tests
}

// Every code of PressOne's tables ends as the design says, and every way to lose an answer
// ends in exactly one purchase.
func TestAnswersToOrders(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	b.unhurriedAnswers()
	b.lenientTokens()
	b.worker()
	b.publisher()
	tests := append(passing(), refusals...)
	for i, tt := range tests {
		pkg := fmt.Sprintf("p-%d", i)
		b.sim.AddPackage(pressonesim.Package{ID: pkg, Price: 450})
		tt.fault.Endpoint, tt.fault.PackageID = pressonesim.Orders, pkg
		b.sim.Inject(tt.fault)
		b.publish(message.Order, fmt.Sprintf(`{"request_id":"r-%d","package_id":"%s"}`, i, pkg))
	}
	for i, tt := range tests {
		e := b.result(fmt.Sprintf("r-%d", i), 1)
		sold := len(b.sim.Ledger().Package(fmt.Sprintf("p-%d", i)))
		b.checkAnswer(tt, e, sold)
	}
	b.checkDeadLetters(len(refusals))
}

// The same for top-ups, whose description PressOne replaces.
func TestAnswersToTopups(t *testing.T) {
	for _, keeping := range []pressonesim.Keeping{pressonesim.Kept, pressonesim.Replaced, pressonesim.Nulled} {
		t.Run(string(keeping), func(t *testing.T) {
			b := setup(t, pressonesim.Config{Knobs: pressonesim.Knobs{TopupDescription: keeping}})
			b.unhurriedAnswers()
			b.lenientTokens()
			b.worker()
			b.publisher()
			tests := append(passing(), refusals...)
			for i, tt := range tests {
				pkg, iccid := fmt.Sprintf("p-%d-topup", i), fmt.Sprintf("89340000000001%05d", i)
				b.sim.AddPackage(pressonesim.Package{ID: pkg, Kind: pressonesim.KindTopup, Price: 900})
				b.sim.AddSim(pressonesim.ESIM{ICCID: iccid, PackageID: "bonbon-mobile-30days-3gb", Status: pressonesim.Active})
				tt.fault.Endpoint, tt.fault.PackageID = pressonesim.Topups, pkg
				b.sim.Inject(tt.fault)
				b.publish(message.Topup, fmt.Sprintf(`{"request_id":"r-%d","package_id":"%s","iccid":"%s"}`, i, pkg, iccid))
			}
			for i, tt := range tests {
				e := b.result(fmt.Sprintf("r-%d", i), 1)
				sold := len(b.sim.Ledger().Topups(fmt.Sprintf("89340000000001%05d", i)))
				b.checkAnswer(tt, e, sold)
			}
			b.checkDeadLetters(len(refusals))
		})
	}
}

// unhurriedAnswers makes time for answers. SUBMIT_TIMEOUT is waited for where PressOne hangs; elsewhere it
// must not run out, or a submission that the simulator has not got round to yet would be looked for in vain.
func (b *bench) unhurriedAnswers() {
	maps.Copy(b.env, patient)
	b.env["SUBMIT_TIMEOUT"], b.env["SETTLE_DELAY"] = "6s", "1s"
}

func (b *bench) checkAnswer(tt answerTest, e event, sold int) {
	b.t.Helper()
	if tt.code == "" {
		require.Contains(b.t, e.Type, ".completed.", "%s: %v", tt.name, e.Data)
		require.Equal(b.t, 1, sold, tt.name)
		return
	}
	require.Contains(b.t, e.Type, ".failed.", "%s: %v", tt.name, e.Data)
	require.Equal(b.t, tt.code, e.Data["code"], tt.name)
	require.Equal(b.t, tt.class, e.Data["class"], tt.name)
	require.Equal(b.t, "no", e.Data["purchased"], tt.name)
	require.Equal(b.t, tt.class != "recycled", e.Data["replayable"], tt.name)
	require.Zero(b.t, sold, tt.name)
}

// checkDeadLetters compares the copies on the stream with the failed events.
func (b *bench) checkDeadLetters(n int) {
	b.t.Helper()
	copies := b.letters(n)
	require.Len(b.t, copies, n)
	failed := map[string]event{}
	for _, e := range b.events() {
		if id, ok := e.Data["dead_letter_id"].(string); ok {
			failed[id] = e
		}
	}
	for _, m := range copies {
		e, ok := failed[m.Header.Get(message.HeaderDeadLetterID)]
		require.True(b.t, ok)
		require.Equal(b.t, e.Data["code"], m.Header.Get(message.HeaderCode))
		require.Equal(b.t, e.Subject, m.Header.Get(message.HeaderRequestID))
		require.Equal(b.t, "submitting", m.Header.Get(message.HeaderState))
		require.Contains(b.t, string(m.Data), e.Subject)
	}
}

// lenientTokens lifts the limit of the token endpoint, which tests of failing tokens
// would run into.
func (b *bench) lenientTokens() {
	b.sim.Tune(func(k *pressonesim.Knobs) {
		k.Limits = map[pressonesim.Endpoint]pressonesim.Limit{pressonesim.Token: {}}
	})
}
