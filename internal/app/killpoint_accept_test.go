package app_test

import (
	"net/http"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
	"esimflow/internal/saga"
)

func killPoints() []killPoint {
	var all []killPoint
	for _, some := range [][]killPoint{
		acceptPoints(), claimPoints(), tokenPoints(), topupPoints(), submitPoints(), outcomePoints(),
		lateAnswerPoints(), takeOverPoints(), lookUpPoints(), pollPoints(), publisherPoints(), letterPoints(), operatorPoints(),
	} {
		all = append(all, some...)
	}
	return all
}

// stepwise has orders accepted as pending, and claimed, as they are where the rate has to be
// waited for.
var stepwise = map[string]string{"PRESSONE_RATE": "1000"}

// What many stories have in common.
const (
	takenOverUnsold = "The lease of the dead runs out, and whoever takes the saga over cannot know whether a POST was sent: " +
		"it becomes unknown. Two complete look-ups, spaced, find no order with our reference; only then it is submitted again."
	takenOverSold = "The lease of the dead runs out, and whoever takes the saga over cannot know whether a POST was sent: " +
		"it becomes unknown. The look-up finds the order by our reference, and nothing is submitted again."
	givenBack = "When the lease of the dead has run out, another worker gives the saga back, unmoved, and claims it."
)

func acceptPoints() []killPoint {
	accepted := saga.Rule{On: saga.Accepted, To: saga.Pending}
	return []killPoint{
		{
			name: "01-accepted-with-intent", what: "the commit of its acceptance, with its intent",
			edge: saga.Rule{On: saga.Accepted, To: saga.Submitting},
			sides: map[moment]killed{
				before: {
					books: "no saga, PressOne has sold 0",
					story: "Nothing is on record, and the request was not acknowledged: JetStream delivers it again, and another worker takes it.",
				},
				after: {
					books: "submitting and held, PressOne has sold 0",
					story: "It is accepted, and its intent is on record; the worker dies before it hears of it, so it has sent nothing. " +
						"But that cannot be seen from outside. " + takenOverUnsold +
						" JetStream delivers the request again; the insert finds it there, and it is acknowledged as a duplicate.",
				},
			},
		},
		{
			name: "02-accepted", what: "the commit of its acceptance", edge: accepted, env: stepwise, arrange: orderingClosed,
			sides: map[moment]killed{
				before: {
					books: "no saga, PressOne has sold 0",
					story: "Nothing is on record, and the request was not acknowledged: JetStream delivers it again, and another worker takes it.",
				},
				after: {
					books: "pending, PressOne has sold 0",
					story: "It is accepted and nobody's; the worker dies before it hears of it. Another one claims it. JetStream delivers " +
						"the request again; the insert finds it there, and it is acknowledged as a duplicate.",
				},
			},
		},
		{
			name: "03-accepted-topup", what: "the commit of its acceptance", edge: accepted, kind: message.Topup, arrange: orderingClosed,
			sides: map[moment]killed{
				before: {
					books: "no saga, PressOne has sold 0",
					story: "Nothing is on record, and the request was not acknowledged: JetStream delivers it again, and another worker takes it.",
				},
				after: {
					books: "pending, PressOne has sold 0",
					story: "It is accepted; the worker dies before it hears of it. Another one claims it, reads the list of top-ups, and orders.",
				},
			},
		},
		{
			name: "04-acknowledged", what: "the acknowledgement of its request", stop: publishes("$JS.ACK."),
			once: func(b *bench) bool { return b.acknowledged(message.Order) },
			// Ordering is paused, so that nothing else goes on beside the acknowledgement.
			arrange: func(b *bench) { b.gate("write", "now() + interval '1 hour'") },
			sides: map[moment]killed{
				before: {
					books:     "pending, PressOne has sold 0",
					meanwhile: func(b *bench, _ *victim) { require.False(b.t, b.acknowledged(message.Order)); b.gate("write", "now()") },
					story: "It is accepted, and JetStream has not been told. (An operator has paused ordering, so nothing else has happened.) " +
						"JetStream delivers the request again; the insert finds it there, and it is acknowledged as a duplicate.",
				},
				after: {
					books:     "pending, PressOne has sold 0",
					meanwhile: func(b *bench, _ *victim) { b.gate("write", "now()") },
					story: "It is accepted, and JetStream will not deliver the request again. (An operator has paused ordering, so nothing " +
						"else has happened.) What is on record is enough.",
				},
			},
		},
		{
			name: "05-registered", what: "the registration of its worker", stop: writes("INSERT INTO worker"),
			sides: map[moment]killed{
				before: {books: "no saga, PressOne has sold 0", story: "It was not taken by anybody: another worker takes it."},
				after:  {books: "no saga, PressOne has sold 0", story: "A lease is on record that nothing is held under. It runs out."},
			},
		},
		{
			name: "06-lease-renewed", what: "a renewal of the lease, during the POST", stop: writes("UPDATE worker"),
			env:     map[string]string{"LEASE_TTL": "12s"},
			arrange: fault(pressonesim.Fault{Action: pressonesim.Hang, When: pressonesim.After, Times: 1}),
			once:    func(b *bench) bool { return b.sim.SoldCount() == 1 },
			sides: map[moment]killed{
				before: {books: "submitting and held, PressOne has sold 1", story: takenOverSold},
				after:  {books: "submitting and held, PressOne has sold 1", story: "It takes one life of a lease longer, and is the same. " + takenOverSold},
			},
		},
	}
}

