package app_test

import (
	"net/http"
	"time"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
	"esimflow/internal/saga"
)

// nameless has PressOne write over the reference of a top-up.
var nameless = pressonesim.Config{Knobs: pressonesim.Knobs{TopupDescription: pressonesim.Replaced}}

const topupSold = "The lease of the dead runs out, and whoever takes the saga over cannot know whether a POST was sent: it becomes " +
	"unknown. PressOne has written \"Topup (<iccid>)\" over our reference; the look-up finds the top-up by its eSIM, package and time, " +
	"and nothing is submitted again."

// The POST itself. What the process sent may be on its way for as long as the intent's
// deadline and SETTLE_DELAY allow; nobody looks before.
func submitPoints() []killPoint {
	post, postTopup := calls(http.MethodPost, "/orders"), calls(http.MethodPost, "/orders/topups")
	unsold, sold := "submitting and held, PressOne has sold 0", "submitting and held, PressOne has sold 1"
	late := "The POST is on its way when the worker dies, and PressOne sells after that. Nobody has looked by then: what an intent may " +
		"have sent is waited for. "
	return []killPoint{
		{
			name: "40-post", what: "the POST reaches PressOne", stop: post,
			sides: map[moment]killed{
				before: {books: unsold, story: "It was sent and is lost on the way. " + takenOverUnsold},
				after:  {books: sold, story: "PressOne has sold it and answered; the answer arrives at a dead worker. " + takenOverSold},
			},
		},
		{
			name: "41-post-late", what: "the POST reaches PressOne, which it does later", stop: post,
			sides: map[moment]killed{
				before: {books: unsold, story: late + takenOverSold, meanwhile: func(_ *bench, v *victim) { v.delivered() }},
			},
		},
		{
			name: "42-post-topup", what: "the POST reaches PressOne", stop: postTopup, kind: message.Topup, sim: nameless,
			sides: map[moment]killed{
				before: {books: unsold, story: "It was sent and is lost on the way. " + takenOverUnsold},
				after:  {books: sold, story: "PressOne has sold it and answered; the answer arrives at a dead worker. " + topupSold},
			},
		},
		{
			name: "43-post-topup-late", what: "the POST reaches PressOne, which it does later", stop: postTopup, kind: message.Topup, sim: nameless,
			sides: map[moment]killed{
				before: {books: unsold, story: late + topupSold, meanwhile: func(_ *bench, v *victim) { v.delivered() }},
			},
		},
	}
}

// What comes of a POST.
func outcomePoints() []killPoint {
	unsold, sold := "submitting and held, PressOne has sold 0", "submitting and held, PressOne has sold 1"
	submitted := saga.Rule{From: saga.Submitting, On: saga.Submitted, To: saga.Polling}
	pollOn := "The order and PressOne's raw answer are on record. When the lease of the dead has run out, another worker gives the saga " +
		"back, unmoved, claims it, and polls."
	limited := fault(pressonesim.Fault{Action: pressonesim.Status, Status: 429, Code: 4004, RetryAfter: time.Second, Times: 1})
	return []killPoint{
		{
			name: "50-submitted", what: "the commit of PressOne's answer", edge: submitted,
			sides: map[moment]killed{
				before: {books: sold, story: "The answer was in the worker's memory only. " + takenOverSold},
				after:  {books: "polling and held, 1 answer kept, PressOne has sold 1", story: pollOn},
			},
		},
		{
			name: "51-submitted-topup", what: "the commit of PressOne's answer", edge: submitted, kind: message.Topup, sim: nameless,
			sides: map[moment]killed{
				before: {books: sold, story: "The answer was in the worker's memory only. " + topupSold},
				after:  {books: "polling and held, 1 answer kept, PressOne has sold 1", story: pollOn},
			},
		},
		{
			name: "52-no-answer", what: "the commit that its outcome is unknown",
			edge:    saga.Rule{From: saga.Submitting, On: saga.OutcomeUnknown, To: saga.Unknown},
			arrange: fault(pressonesim.Fault{Action: pressonesim.Drop, When: pressonesim.After, Times: 1}),
			sides: map[moment]killed{
				before: {books: sold, story: "PressOne has sold it, and the connection broke before the answer. " + takenOverSold},
				after: {
					books: "unknown, PressOne has sold 1",
					story: "PressOne has sold it, and the connection broke before the answer. That is on record, and the saga is nobody's: " +
						"another worker looks it up when it is due.",
				},
			},
		},
		{
			name: "53-lane-closed", what: "the commit that closes the lane of submissions", stop: writes("UPDATE provider_gate AS g"), arrange: limited,
			sides: map[moment]killed{
				before: {books: unsold, story: "PressOne has answered 429, and nobody knows. " + takenOverUnsold},
				after: {
					books: unsold,
					story: "PressOne has answered 429. Ordering is closed for everybody for as long as PressOne asked for. " + takenOverUnsold,
				},
			},
		},
		{
			name: "54-not-applied", what: "the commit that it had no effect", arrange: limited,
			edge: saga.Rule{From: saga.Submitting, On: saga.NotApplied, To: saga.Pending},
			sides: map[moment]killed{
				before: {books: unsold, story: "PressOne has answered 429, which had no effect, but that is not on record. " + takenOverUnsold},
				after: {
					books: "pending, PressOne has sold 0",
					story: "PressOne has answered 429, which had no effect: the saga is pending and nobody's. Another worker submits it when " +
						"it is due and ordering is open again.",
				},
			},
		},
		{
			name: "55-refused", what: "the commit that PressOne refuses it", sold: -1,
			edge:    saga.Rule{From: saga.Submitting, On: saga.Refused, To: saga.DeadLettered},
			arrange: fault(pressonesim.Fault{Action: pressonesim.Status, Status: 422, Code: 33}),
			sides: map[moment]killed{
				before: {books: unsold, story: "Code 33, out of stock, is not on record. " + takenOverUnsold + " PressOne refuses it again."},
				after: {
					books: "dead_lettered, 1 open letter, 2 messages in the outbox, PressOne has sold 0",
					story: "The letter, its copy for the stream and the result are in the same commit: the publisher does the rest.",
				},
			},
		},
	}
}

