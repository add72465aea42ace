package message_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"esimflow/api/apitest"
	"esimflow/internal/message"
)

const (
	sagaID      = "019b8d3e-5c1a-7c44-9a55-3d1f6f0c2b11"
	letterID    = "6f2b8f0e-2f4e-5f0a-8c3d-7f1f0d2c9a10"
	traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
)

var noon = time.Date(2026, 5, 4, 14, 0, 0, 123456789, time.FixedZone("", 2*60*60))

// completed is what an order or a top-up ends with.
func completed(k message.Kind, requestID string) message.CompletedData {
	at := noon.UTC()
	data := message.CompletedData{
		SagaID: sagaID, Kind: k, RequestID: requestID,
		Order:    message.OrderData{ID: 9666, Code: "20260504-009666", PackageID: "p", Quantity: 2, Price: "9.5", Currency: "USD", CreatedAt: &at},
		Attempts: 1, RequestedAt: at, CompletedAt: at, Metadata: json.RawMessage(`{"customer":"c-19"}`),
	}
	switch k {
	case message.Order:
		value, yes := "internet", true
		data.ESIMs = []message.ESIMData{
			{ICCID: "8934000000000008728", LPA: "smdp.example.com", MatchingID: "A-1", ActivationCode: "LPA:1$smdp.example.com$A-1"},
			{
				ICCID: "8934000000000008729", LPA: "smdp.example.com", MatchingID: "A-2", ActivationCode: "LPA:1$smdp.example.com$A-2",
				QRCodeURL: "https://example.com/qr?a=1&b=2", DirectAppleInstallationURL: "https://example.com/apple", APNType: "manual",
				APNValue: &value, IsRoaming: &yes, ConfirmationCode: &value, MSISDN: &value,
			},
		}
	case message.Topup:
		data.ICCID = "8934000000000008728"
	}
	return data
}

func failed(k message.Kind, requestID string) message.FailedData {
	return message.FailedData{
		SagaID: sagaID, Kind: k, RequestID: requestID, Code: "11", Class: "insufficient_credit", Reason: "HTTP 422 code 11",
		Purchased: message.PurchasedNo, Replayable: true, DeadLetterID: letterID, Attempts: 1, Metadata: json.RawMessage(`{}`),
	}
}

// TestEventsAreCloudEvents reads every event with the CloudEvents SDK and holds it against
// its schema.
func TestEventsAreCloudEvents(t *testing.T) {
	t.Parallel()
	requestIDs := []string{"ord-7f3a", " spaces at its ends ", `<a href="x">&amp;</a>`, "😀 \\ ü", strings.Repeat("😀", 128)}
	for _, k := range message.Kinds() {
		for _, o := range []message.Outcome{message.Completed, message.Failed} {
			for _, requestID := range requestIDs {
				var data any = completed(k, requestID)
				if o == message.Failed {
					data = failed(k, requestID)
				}
				m, err := message.Event(k, o, sagaID, 3, requestID, traceparent, noon, data)
				require.NoError(t, err)
				apitest.CheckEvent(t, k, o, m.Body)

				id := sagaID + ".3." + string(o)
				require.Equal(t, message.EventSubject(k, o), m.Subject)
				require.Equal(t, id, m.ID)
				require.Equal(t, nats.Header{"Content-Type": {structuredType}, "traceparent": {traceparent}}, m.Header)

				var e event.Event
				require.NoError(t, json.Unmarshal(m.Body, &e))
				require.NoError(t, e.Validate())
				require.Equal(t, "1.0", e.SpecVersion())
				require.Equal(t, id, e.ID())
				require.Equal(t, "esimflow", e.Source())
				require.Equal(t, fmt.Sprintf("esimflow.%s.%s.v1", k, o), e.Type())
				require.Equal(t, requestID, e.Subject())
				require.Equal(t, noon.UTC(), e.Time())
				require.Equal(t, "application/json", e.DataContentType())
				require.Empty(t, e.Extensions())
				want, err := json.Marshal(data)
				require.NoError(t, err)
				require.JSONEq(t, string(want), string(e.Data()))
			}
		}
	}
}