// gate closes or opens one of the gate's lanes until a time, given as SQL.
func (b *bench) gate(lane, until string) {
	b.t.Helper()
	_, err := b.db.Exec(b.t.Context(), `UPDATE provider_gate SET closed_until = `+until+`, reason = 'paused' WHERE lane = $1`, lane)
	require.NoError(b.t, err)
}

// The steps between acceptance and intent.
func claimPoints() []killPoint {
	accepted := killPoint{edge: saga.Rule{On: saga.Accepted, To: saga.Pending}}
	intent := saga.Rule{From: saga.Pending, On: saga.SubmitStarted, To: saga.Submitting}
	return []killPoint{
		{
			name: "10-claimed", what: "the commit of its claim", stop: writes("WITH begun AS"), env: stepwise, killed: []killPoint{accepted},
			sides: map[moment]killed{
				before: {books: "pending, PressOne has sold 0", story: "It is nobody's: another worker claims it."},
				after:  {books: "pending and held, PressOne has sold 0", story: "It is held by somebody who does not know. " + givenBack},
			},
		},
		{
			name: "11-given-back", what: "the commit that gives it back from a worker that was killed", stop: givesBack,
			env: stepwise, killed: []killPoint{{edge: intent, when: before}},
			sides: map[moment]killed{
				before: {books: "pending and held, PressOne has sold 0", story: "The worker that would have given it back is killed too. " + givenBack},
				after:  {books: "pending, PressOne has sold 0", story: "It is nobody's again: a third worker claims it."},
			},
		},
		{
			name: "12-intent", what: "the commit of its intent", edge: intent, env: stepwise,
			sides: map[moment]killed{
				before: {books: "pending and held, PressOne has sold 0", story: "No intent, so nothing can have been sent. " + givenBack},
				after: {
					books: "submitting and held, PressOne has sold 0",
					story: "Whether an intent that nobody answered for was acted upon cannot be seen. " + takenOverUnsold,
				},
			},
		},
		{
			name: "13-intent-topup", what: "the commit of its intent", edge: intent, kind: message.Topup,
			sim: pressonesim.Config{Knobs: pressonesim.Knobs{TopupDescription: pressonesim.Replaced}},
			sides: map[moment]killed{
				before: {books: "pending and held, PressOne has sold 0", story: "No intent, so nothing can have been sent. " + givenBack},
				after: {
					books: "submitting and held, PressOne has sold 0",
					story: "PressOne writes \"Topup (<iccid>)\" over our reference, so the look-ups read more: by reference, by eSIM, and " +
						"everything of that time. " + takenOverUnsold,
				},
			},
		},
	}
}

