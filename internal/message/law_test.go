package message_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"esimflow/api/apitest"
	"esimflow/internal/message"
)

// differences are the words with which DecodeRequest refuses what its schema accepts. There
// are no others, and there is nothing that it accepts and the schema refuses.
var differences = map[string]string{
	"not UTF-8":                           "JSON Schema speaks of values, not of bytes",
	"it has two values for":               "a name that comes twice: most readers never notice",
	"metadata is larger than":             "the size in bytes",
	"quantity must be a whole number":     "a whole number that is spelled in more than 16 characters",
	"must be 1 to 128 printable":          "what is invisible and rare: the schema's pattern has to work in every language",
	"must be 1 to 255 printable":          "the same",
	"the request is more than one JSON":   "", // the schema's reader refuses it as well
	"the request is not JSON: exceeded m": "nesting deeper than 10,000",
}

// checkLaw holds DecodeRequest against the schema: plain requests only.
func checkLaw(tb testing.TB, k message.Kind, body []byte) {
	tb.Helper()
	got, err := message.DecodeRequest(k, nil, body)
	refused := apitest.CheckRequest(tb, k, body)
	switch {
	case err == nil:
		require.NoError(tb, refused, "accepted, and the schema refuses it: %s", body)
		checkAgain(tb, got)
	case refused == nil:
		why := ""
		for words, because := range differences {
			if strings.Contains(err.Error(), words) {
				why = because
			}
		}
		require.NotEmpty(tb, why, "the schema accepts it, and it is refused: %v: %s", err, body)
	}
}

// checkAgain encodes a request that was read, and reads it again.
func checkAgain(tb testing.TB, r message.Request) {
	tb.Helper()
	again, err := message.DecodeRequest(r.Kind, nil, encode(tb, r))
	require.NoError(tb, err)
	require.Equal(tb, r.Fingerprint(), again.Fingerprint())
	require.JSONEq(tb, string(r.Metadata), string(again.Metadata))
	again.Metadata = r.Metadata
	require.Equal(tb, r, again)
	require.NoError(tb, apitest.CheckRequest(tb, r.Kind, encode(tb, r)))
}

// encode writes a request as upstream would.
func encode(tb testing.TB, r message.Request) []byte {
	tb.Helper()
	fields := map[string]any{"request_id": r.RequestID, "package_id": r.PackageID, "description": r.Description, "metadata": r.Metadata}
	switch r.Kind {
	case message.Order:
		fields["quantity"] = r.Quantity
	case message.Topup:
		fields["iccid"] = r.ICCID
	}
	body, err := json.Marshal(fields)
	require.NoError(tb, err)
	return body
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string can always be written
	}
	return string(b)
}

// members draws names and values that are good, nearly good and bad.
func members() *rapid.Generator[[]string] {
	text := rapid.OneOf(
		rapid.Map(rapid.StringN(0, 140, -1), quote),
		rapid.Map(rapid.StringMatching(`[a-z0-9-]{1,12}`), quote),
		rapid.Map(rapid.StringMatching(`[0-9]{17,23}`), quote),
		rapid.SampledFrom([]string{`""`, `" "`, `"\u0000"`, `"\ud800"`, `"�"`, `"\n"`, `"😀"`, quote(strings.Repeat("ß", 128)), quote(strings.Repeat("ß", 129))}),
	)
	number := rapid.OneOf(
		rapid.SampledFrom([]string{
			"0", "-0", "1", "2.0", "2e0", "20e-1", "5E+1", "50", "50.0", "51", "-1", "1.5", "1e99", "1e999", "1e-999", "0.00000000000001",
			"1.0000000000000000000", "1.0000000000000001", "1.00000000000001", "49.9999999999999999",
		}),
		rapid.Map(rapid.IntRange(-5, 60), func(n int) string { return quoteInt(n) }),
	)
	object := rapid.SampledFrom([]string{`{}`, `{"a":1}`, `{ "a" : {"b":[null]} }`, metadata(8 << 10), metadata(8<<10 + 1), `{"a":1,"a":2}`})
	other := rapid.SampledFrom([]string{`null`, `true`, `false`, `[]`, `[1]`})
	name := rapid.OneOf(
		rapid.SampledFrom([]string{"request_id", "package_id", "quantity", "iccid", "description", "metadata"}),
		rapid.SampledFrom([]string{"Request_id", "QUANTITY", "iccid ", "x"}),
	)
	return rapid.Custom(func(t *rapid.T) []string {
		all := []string{} // a good start, most of the time
		if rapid.IntRange(0, 9).Draw(t, "start") > 0 {
			all = append(all, `"request_id":`+text.Draw(t, "request_id"), `"package_id":`+text.Draw(t, "package_id"))
		}
		if rapid.Bool().Draw(t, "quantity") {
			all = append(all, `"quantity":`+number.Draw(t, "quantity"))
		}
		if rapid.Bool().Draw(t, "iccid") {
			all = append(all, `"iccid":`+text.Draw(t, "iccid"))
		}
		if rapid.Bool().Draw(t, "metadata") {
			all = append(all, `"metadata":`+object.Draw(t, "metadata"))
		}
		for range rapid.IntRange(0, 2).Draw(t, "more") {
			value := rapid.OneOf(text, number, object, other).Draw(t, "value")
			all = append(all, quote(name.Draw(t, "name"))+":"+value)
		}
		return rapid.Permutation(all).Draw(t, "order")
	})
}

func quoteInt(n int) string {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err) // an int can always be written
	}
	return string(b)
}

func TestWhatIsAcceptedSatisfiesTheSchema(t *testing.T) {
	t.Parallel()
	accepted := 0
	rapid.Check(t, func(rt *rapid.T) {
		body := []byte("{" + strings.Join(members().Draw(rt, "members"), ",") + "}")
		for _, k := range message.Kinds() {
			checkLaw(t, k, body)
			if _, err := message.DecodeRequest(k, nil, body); err == nil {
				accepted++
			}
		}
	})
	require.Positive(t, accepted, "the law was never put to the test")
}

func FuzzDecodeRequest(f *testing.F) {
	const structured = "application/cloudevents+json"
	for _, k := range []bool{false, true} {
		for _, body := range []string{
			contractOrder, contractTopup, order(`"quantity":2.0`), order(`"metadata":null`), topup(`"893400000000000872"`),
			"", "null", "[]", `{"request_id":"r","request_id":"s","package_id":"p"}`, "\xef\xbb\xbf{}", `{"request_id":"\ud800"}`, "{} {}", `{"a":1]`,
		} {
			f.Add(k, "", []byte(body))
			f.Add(k, structured, []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":`+body+`}`))
		}
		f.Add(k, structured, []byte(`{"specversion":"1.0","data_base64":"e30="}`))
		f.Add(k, structured, []byte(`{"specversion":"1.0","data_base64":1}`))
		f.Add(k, structured, []byte(`{"data_base64":1,"specversion":"1.0"}`))
		f.Add(k, structured, []byte(`{"specversion":"1.0","datacontenttype":"text/plain","data":"{}"}`))
		f.Add(k, "application/cloudevents-batch+json", []byte(`[]`))
	}
	f.Fuzz(func(t *testing.T, isTopup bool, contentType string, body []byte) {
		k := message.Order
		if isTopup {
			k = message.Topup
		}
		header := nats.Header{"content-type": {contentType}}
		r, err := message.DecodeRequest(k, header, body)
		if err != nil {
			require.Less(t, len(err.Error()), 512)
			require.Zero(t, r)
		} else {
			checkAgain(t, r)
		}
		checkLaw(t, k, body)
	})
}
