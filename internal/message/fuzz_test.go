package message_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
)

// canary is what a sender may have put anywhere, and what must not be quoted back at them: their errors end in dead letters,
// logs and headers.
const canary = "canary-of-a-sender-4711-0815"

// checkRefusal requires of the words of a refusal what a dead letter needs: they are short, they can be stored, and they quote
// nothing of what was sent.
func checkRefusal(tb testing.TB, r message.Request, err error) {
	tb.Helper()
	require.Zero(tb, r)
	require.Less(tb, len(err.Error()), 512)
	require.True(tb, utf8.ValidString(err.Error()), "%q", err)
	require.NotContains(tb, err.Error(), "\x00")
	require.NotContains(tb, err.Error(), canary)
	require.True(tb, strings.HasPrefix(err.Error(), "message: "), "%q", err)
}

// read decodes twice: one message is read the same however often it arrives.
func read(tb testing.TB, k message.Kind, h nats.Header, body []byte) (message.Request, error) {
	tb.Helper()
	r, err := message.DecodeRequest(k, h, body)
	again, errAgain := message.DecodeRequest(k, h, body)
	require.Equal(tb, r, again)
	require.Equal(tb, fmt.Sprint(err), fmt.Sprint(errAgain))
	if err != nil {
		checkRefusal(tb, r, err)
	}
	return r, err
}

// FuzzCloudEvent sends one payload in every way in which a request may be sent: plain, in binary mode with any headers, and in
// both of structured mode's. It is the same request each time, or refused each time. The envelope's own bytes are
// tried, too, with something secret put in anywhere.
func FuzzCloudEvent(f *testing.F) {
	for _, body := range []string{
		contractOrder, contractTopup, order(`"quantity":2.0`), order(`"quantity":1e1`), order(`"quantity":99999999999999999999999999999999`), order(`"metadata":{"a":[[[[]]]]}`),
		`{"request_id":"r","request_id":"s","package_id":"p"}`, `{"request_id":"\ud800","package_id":"p"}`, `{"request_id":"a\u0000b","package_id":"p"}`,
		"\xef\xbb\xbf{}", "{\"request_id\":\"\xff\"}", "null", "", "[]", "{} {}", strings.Repeat(`{"metadata":`, 200), strings.Repeat("[", 20_000),
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"request_id":"r","package_id":"p"}}`,
		`{"specversion":"1.0","data":{},"data":{}}`, `{"specversion":"1.0","data":{},"data_base64":"e30="}`, `{"specversion":"1.0","data_base64":1}`,
		`{"specversion":"1.0","datacontenttype":"text/plain","data":"{\"request_id\":\"r\",\"package_id\":\"p\"}"}`, `{"specversion":"1.0","datacontenttype":7,"data":{}}`,
		`{"specversion":1.0,"data":{}}`, `{"specversion":"0.3","data":{}}`, `{"specversion":"1.0","data_base64":"!"}`,
	} {
		for _, contentType := range []string{"application/json", "application/cloudevents+json", "Application/CloudEvents+JSON; charset=utf-8", "application/cloudevents-batch+json", "application/cloudevents+avro"} {
			f.Add(false, contentType, []byte(body), uint16(7))
			f.Add(true, contentType, []byte(body), uint16(60_000))
		}
	}
	f.Fuzz(func(t *testing.T, isTopup bool, contentType string, body []byte, at uint16) {
		k := message.Order
		if isTopup {
			k = message.Topup
		}
		want, refused := read(t, k, nil, body)
		same := func(how string, h nats.Header, sent []byte) {
			t.Helper()
			got, err := read(t, k, h, sent)
			require.Equal(t, refused == nil, err == nil, "%s: %v, plain: %v", how, err, refused)
			if err == nil {
				require.Equal(t, want.Fingerprint(), got.Fingerprint(), how)
				require.JSONEq(t, string(want.Metadata), string(got.Metadata), how)
				got.Metadata = want.Metadata
				require.Equal(t, want, got, how)
			}
		}
		same("binary", nats.Header{"ce-specversion": {"1.0"}, "ce-id": {contentType}, "CE-Type": {string(body)}, "content-type": {"application/json"}}, body)
		structured := nats.Header{"Content-Type": {"application/cloudevents+json"}}
		encoded := base64.StdEncoding.EncodeToString(body)
		same("structured, in base64", structured, []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"`+encoded+`"}`))
		if json.Valid(body) && utf8.Valid(body) {
			same("structured", structured, []byte(`{"data":`+string(body)+`,"specversion":"1.0","x":null}`))
			text, err := json.Marshal(string(body))
			require.NoError(t, err)
			same("structured, as text", structured, []byte(`{"specversion":"1.0","datacontenttype":"text/plain","data":`+string(text)+`}`))
		}
		if refused == nil {
			checkAgain(t, want)
		}

		// The same bytes as whatever the header says they are, whole, and with something put in.
		h := nats.Header{"content-type": {contentType}, "CONTENT-type": {"x"}}
		got, err := read(t, k, h, body)
		if err == nil {
			checkAgain(t, got)
		}
		place := int(at) % (len(body) + 1)
		planted := append(append(append([]byte{}, body[:place]...), canary...), body[place:]...)
		_, _ = read(t, k, h, planted)
		_, err = read(t, k, nats.Header{"Content-Type": {"application/cloudevents-batch+json"}}, body)
		require.ErrorContains(t, err, "is not supported")
	})
}

