package saga

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
)

// A message that is delivered again, to whatever database, has the reference that it had; no
// other message has it, not even one with the same request.
func TestReferenceIsTheMessagesOwn(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 1, 2, 3, 4, time.UTC)
	r := message.Request{Kind: message.Order, RequestID: "r", PackageID: "p", Quantity: 1}
	src := Source{Subject: "esim.request.order", Sequence: 7, Body: []byte("body")}
	first := New(r, src, at)
	again := New(r, src, at.In(time.FixedZone("", 3600)))
	require.Equal(t, first.Reference, again.Reference)
	require.NotEqual(t, first.ID, again.ID)
	require.Regexp(t, referencePattern, first.Reference)

	others := map[string]Saga{
		"later":            New(r, src, at.Add(time.Nanosecond)),
		"another number":   New(r, Source{Subject: src.Subject, Sequence: 8, Body: src.Body}, at),
		"other bytes":      New(r, Source{Subject: src.Subject, Sequence: 7, Body: []byte("bodies")}, at),
		"another subject":  New(r, Source{Subject: "esim.request", Sequence: 7, Body: src.Body}, at),
		"another key":      New(message.Request{Kind: message.Order, RequestID: "s"}, src, at),
		"another kind":     New(message.Request{Kind: message.Topup, RequestID: "r"}, src, at),
		"shifted boundary": New(message.Request{Kind: message.Order, RequestID: "r\x00e"}, Source{Subject: "sim.request.order", Sequence: 7, Body: src.Body}, at),
	}
	seen := map[string]bool{first.Reference: true}
	for name, s := range others {
		require.False(t, seen[s.Reference], name)
		seen[s.Reference] = true
	}
	later := New(r, src, at.Add(time.Second)).Reference
	require.Less(t, first.Reference[:9], later[:9], "those of one time are neighbours in the index")
}