// TestSchemasRefuseWhatIsNoEvent makes sure that CheckEvent can fail.
func TestSchemasRefuseWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		k      message.Kind
		o      message.Outcome
		change func(event, data map[string]any)
	}{
		"no data":                     {message.Order, message.Failed, func(e, _ map[string]any) { delete(e, "data") }},
		"an attribute that is new":    {message.Order, message.Failed, func(e, _ map[string]any) { e["traceparent"] = traceparent }},
		"a field that is new":         {message.Order, message.Failed, func(_, d map[string]any) { d["price"] = 1 }},
		"a field that is missing":     {message.Order, message.Failed, func(_, d map[string]any) { delete(d, "purchased") }},
		"purchased maybe":             {message.Order, message.Failed, func(_, d map[string]any) { d["purchased"] = "maybe" }},
		"a class that is new":         {message.Topup, message.Failed, func(_, d map[string]any) { d["class"] = "misc" }},
		"a code that is no token":     {message.Topup, message.Failed, func(_, d map[string]any) { d["code"] = "a.b" }},
		"the other kind":              {message.Topup, message.Failed, func(_, d map[string]any) { d["kind"] = "order" }},
		"null for metadata":           {message.Topup, message.Failed, func(_, d map[string]any) { d["metadata"] = nil }},
		"the end that is not the nth": {message.Order, message.Completed, func(e, _ map[string]any) { e["id"] = sagaID + ".0.completed" }},
		"a failed id":                 {message.Order, message.Completed, func(e, _ map[string]any) { e["id"] = sagaID + ".1.failed" }},
		"a time that is none":         {message.Order, message.Completed, func(e, _ map[string]any) { e["time"] = "noonZ" }},
		"a time that is not UTC":      {message.Order, message.Completed, func(_, d map[string]any) { d["completed_at"] = "2026-05-04T14:00:00+02:00" }},
		"an order without eSIMs":      {message.Order, message.Completed, func(_, d map[string]any) { delete(d, "esims") }},
		"an order with an iccid":      {message.Order, message.Completed, func(_, d map[string]any) { d["iccid"] = "8934000000000008728" }},
		"a top-up with eSIMs":         {message.Topup, message.Completed, func(_, d map[string]any) { d["esims"] = []any{} }},
		"a top-up without an iccid":   {message.Topup, message.Completed, func(_, d map[string]any) { delete(d, "iccid") }},
		"a price in a string":         {message.Topup, message.Completed, func(_, d map[string]any) { child(d["order"])["price"] = "9.50" }},
		"a saga_id that is none":      {message.Topup, message.Completed, func(_, d map[string]any) { d["saga_id"] = "1" }},
		"an eSIM without its code": {message.Order, message.Completed, func(_, d map[string]any) {
			esims, _ := d["esims"].([]any)
			child(esims[0])["activation_code"] = ""
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var data any = completed(tt.k, "r")
			if tt.o == message.Failed {
				data = failed(tt.k, "r")
			}
			m, err := message.Event(tt.k, tt.o, sagaID, 1, "r", "", noon, data)
			require.NoError(t, err)
			var e map[string]any
			require.NoError(t, json.Unmarshal(m.Body, &e))
			good, err := json.Marshal(e)
			require.NoError(t, err)
			require.NoError(t, apitest.Validate(t, string(tt.o)+"-event.json", good))
			tt.change(e, child(e["data"]))
			bad, err := json.Marshal(e)
			require.NoError(t, err)
			require.Error(t, apitest.Validate(t, string(tt.o)+"-event.json", bad))
		})
	}
}

// child is an object inside another; a test that goes wrong here writes to nil.
func child(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}

func TestEventsKeepWhatTheyAreGiven(t *testing.T) {
	t.Parallel()
	body := func(data any) string {
		t.Helper()
		m, err := message.Event(message.Order, message.Completed, sagaID, 1, "r", "", noon, data)
		require.NoError(t, err)
		apitest.CheckEvent(t, message.Order, message.Completed, m.Body)
		return string(m.Body)
	}
	t.Run("metadata as it was written, space between its tokens aside", func(t *testing.T) {
		t.Parallel()
		data := completed(message.Order, "r")
		data.Metadata = json.RawMessage("{\"a\":1.50,\"a\":\"<&>\\ud800\u2028\",\n \"n\":123456789012345678901234567890}")
		require.Contains(t, body(data), `"metadata":{"a":1.50,"a":"<&>\ud800`+"\u2028"+`","n":123456789012345678901234567890}`)
	})
	t.Run("a price to the last digit", func(t *testing.T) {
		t.Parallel()
		data := completed(message.Order, "r")
		data.Order.Price = "0.1000000000000000055511151231257827"
		require.Contains(t, body(data), `"price":0.1000000000000000055511151231257827`)
	})
	t.Run("a price that nobody knows is null, not 0", func(t *testing.T) {
		t.Parallel()
		data := completed(message.Order, "r")
		data.Order.Price, data.Order.CreatedAt = "", nil
		got := body(data)
		require.Contains(t, got, `"price":null`)
		require.Contains(t, got, `"created_at":null`)
	})
	t.Run("no traceparent is no header, and a bad one is not carried", func(t *testing.T) {
		t.Parallel()
		for _, bad := range []string{"", "a b", "a\r\nNats-Msg-Id: 1", "ü", strings.Repeat("0", 129)} {
			m, err := message.Event(message.Order, message.Failed, sagaID, 1, "r", bad, noon, failed(message.Order, "r"))
			require.NoError(t, err)
			require.Equal(t, nats.Header{"Content-Type": {structuredType}}, m.Header)
		}
	})
	t.Run("what cannot be written is an error", func(t *testing.T) {
		t.Parallel()
		data := completed(message.Order, "r")
		data.Order.Price = "nine"
		_, err := message.Event(message.Order, message.Completed, sagaID, 1, "r", "", noon, data)
		require.ErrorContains(t, err, "message: event: ")
	})
}