// FuzzMeaning changes the bytes of a request and not what they mean, and then what they mean. A request that is sent again in
// other words is the same purchase; one that buys anything else is another; and one that says a thing twice is none.
func FuzzMeaning(f *testing.F) {
	f.Add(false, "ord-7f3a", "kallur-digital-7days-1gb", 1, "8934000000000008728", `{"customer":"c-19"}`, "q")
	f.Add(true, "top-02", "bonbon-mobile-30days-3gb-topup", 1, "8934000000000008728", `{}`, "p")
	f.Add(false, " a b ", "é\"\\/😀", 50, "", `{"a":{"b":null}}`, "\n1\n")
	f.Add(true, "r", "p\n1", 0, "893400000000000872", `{"a":1,"a":2}`, "")
	f.Fuzz(func(t *testing.T, isTopup bool, requestID, packageID string, quantity int, iccid, metadata, other string) {
		kind := message.Order
		if isTopup {
			kind = message.Topup
		}
		members := []string{`"request_id":` + quote(requestID), `"package_id":` + quote(packageID)}
		if isTopup {
			members = append(members, `"iccid":`+quote(iccid))
		} else {
			members = append(members, `"quantity":`+quoteInt(quantity))
		}
		if json.Valid([]byte(metadata)) && utf8.ValidString(metadata) {
			members = append(members, `"metadata":`+metadata)
		}
		sent := func(members ...string) []byte { return []byte("{" + strings.Join(members, ",") + "}") }
		r, err := read(t, kind, nil, sent(members...))
		if err != nil {
			return
		}
		// Other words: another order, spaces, unknown members, spelled otherwise, stamped by a retry.
		words := []string{"\n\"x\" : [1, {}] ", "\"description\":" + quote(other)}
		for _, member := range slices.Backward(members) {
			words = append(words, " "+strings.Replace(member, `"package_id":`, "\t\"package\\u005fid\" :\r\n", 1))
		}
		again, err := read(t, kind, nil, sent(words...))
		require.NoError(t, err)
		require.Equal(t, r.Fingerprint(), again.Fingerprint())
		require.Equal(t, r.RequestID, again.RequestID)

		for i := range members {
			_, err := read(t, kind, nil, sent(append(slices.Clip(members), members[i])...))
			require.ErrorContains(t, err, "it has two values for")
		}

		// Another meaning.
		changes := map[string]func(*message.Request){
			"kind": func(r *message.Request) {
				r.Kind = map[message.Kind]message.Kind{message.Order: message.Topup, message.Topup: message.Order}[r.Kind]
			},
			"package": func(r *message.Request) { r.PackageID = other }, "iccid": func(r *message.Request) { r.ICCID = other },
			"quantity": func(r *message.Request) { r.Quantity = len(other) },
		}
		for name, change := range changes {
			changed := r
			change(&changed)
			meansTheSame := changed.Kind == r.Kind && changed.PackageID == r.PackageID && changed.ICCID == r.ICCID && changed.Quantity == r.Quantity
			require.Equal(t, meansTheSame, changed.Fingerprint() == r.Fingerprint(), name)
		}
	})
}
