package app_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
	"esimflow/internal/saga"
)

// The way out: a result is announced until JetStream has acknowledged it and that is on
// record. Its Nats-Msg-Id never changes, so JetStream keeps one.
func publisherPoints() []killPoint {
	waiting := "notifying, 1 answer kept, 1 message in the outbox, PressOne has sold 1"
	again := "When the leadership of the dead has run out, another publisher publishes the result again; JetStream knows its id, and keeps one."
	return []killPoint{
		{
			name: "80-leadership", what: "the commit of the leadership of the outbox", program: app.PublisherProgram, stop: writes("INSERT INTO lease"),
			sides: map[moment]killed{
				before: {books: waiting, story: "Nobody leads: another publisher does."},
				after:  {books: waiting, story: "The dead leads, until its leadership runs out. Then another publisher does."},
			},
		},
		{
			name: "81-published", what: "its result reaches JetStream", program: app.PublisherProgram, stop: publishes("esim.event."),
			sides: map[moment]killed{
				before: {books: waiting, story: "It is lost on the way. When the leadership of the dead has run out, another publisher publishes the result."},
				after:  {books: waiting, story: "JetStream has it, and its acknowledgement arrives at a dead publisher. " + again},
			},
		},
		{
			name: "82-announced", what: "the commit that it is announced", program: app.PublisherProgram,
			edge: saga.Rule{From: saga.Notifying, On: saga.Announced, To: saga.Completed},
			sides: map[moment]killed{
				before: {books: waiting, story: "JetStream has it, and that is not on record. " + again},
				after:  {books: "completed, 1 answer kept, PressOne has sold 1", story: "All is done; the publisher dies before it hears of it."},
			},
		},
	}
}

// settled recognises the commit that takes the n-th message from the outbox.
func settled(n int64) step {
	return step{postgres: func(w pgWrite) bool {
		s, ok := w.find("DELETE FROM outbox")
		return ok && slices.Contains(array[int64](s, 1, pgtype.Int8ArrayOID), n) && !w.idle()
	}}
}

// Dead letters: the row is the truth, ESIM_DLQ has a copy of those that are open.
func letterPoints() []killPoint {
	refuse := fault(pressonesim.Fault{Action: pressonesim.Status, Status: 422, Code: 33})
	open := "dead_lettered, 1 open letter, 2 messages in the outbox, PressOne has sold 0"
	discarded := "discarded, 1 message in the outbox, PressOne has sold 0"
	again := "When the leadership of the dead has run out, another publisher publishes the copy again; JetStream knows its id, keeps one, and says where."
	discard := func(b *bench, api string) {
		require.Eventually(b.t, func() bool {
			return b.count("SELECT count(*) FROM outbox") == 0 && b.streamed(message.DeadLettersStream) == 1
		},
			unhurried, 5*time.Millisecond, "the copy is published first")
		require.Contains(b.t, b.press(api, "sagas/journey/discard", `{"actor":"ann","reason":"cancelled"}`), `"discarded"`)
	}
	return []killPoint{
		{
			name: "83-letter-published", what: "the copy of its dead letter reaches JetStream", program: app.PublisherProgram, arrange: refuse, sold: -1,
			stop: publishes("esim.dlq."),
			sides: map[moment]killed{
				before: {books: open, story: "It is lost on the way. When the leadership of the dead has run out, another publisher publishes it."},
				after:  {books: open, story: "JetStream has it, and its acknowledgement arrives at a dead publisher. " + again},
			},
		},
		{
			name: "84-letter-noted", what: "the commit that notes where the copy of its dead letter is", program: app.PublisherProgram, arrange: refuse, sold: -1,
			stop: writes("SET dlq_sequence"),
			sides: map[moment]killed{
				before: {books: open, story: "JetStream has it, and where is not on record. " + again},
				after: {
					books: "dead_lettered, 1 open letter, PressOne has sold 0",
					story: "All is done; the publisher dies before it hears of it.",
				},
			},
		},
		{
			name: "85-letter-forgotten", what: "the copy of its dead letter, which an operator has closed, is deleted",
			program: app.PublisherProgram, arrange: refuse, sold: -1,
			stop: publishes("$JS.API.STREAM.MSG.DELETE."), press: discard,
			sides: map[moment]killed{
				before: {books: discarded, story: "The copy is still there. When the leadership of the dead has run out, another publisher deletes it."},
				after: {
					books: discarded,
					story: "The copy is gone, and that is not on record. When the leadership of the dead has run out, another publisher deletes it again, and finds it gone.",
				},
			},
		},
		{
			name: "86-letter-closed", what: "the commit that the copy of its dead letter is deleted",
			program: app.PublisherProgram, arrange: refuse, sold: -1,
			stop: settled(3), press: discard, // after its copy and the result
			sides: map[moment]killed{
				before: {
					books: discarded,
					story: "The copy is gone, and that is not on record. When the leadership of the dead has run out, another publisher deletes it again, and finds it gone.",
				},
				after: {books: "discarded, PressOne has sold 0", story: "All is done; the publisher dies before it hears of it."},
			},
		},
		{
			name: "87-malformed", what: "the commit of the dead letter of a request that cannot be understood", body: "not JSON", sold: -1,
			stop: writes("INSERT INTO dead_letter"),
			sides: map[moment]killed{
				before: {
					books: "no saga, PressOne has sold 0", tell: tellLetters(1),
					story: "Nothing is on record, and the request was not acknowledged: JetStream delivers it again, and another worker buries it.",
				},
				after: {
					books: "no saga, 1 open letter, 1 message in the outbox, PressOne has sold 0", tell: tellLetters(1),
					story: "The letter is there, and the request was not acknowledged. JetStream delivers it again; the letter's id is made of " +
						"the message, so it is the same one, and the request is acknowledged.",
				},
			},
		},
	}
}

// tellLetters is tell for a request that never became a saga: it has n letters, one of them
// open.
func tellLetters(n int) func(b *bench, j journey) string {
	return func(b *bench, j journey) string {
		require.Eventually(b.t, func() bool {
			return b.count("SELECT count(*) FROM dead_letter") == n && b.count("SELECT count(*) FROM outbox") == 0 &&
				b.streamed(message.DeadLettersStream) == 1 && b.acknowledged(message.Order)
		}, unhurried, 5*time.Millisecond, "its letters")
		var text strings.Builder
		fmt.Fprintf(&text, "%s\n%s\n\n%s\n\n", j.title, strings.Repeat("=", len([]rune(j.title))), j.story)
		rows, err := b.db.Query(b.t.Context(), `
			SELECT code || ' from ' || subject || ' ' || sequence || ': ' || status || COALESCE(' by ' || NULLIF(actor, ''), '')
			FROM dead_letter
			ORDER BY sequence`)
		require.NoError(b.t, err)
		letters, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(b.t, err)
		for _, letter := range letters {
			fmt.Fprintf(&text, "%s\n", letter)
		}
		fmt.Fprintf(&text, "\nPressOne sold %d.\n", b.sim.SoldCount())
		return text.String()
	}
}
