package message_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"esimflow/api/apitest"
	"esimflow/internal/message"
)

// letter is a dead letter of an order that PressOne declined.
func letter() message.DeadLetter {
	return message.DeadLetter{
		ID: letterID, Kind: message.Order, SagaID: sagaID, RequestID: "ord-7f3a", Code: "11", Class: "insufficient_credit",
		Reason: "HTTP 422 code 11", State: "submitting", Attempts: 1, Purchased: message.PurchasedNo, Replayable: true, Time: noon,
		SourceSubject: "esim.request.order", SourceSequence: 4711, Header: nats.Header{"Nats-Msg-Id": {"x"}}, Body: []byte(contractOrder),
	}
}

func TestADeadLettersCopy(t *testing.T) {
	t.Parallel()
	d := letter()
	d.Header = nats.Header{
		"Nats-Msg-Id": {"x"}, "nats-expected-stream": {"ESIM_REQUESTS"}, "NATS-TTL": {"1s"},
		"traceparent": {traceparent}, "ce-id": {"1"}, "X-Many": {"a", "b"}, "esim-class": {"forged"}, "Esim-Custom": {"theirs"},
	}
	m := d.Message()
	require.Equal(t, "esim.dlq.order.11", m.Subject)
	require.Equal(t, letterID, m.ID)
	require.Equal(t, d.Body, m.Body)
	require.Equal(t, nats.Header{
		"traceparent": {traceparent}, "ce-id": {"1"}, "X-Many": {"a", "b"}, "Esim-Custom": {"theirs"},
		"Esim-Dead-Letter-Id": {letterID}, "Esim-Saga-Id": {sagaID}, "Esim-Request-Id": {"ord-7f3a"}, "Esim-Code": {"11"},
		"Esim-Class": {"insufficient_credit"}, "Esim-Reason": {"HTTP 422 code 11"}, "Esim-State": {"submitting"}, "Esim-Attempts": {"1"},
		"Esim-Purchased": {"no"}, "Esim-Replayable": {"true"}, "Esim-Time": {"2026-05-04T12:00:00.123456789Z"},
		"Esim-Source-Subject": {"esim.request.order"}, "Esim-Source-Sequence": {"4711"},
	}, m.Header)
	require.Equal(t, []string{"x"}, d.Header["Nats-Msg-Id"], "the letter itself is left as it is")
}

// TestADeadLetterWithoutASaga has what a sender says under our names, who has published a
// copy again: it must not be believed.
func TestADeadLetterWithoutASaga(t *testing.T) {
	t.Parallel()
	before := letter().Message()
	d := message.DeadLetter{
		ID: "0b7c2a52-3a52-5a0e-9d6c-0e4b8f0d7a11", Kind: message.Order, Code: "malformed", Class: "malformed", Reason: "message: the request is empty",
		Purchased: message.PurchasedNo, Replayable: true, Time: noon, SourceSubject: "esim.request.order", SourceSequence: 1, Header: before.Header,
	}
	b := setup(t)
	got := b.stored(d.Message())
	apitest.CheckDeadLetter(t, got.Header)
	require.NotContains(t, got.Header, "Esim-Saga-Id")
	require.NotContains(t, got.Header, "Esim-Request-Id")
	require.NotContains(t, got.Header, "Esim-State")
	require.Equal(t, "malformed", got.Header.Get("Esim-Code"))
	require.Empty(t, got.Data)
}

