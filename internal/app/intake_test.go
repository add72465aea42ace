package app_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// letters waits for n dead letters on the stream.
func (b *bench) letters(n int) []*jetstream.RawStreamMsg {
	b.t.Helper()
	var all []*jetstream.RawStreamMsg
	require.Eventually(b.t, func() bool {
		all = b.messages(message.DeadLettersStream)
		return len(all) >= n
	}, 60*time.Second, 20*time.Millisecond, "%d dead letters", n)
	return all
}

func TestIntake(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	b.worker()
	b.publisher()

	t.Run("buys a duplicate once", func(t *testing.T) {
		for _, body := range []string{
			`{"request_id":"dup","package_id":"kallur-digital-7days-1gb"}`,
			`{"quantity":1, "package_id":"kallur-digital-7days-1gb","request_id":"dup","metadata":{"retry":2}}`,
		} {
			b.publish(message.Order, body)
		}
		b.result("dup", 1)
		b.publish(message.Order, `{"request_id":"dup","package_id":"kallur-digital-7days-1gb"}`)
		b.publish(message.Order, `{"request_id":"after-dup","package_id":"kallur-digital-7days-1gb"}`)
		b.result("after-dup", 1)
		require.Equal(t, 2, b.sim.SoldCount())
	})
	t.Run("takes the same key for an order and a top-up", func(t *testing.T) {
		b.publish(message.Topup, fmt.Sprintf(`{"request_id":"dup","package_id":"bonbon-mobile-30days-3gb-topup","iccid":"%s"}`, pressonesim.DefaultICCIDs()[1]))
		e := b.result("dup", 2)
		require.Equal(t, "esimflow.topup.completed.v1", e.Type)
		require.Equal(t, pressonesim.DefaultICCIDs()[1], e.Data["iccid"])
	})
	t.Run("takes CloudEvents", func(t *testing.T) {
		b.publish(message.Order, `{"specversion":"1.0","id":"1","source":"shop","type":"order","data":{"request_id":"ce-1","package_id":"kallur-digital-7days-1gb"}}`,
			"content-type", "application/cloudevents+json; charset=utf-8", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		b.publish(message.Order, `{"request_id":"ce-2","package_id":"kallur-digital-7days-1gb"}`,
			"ce-specversion", "1.0", "ce-id", "2", "ce-source", "shop", "ce-type", "order")
		e := b.result("ce-1", 1)
		require.Equal(t, []string{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, e.header["traceparent"])
		require.Equal(t, e.ID, e.header.Get("Nats-Msg-Id"))
		require.Equal(t, "application/cloudevents+json", e.header.Get("Content-Type"))
		b.result("ce-2", 1)
	})
	t.Run("buries what it cannot understand, whole, and carries on", func(t *testing.T) {
		sold := b.sim.SoldCount()
		bad := []string{
			"\x00\xff\xfe", "", "[]", `{"request_id":"x"}`, `{"request_id":"x","package_id":"p","quantity":51}`,
			`{"request_id":"` + strings.Repeat("x", 129) + `","package_id":"p"}`,
			`{"request_id":"x","package_id":"p","metadata":{"a":"` + strings.Repeat("x", 9000) + `"}}`,
			strings.Repeat("\xf0", 900_000),
		}
		for _, body := range bad {
			b.publish(message.Order, body, "Customer", "c-1", "Strange", "a\x00b")
		}
		b.publish(message.Topup, `{"request_id":"x","package_id":"p","iccid":"123"}`)
		b.publish(message.Order, `{"request_id":"after-bad","package_id":"kallur-digital-7days-1gb"}`)
		b.result("after-bad", 1)
		require.Equal(t, sold+1, b.sim.SoldCount())
		letters := b.letters(len(bad) + 1)
		require.Len(t, letters, len(bad)+1)
		found := map[string]bool{}
		for _, l := range letters {
			found[string(l.Data)] = true
			require.Equal(t, "malformed", l.Header.Get(message.HeaderCode))
			require.Equal(t, "no", l.Header.Get(message.HeaderPurchased))
			require.NotEmpty(t, l.Header.Get(message.HeaderReason))
			require.Empty(t, l.Header.Get(message.HeaderSagaID))
			require.NotEmpty(t, l.Header.Get(message.HeaderSourceSequence))
			if l.Header.Get(message.HeaderSourceSubject) == "esim.request.order" {
				require.Equal(t, "esim.dlq.order.malformed", l.Subject)
				require.Equal(t, "c-1", l.Header.Get("Customer"))
			}
		}
		for _, body := range bad {
			require.True(t, found[body], "%.40q", body)
		}
	})
	t.Run("buries the same key with another meaning", func(t *testing.T) {
		before := len(b.messages(message.DeadLettersStream))
		b.publish(message.Order, `{"request_id":"after-bad","package_id":"kallur-digital-7days-1gb","quantity":2}`)
		l := b.letters(before + 1)[before]
		require.Equal(t, "esim.dlq.order.conflict", l.Subject)
		require.Equal(t, "after-bad", l.Header.Get(message.HeaderRequestID))
		require.Regexp(t, `[0-9a-f]{64} then, [0-9a-f]{64} now`, l.Header.Get(message.HeaderReason))
	})
}

// A letter without a saga is replayed by publishing its bytes again.
func TestMalformedIsReplayedAsANewRequest(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	w := b.worker()
	b.publisher()
	b.publish(message.Order, "garbage")
	id := b.letters(1)[0].Header.Get(message.HeaderDeadLetterID)
	body := fmt.Sprintf(`{"ids":["%s"],"actor":"ann","reason":"again"}`, id)
	b.post(w, "dead-letters/replay", body, http.StatusOK)
	require.Eventually(t, func() bool { // buried again, under a new id; the first copy is gone
		left := b.messages(message.DeadLettersStream)
		return len(left) == 1 && left[0].Header.Get(message.HeaderDeadLetterID) != id
	}, 60*time.Second, 20*time.Millisecond)
	requests := b.messages(message.RequestsStream)
	require.Len(t, requests, 2)
	require.Equal(t, "garbage", string(requests[1].Data))

	t.Run("once, however often that is pressed", func(t *testing.T) {
		b.post(w, "dead-letters/replay", body, http.StatusOK)
		b.publish(message.Order, `{"request_id":"marker","package_id":"kallur-digital-7days-1gb"}`)
		b.result("marker", 1)
		require.Len(t, b.messages(message.RequestsStream), 3)
	})
	t.Run("shows the bytes", func(t *testing.T) {
		l := b.get(w, "dead-letters/"+id)
		require.Equal(t, "replayed", l["status"])
		require.Equal(t, base64.StdEncoding.EncodeToString([]byte("garbage")), l["body"])
	})
}