// The shared access token: a row that one worker refreshes while the others wait.
func tokenPoints() []killPoint {
	held := "submitting and held, PressOne has sold 0"
	refreshing := "The worker held the lease on the refresh, so nobody asks for a token until that has run out; then another one does. "
	store := killPoint{stop: writes("SET version = version + 1, ciphertext")}
	return []killPoint{
		{
			name: "20-token-lease", what: "the commit of the lease on the token's refresh", stop: writes("SET refreshing_by = $1, refreshing_until = now()"),
			sides: map[moment]killed{
				before: {books: held, story: takenOverUnsold},
				after:  {books: held, story: refreshing + takenOverUnsold},
			},
		},
		{
			name: "21-token-call", what: "the request for a token", stop: calls(http.MethodPost, "/token"),
			sides: map[moment]killed{
				before: {books: held, story: refreshing + takenOverUnsold},
				after:  {books: held, story: "A token was given and is lost; PressOne gives another one. " + refreshing + takenOverUnsold},
			},
		},
		{
			name: "22-token-stored", what: "the commit of a new token", stop: store.stop,
			sides: map[moment]killed{
				before: {books: held, story: "A token was given and is lost; PressOne gives another one. " + refreshing + takenOverUnsold},
				after:  {books: held, story: "The token is there for everybody. " + takenOverUnsold},
			},
		},
		{
			name: "23-token-rejected", what: "the commit that PressOne has rejected the token", stop: writes("SET ciphertext = NULL"),
			killed:  []killPoint{store},
			env:     map[string]string{"LEASE_TTL": "12s"}, // which the victim waits for before it looks the order up
			between: func(b *bench) { b.sim.ExpireTokens() },
			sides: map[moment]killed{
				before: {
					books: "unknown and held, PressOne has sold 0",
					story: "A first worker was killed before its POST, and the second one looks the order up, with a token that has expired. " +
						"A third one uses the same token, hears the same, and gets another. " + givenBack,
				},
				after: {
					books: "unknown and held, PressOne has sold 0",
					story: "A first worker was killed before its POST, and the second one looks the order up, with a token that has expired. " +
						"A third one finds no token and gets one. " + givenBack,
				},
			},
		},
	}
}

// What top-ups do before their intent.
func topupPoints() []killPoint {
	return []killPoint{
		{
			name: "30-list-read", what: "the reading of the list of top-ups", kind: message.Topup, stop: calls(http.MethodGet, "/topups"),
			sides: map[moment]killed{
				before: {books: "pending and held, PressOne has sold 0", story: "Nothing but a list was asked for. " + givenBack},
				after:  {books: "pending and held, PressOne has sold 0", story: "The list is read afresh: one that was read before is not relied on. " + givenBack},
			},
		},
		{
			name: "31-list-unread", what: "the commit that the list of top-ups could not be read", kind: message.Topup,
			edge:    saga.Rule{From: saga.Pending, On: saga.PrecheckFailed, To: saga.Pending},
			arrange: fault(pressonesim.Fault{Endpoint: pressonesim.TopupList, Action: pressonesim.Status, Status: 500, Times: 1}),
			sides: map[moment]killed{
				before: {books: "pending and held, PressOne has sold 0", story: "It is not known that it has failed, and does not matter. " + givenBack},
				after:  {books: "pending, PressOne has sold 0", story: "It is put off, and nobody's: another worker claims it when it is due."},
			},
		},
		{
			name: "32-not-offered", what: "the commit that the top-up is not offered", kind: message.Topup, sold: -1,
			edge: saga.Rule{From: saga.Pending, On: saga.PrecheckRefused, To: saga.DeadLettered},
			arrange: fault(pressonesim.Fault{
				Endpoint: pressonesim.TopupList, Action: pressonesim.Status, Status: 200, Body: `{"data":[]}`, ContentType: "application/json",
			}),
			sides: map[moment]killed{
				before: {books: "pending and held, PressOne has sold 0", story: givenBack + " The list is read again and says the same."},
				after: {
					books: "dead_lettered, 1 open letter, 2 messages in the outbox, PressOne has sold 0",
					story: "The letter, its copy for the stream and the result are in the same commit: the publisher does the rest.",
				},
			},
		},
	}
}

// orderingClosed keeps the victim from claiming what it has accepted, in the moment before
// it is dead. Later opens it.
func orderingClosed(b *bench) {
	b.t.Helper()
	_, err := b.db.Exec(b.t.Context(), "UPDATE provider_gate SET closed_until = now() + interval '100 seconds' WHERE lane = 'write'")
	require.NoError(b.t, err)
}