func TestHeadersSurviveTheServer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tests := map[string]struct {
		change func(d *message.DeadLetter)
		want   nats.Header
	}{
		"unicode": {
			func(d *message.DeadLetter) { d.RequestID = "größe 😀 \\ \"x\": y" },
			nats.Header{"Esim-Request-Id": {"größe 😀 \\ \"x\": y"}},
		},
		"line breaks and control characters": {
			func(d *message.DeadLetter) { d.Reason = "first\r\nNats-Msg-Id: forged\n\x00\x1b[31m\u2028last\n" },
			nats.Header{"Esim-Reason": {"first  Nats-Msg-Id: forged   [31m last"}, "Nats-Msg-Id": {"line breaks and control characters"}},
		},
		"not UTF-8": {
			func(d *message.DeadLetter) { d.Reason = "a\xff\xfeb" },
			nats.Header{"Esim-Reason": {"a?b"}},
		},
		"a reason that is too long": {
			func(d *message.DeadLetter) { d.Reason = "x" + strings.Repeat("😀", 1000) },
			nats.Header{"Esim-Reason": {"x" + strings.Repeat("😀", 255)}},
		},
		"a code that no subject carries": {
			func(d *message.DeadLetter) { d.Code = "4.2 *" },
			nats.Header{"Esim-Code": {"4_2__"}},
		},
		"the sender's unicode": {
			func(d *message.DeadLetter) { d.Header = nats.Header{"X-Name": {"größe", ""}, "x-name": {"other"}} },
			nats.Header{"X-Name": {"größe", ""}, "x-name": {"other"}},
		},
		"names that the client refuses to publish": {
			func(d *message.DeadLetter) {
				d.Header = nats.Header{"bad name": {"x"}, "": {"x"}, "bäd": {"x"}, "a:b": {"x"}, "[x]": {"x"}, "X_good.name~1": {"x"}}
			},
			nats.Header{"X_good.name~1": {"x"}, "bad name": nil, "": nil, "bäd": nil, "a:b": nil, "[x]": nil},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := letter()
			tt.change(&d)
			m := d.Message()
			m.ID = name
			got := b.stored(m)
			for header, values := range tt.want {
				require.Equal(t, values, got.Header[header], header)
			}
			got.Header["Nats-Msg-Id"] = []string{letterID}
			apitest.CheckDeadLetter(t, got.Header)
			require.Equal(t, d.Body, got.Data)
		})
	}
}

// TestWhatIsSentIsWhatIsStored is the general law: whatever is in a letter, its copy can be
// published, fits, and comes back as it went.
func TestWhatIsSentIsWhatIsStored(t *testing.T) {
	t.Parallel()
	b := setup(t)
	text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	name := rapid.OneOf(text, rapid.StringMatching(`[!-~]{1,12}`), rapid.SampledFrom([]string{"Esim-Code", "esim-saga-id", "Nats-Msg-Id", "nats-ttl", "ce-id"}))
	published := 0
	rapid.Check(t, func(rt *rapid.T) {
		d := letter()
		published++
		d.RequestID, d.Code, d.Reason = text.Draw(rt, "request_id"), text.Draw(rt, "code"), text.Draw(rt, "reason")
		d.Body = rapid.SliceOf(rapid.Byte()).Draw(rt, "body")
		d.Header = rapid.MapOf(name, rapid.SliceOfN(text, 0, 2)).Draw(rt, "header")
		m := d.Message()
		m.ID = "" // every one of them is to be stored
		ack, err := b.publish(m)
		require.NoError(rt, err)
		stream, err := b.js.Stream(t.Context(), ack.Stream)
		require.NoError(rt, err)
		got, err := stream.GetMsg(t.Context(), ack.Sequence)
		require.NoError(rt, err)
		require.Equal(rt, m.Subject, got.Subject)
		require.Equal(rt, string(d.Body), string(got.Data))
		for header, values := range m.Header {
			if strings.HasPrefix(header, "Esim-") {
				require.Equal(rt, values, got.Header[header])
			}
			require.Len(rt, got.Header[header], len(values))
		}
		require.Len(rt, m.Header["Esim-Code"], 1)
		require.True(rt, strings.HasSuffix(m.Subject, "."+m.Header["Esim-Code"][0]))
	})
	require.Positive(t, published)
}

// largest is a letter whose headers of ours are as long as they get: every text is longer
// than what is kept of it.
func largest() message.DeadLetter {
	long := strings.Repeat("😀", 1<<18)
	return message.DeadLetter{
		ID: letterID, Kind: message.Order, SagaID: long, RequestID: long, Code: long, Class: long, Reason: long, State: long,
		Attempts: math.MinInt64, Purchased: message.Purchased(long), Replayable: false, Time: time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		SourceSubject: long, SourceSequence: math.MaxUint64,
	}
}
