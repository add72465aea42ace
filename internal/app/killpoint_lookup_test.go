package app_test

import (
	"context"
	"net/http"
	"time"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
	"esimflow/internal/saga"
)

// Taking over from the dead, when who takes over dies too.
func takeOverPoints() []killPoint {
	sold := killPoint{stop: calls(http.MethodPost, "/orders")}
	return []killPoint{
		{
			name: "60-taken-over", what: "the commit of its take-over from a worker that was killed",
			edge: saga.Rule{From: saga.Submitting, On: saga.WorkerLost, To: saga.Unknown}, killed: []killPoint{sold},
			sides: map[moment]killed{
				before: {
					books: "submitting and held, PressOne has sold 1",
					story: "PressOne has sold it to a worker that was killed, and the one that would have taken it over is killed too. " + takenOverSold,
				},
				after: {
					books: "unknown, PressOne has sold 1",
					story: "PressOne has sold it to a worker that was killed; the one that has taken it over is killed too. The saga is nobody's, " +
						"and a third worker looks it up when it is due.",
				},
			},
		},
	}
}

var (
	lostAfter  = fault(pressonesim.Fault{Action: pressonesim.Drop, When: pressonesim.After, Times: 1})
	lostBefore = fault(pressonesim.Fault{Action: pressonesim.Drop, Times: 1})
)

func faults(all ...func(*bench)) func(*bench) {
	return func(b *bench) {
		for _, f := range all {
			f(b)
		}
	}
}

// The look-ups that come after a lost answer. A look-up changes nothing at PressOne: what
// was not committed is looked up again.
func lookUpPoints() []killPoint {
	unsold, sold := "unknown and held, PressOne has sold 0", "unknown and held, PressOne has sold 1"
	found := saga.Rule{From: saga.Unknown, On: saga.Found, To: saga.Polling}
	again := givenBack + " It is looked up again."
	pollOn := "The order is on record. When the lease of the dead has run out, another worker gives the saga back, unmoved, claims it, and polls."
	gaveUp := "dead_lettered, 1 open letter, 2 messages in the outbox, PressOne has sold 0"
	hold := map[string]string{"UNKNOWN_POLICY": "hold"}
	return []killPoint{
		{
			name: "61-look-up", what: "the reading of PressOne's list", stop: calls(http.MethodGet, "/orders"), arrange: lostAfter,
			sides: map[moment]killed{
				before: {books: sold, story: again},
				after:  {books: sold, story: "The list has shown the order to a dead worker. " + again},
			},
		},
		{
			name: "62-found", what: "the commit that it is found", edge: found, arrange: lostAfter,
			sides: map[moment]killed{
				before: {books: sold, story: again},
				after:  {books: "polling and held, PressOne has sold 1", story: pollOn},
			},
		},
		{
			name: "63-found-topup", what: "the commit that it is found", edge: found, kind: message.Topup, sim: nameless,
			arrange: fault(pressonesim.Fault{Endpoint: pressonesim.Topups, Action: pressonesim.Drop, When: pressonesim.After, Times: 1}),
			sides: map[moment]killed{
				before: {books: sold, story: again},
				after:  {books: "polling and held, PressOne has sold 1", story: pollOn},
			},
		},
		{
			name: "64-found-failed", what: "the commit that PressOne's record says it failed",
			edge:    saga.Rule{From: saga.Unknown, On: saga.FoundFailed, To: saga.Pending},
			sim:     pressonesim.Config{Knobs: pressonesim.Knobs{FailedRows: true}},
			arrange: fault(pressonesim.Fault{Action: pressonesim.Status, Status: 500, Times: 1}),
			sides: map[moment]killed{
				before: {books: unsold, story: again + " It says the same, and the order is submitted again."},
				after:  {books: "pending, PressOne has sold 0", story: "It is pending and nobody's: another worker submits it when it is due."},
			},
		},
		{
			name: "65-not-found", what: "the commit that it is not found", arrange: lostBefore,
			edge: saga.Rule{From: saga.Unknown, On: saga.NotFound, To: saga.Unknown},
			sides: map[moment]killed{
				before: {books: unsold, story: "A look that is not on record does not count. " + again},
				after: {
					books: "unknown, PressOne has sold 0",
					story: "The first look counts, and the saga is nobody's: another worker takes the second one when it is due.",
				},
			},
		},
		{
			name: "66-proved-absent", what: "the commit that its absence is proved", arrange: lostBefore,
			edge: saga.Rule{From: saga.Unknown, On: saga.ProvedAbsent, To: saga.Pending},
			sides: map[moment]killed{
				before: {books: unsold, story: "A look that is not on record does not count: the last one is taken again. " + givenBack},
				after: {
					books: "pending, PressOne has sold 0",
					story: "That nothing was bought is on record, and the saga is nobody's: another worker submits it when it is due.",
				},
			},
		},
		{
			name: "67-look-up-failed", what: "the commit that it could not be looked up",
			edge: saga.Rule{From: saga.Unknown, On: saga.LookupFailed, To: saga.Unknown},
			arrange: faults(lostAfter, fault(pressonesim.Fault{
				Endpoint: pressonesim.OrderList, Action: pressonesim.Status, Status: 500, Times: 1,
			})),
			sides: map[moment]killed{
				before: {books: sold, story: again},
				after:  {books: "unknown, PressOne has sold 1", story: "It is put off, and nobody's: another worker looks it up when it is due."},
			},
		},
		{
			name: "68-unresolved", what: "the commit that only an operator can tell whether it was bought", arrange: lostBefore, sold: -1, env: hold,
			edge: saga.Rule{From: saga.Unknown, On: saga.GaveUp, To: saga.DeadLettered},
			sides: map[moment]killed{
				before: {books: unsold, story: "UNKNOWN_POLICY is hold. A look that is not on record does not count: the last one is taken again. " + givenBack},
				after: {
					books: gaveUp,
					story: "UNKNOWN_POLICY is hold. The letter, its copy for the stream and the result are in the same commit: the publisher does the rest.",
				},
			},
		},
		{
			name: "69-gave-up", what: "the commit that its attempts are used up", arrange: lostBefore, sold: -1,
			env:  map[string]string{"RETRY_MAX_ATTEMPTS": "1"},
			edge: saga.Rule{From: saga.Pending, On: saga.GaveUp, To: saga.DeadLettered},
			sides: map[moment]killed{
				before: {books: "pending and held, PressOne has sold 0", story: givenBack + " There is no attempt left, so that one gives up."},
				after: {
					books: gaveUp,
					story: "The letter, its copy for the stream and the result are in the same commit: the publisher does the rest.",
				},
			},
		},
	}
}

