package apitest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"esimflow/api/apitest"
	"esimflow/internal/message"
)

// recorder is a test that fails without ending the one that has it.
type recorder struct {
	testing.TB
	said string
}

type failed struct{}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.said = fmt.Sprintf(format, args...)
	panic(failed{})
}

// complaint is what a check says against what it is given; "" is nothing.
func complaint(t *testing.T, check func(tb testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	func() {
		defer func() {
			if p := recover(); p != nil {
				require.Equal(t, failed{}, p)
			}
		}()
		check(r)
	}()
	return r.said
}

const (
	sagaID   = "019b8d3e-5c1a-7c44-9a55-3d1f6f0c2b11"
	letterID = "6f2b8f0e-2f4e-5f0a-8c3d-7f1f0d2c9a10"
)

var at = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func TestCheckEvent(t *testing.T) {
	t.Parallel()
	m, err := message.Event(message.Order, message.Failed, sagaID, 1, "r", "", at, message.FailedData{
		SagaID: sagaID, Kind: message.Order, RequestID: "r", Code: "11", Class: "insufficient_credit", Purchased: message.PurchasedNo,
		DeadLetterID: letterID, Metadata: json.RawMessage(`{}`),
	})
	require.NoError(t, err)
	tests := map[string]struct {
		k    message.Kind
		o    message.Outcome
		old  string
		new  string
		want string
	}{
		"a good one":      {message.Order, message.Failed, "", "", ""},
		"another kind":    {message.Topup, message.Failed, "", "", "the event's type is esimflow.order.failed.v1, and this is a topup"},
		"another outcome": {message.Order, message.Completed, "", "", "the completed event of this order: "},
		"another subject": {message.Order, message.Failed, `"subject":"r"`, `"subject":"s"`, `the event's subject is "s", and the request_id is "r"`},
		"another saga":    {message.Order, message.Failed, `"saga_id":"019b`, `"saga_id":"019c`, "the event's id is "},
		"a new field":     {message.Order, message.Failed, `"code":`, `"kode":1,"code":`, "additional properties 'kode' not allowed"},
		"no JSON":         {message.Order, message.Failed, `"id"`, "id", "not JSON"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := []byte(strings.ReplaceAll(string(m.Body), tt.old, tt.new))
			if tt.old == "" {
				body = m.Body
			}
			said := complaint(t, func(tb testing.TB) {
				tb.Helper()
				apitest.CheckEvent(tb, tt.k, tt.o, body)
			})
			require.Contains(t, said, tt.want)
			require.Equal(t, tt.want == "", said == "", said)
		})
	}
}

func TestCheckDeadLetter(t *testing.T) {
	t.Parallel()
	letter := message.DeadLetter{
		ID: letterID, Kind: message.Order, Code: "malformed", Class: "malformed", Reason: "x", Purchased: message.PurchasedNo,
		Time: at, SourceSubject: "esim.request.order", SourceSequence: 1,
	}
	tests := map[string]struct {
		name string
		set  []string
		want string
	}{
		"a good one":        {"X-Sender", []string{"a", "b"}, ""},
		"as it is stored":   {"Nats-Msg-Id", []string{letterID}, ""},
		"as it is read":     {"Nats-Sequence", []string{"1"}, ""},
		"another id":        {"Nats-Msg-Id", []string{"x"}, `the Nats-Msg-Id is "x"`},
		"the sender's TTL":  {"nats-ttl", []string{"1s"}, "the sender's nats-ttl was not taken away"},
		"two of ours":       {"Esim-Code", []string{"11", "malformed"}, "Esim-Code has 2 values"},
		"ours in lowercase": {"esim-code", []string{"11"}, "esim-code was not taken away"},
		"a bad class":       {"Esim-Class", []string{"misc"}, "the headers of the dead letter: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			header := letter.Message().Header
			header[tt.name] = tt.set
			said := complaint(t, func(tb testing.TB) {
				tb.Helper()
				apitest.CheckDeadLetter(tb, header)
			})
			require.Contains(t, said, tt.want)
			require.Equal(t, tt.want == "", said == "", said)
		})
	}
	require.NotEmpty(t, complaint(t, func(tb testing.TB) {
		tb.Helper()
		apitest.CheckDeadLetter(tb, nats.Header{})
	}))
}

func TestCheckRequest(t *testing.T) {
	t.Parallel()
	require.NoError(t, apitest.CheckRequest(t, message.Order, []byte(`{"request_id":"r","package_id":"p"}`)))
	require.ErrorContains(t, apitest.CheckRequest(t, message.Topup, []byte(`{"request_id":"r","package_id":"p"}`)), "missing property 'iccid'")
	require.ErrorContains(t, apitest.CheckRequest(t, message.Order, []byte(`{}{}`)), "apitest: not JSON")
	require.Contains(t, complaint(t, func(tb testing.TB) {
		tb.Helper()
		require.NoError(t, apitest.CheckRequest(tb, "refund", []byte(`{}`)))
	}), "there is no schema refund-request.json")
}