// An answer that comes when another worker has taken the saga over. It is evidence, and
// kept; if it names the order, whoever has it says so in the same commit.
func lateAnswerPoints() []killPoint {
	takenOver := killPoint{edge: saga.Rule{From: saga.Submitting, On: saga.WorkerLost, To: saga.Unknown}}
	absent := killPoint{edge: saga.Rule{From: saga.Unknown, On: saga.ProvedAbsent, To: saga.Pending}}
	patience := map[string]string{"SUBMIT_TIMEOUT": "90s"}
	late := "The worker has lost its lease during the POST, and another one has taken the saga over (and was killed). Then PressOne's answer arrives. "
	looks := "The look-up finds the order, by our reference."
	bounds := "PressOne breaks its bounds: it takes longer to show an order than SETTLE_DELAY. The worker has lost its lease during the POST; " +
		"others have taken the saga over and proved it absent (and were killed). Then PressOne's answer arrives. "
	return []killPoint{
		{
			name: "56-late-fragment", what: "the commit that keeps PressOne's late answer", stop: writes("INSERT INTO saga_answer (saga_id, attempt, status, body)\nVALUES"),
			arrange: fault(pressonesim.Fault{Action: pressonesim.Garbled, When: pressonesim.After, Times: 1}),
			late:    []killPoint{takenOver}, env: patience,
			sides: map[moment]killed{
				before: {books: "unknown, PressOne has sold 1", story: late + "It breaks off, and is lost. " + looks},
				after:  {books: "unknown, 1 answer kept, PressOne has sold 1", story: late + "It breaks off, and is kept, raw. " + looks},
			},
		},
		{
			name: "57-late-answer", what: "the commit that its late answer has found it",
			edge: saga.Rule{From: saga.Unknown, On: saga.Found, To: saga.Polling},
			late: []killPoint{takenOver}, env: patience,
			sides: map[moment]killed{
				before: {books: "unknown, PressOne has sold 1", story: late + "It is lost. The look-up finds the order, by our reference."},
				after: {
					books: "polling, 1 answer kept, PressOne has sold 1",
					story: late + "It is kept, raw, and the order is on record; the saga is nobody's. Another worker polls.",
				},
			},
		},
		{
			name: "58-late-answer-absent", what: "the commit that its late answer has found what was proved absent",
			edge: saga.Rule{From: saga.Pending, On: saga.Found, To: saga.Polling},
			sim:  pressonesim.Config{Knobs: pressonesim.Knobs{ListLag: time.Hour}},
			late: []killPoint{takenOver, absent}, env: patience,
			sides: map[moment]killed{
				after: {
					books: "polling, 1 answer kept, PressOne has sold 1",
					story: bounds + "It is kept, raw, and the order is on record just before it would have been submitted again; the saga is " +
						"nobody's. Another worker polls.",
				},
			},
		},
	}
}