// From the purchase to its result. Nothing is bought any more: what was not committed is
// asked again.
func pollPoints() []killPoint {
	polling := "polling and held, 1 answer kept, PressOne has sold 1"
	notifying := "notifying, 1 answer kept, 1 message in the outbox, PressOne has sold 1"
	again := givenBack + " PressOne is asked again."
	ready := saga.Rule{From: saga.Polling, On: saga.Ready, To: saga.Notifying}
	result := "The result and its message are in the same commit: the publisher does the rest."
	letter := "dead_lettered, 1 answer kept, 1 open letter, 2 messages in the outbox, PressOne has sold 1"
	notReady := pressonesim.Config{Knobs: pressonesim.Knobs{ReadyAfter: time.Hour, NotReadyAs: pressonesim.NoQRCode}}
	bought := func(b *bench) bool { // it is polled while its order is being committed: here that comes first
		return b.comes("SELECT count(*) FROM saga WHERE state = 'polling'")
	}
	becomeReady := func(b *bench, _ *victim) { b.sim.Tune(func(k *pressonesim.Knobs) { k.ReadyAfter = 0 }) }
	return []killPoint{
		{
			name: "70-poll", what: "the reading of its eSIM", stop: calls(http.MethodGet, "/sims/[0-9]+"), once: bought,
			sides: map[moment]killed{
				before: {books: polling, story: again},
				after:  {books: polling, story: again},
			},
		},
		{
			name: "71-not-ready", what: "the commit that it is not ready", sim: notReady,
			env:  map[string]string{"POLL_INITIAL": "10s", "POLL_MAX": "10s"},
			edge: saga.Rule{From: saga.Polling, On: saga.NotReady, To: saga.Polling},
			sides: map[moment]killed{
				before: {books: polling, meanwhile: becomeReady, story: again + " By then it is ready."},
				after: {
					books: "polling, 1 answer kept, PressOne has sold 1", meanwhile: becomeReady,
					story: "It is put off, and nobody's: another worker polls when it is due. By then it is ready.",
				},
			},
		},
		{
			name: "72-poll-failed", what: "the commit that a poll has failed",
			edge:    saga.Rule{From: saga.Polling, On: saga.PollFailed, To: saga.Polling},
			arrange: fault(pressonesim.Fault{Endpoint: pressonesim.OneSim, Action: pressonesim.Status, Status: 500, Times: 1}),
			sides: map[moment]killed{
				before: {books: polling, story: again},
				after:  {books: "polling, 1 answer kept, PressOne has sold 1", story: "It is put off, and nobody's: another worker polls when it is due."},
			},
		},
		{
			name: "73-ready", what: "the commit of its result", edge: ready,
			sides: map[moment]killed{
				before: {books: polling, story: again},
				after:  {books: notifying, story: result},
			},
		},
		{
			name: "74-ready-topup", what: "the commit of its result", edge: ready, kind: message.Topup, sim: nameless,
			sides: map[moment]killed{
				before: {books: polling, story: again},
				after:  {books: notifying, story: result},
			},
		},
		{
			name: "75-recycled", what: "the commit that what was bought is of no use",
			edge:    saga.Rule{From: saga.Polling, On: saga.PollRefused, To: saga.DeadLettered},
			arrange: func(b *bench) { b.sim.AddPackage(pressonesim.Package{ID: journeyPackage, Price: 950, Recycled: true}) },
			sides: map[moment]killed{
				before: {books: polling, story: again + " It says the same: the eSIM was recycled."},
				after: {
					books: letter,
					story: "The letter, which says that money was spent, its copy for the stream and the result are in the same commit: the publisher does the rest.",
				},
			},
		},
		{
			name: "76-never-ready", what: "the commit that it is not ready in time", sim: notReady, env: map[string]string{"POLL_DEADLINE": "1us"},
			edge: saga.Rule{From: saga.Polling, On: saga.GaveUp, To: saga.DeadLettered},
			sides: map[moment]killed{
				before: {books: polling, story: again + " It is still not ready, and too late."},
				after: {
					books: letter,
					story: "The letter, which says that money was spent, its copy for the stream and the result are in the same commit: the publisher does the rest.",
				},
			},
		},
	}
}

// comes waits until there is one of what a query counts. It may be called by any goroutine.
func (b *bench) comes(sql string) bool {
	for giveUp := time.Now().Add(unhurried); time.Now().Before(giveUp); {
		var n int
		if err := b.db.QueryRow(context.Background(), sql).Scan(&n); err == nil && n == 1 {
			return true
		}
		<-time.After(5 * time.Millisecond)
	}
	return false
}
