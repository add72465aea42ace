package message_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"esimflow/internal/message"
)

const structuredType = "application/cloudevents+json"

func TestARequestMayBeACloudEvent(t *testing.T) {
	t.Parallel()
	want, err := message.DecodeRequest(message.Order, nil, []byte(contractOrder))
	require.NoError(t, err)
	structured := `{"specversion":"1.0","id":"1","source":"/shop","type":"t","data":` + contractOrder + `}`
	inBase64 := `{"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(contractOrder)) + `","specversion":"1.0","id":"1","source":"/shop","type":"t"}`
	inText := `{"specversion":"1.0","id":"1","source":"/shop","type":"t","datacontenttype":"text/plain; charset=utf-8","data":` + quote(contractOrder) + `}`
	tests := map[string]struct {
		header nats.Header
		body   string
	}{
		"structured":                      {nats.Header{"Content-Type": {structuredType}}, structured},
		"structured, name in lower case":  {nats.Header{"content-type": {structuredType}}, structured},
		"structured, name in upper case":  {nats.Header{"CONTENT-TYPE": {structuredType}}, structured},
		"structured, another case":        {nats.Header{"Content-Type": {"Application/CloudEvents+JSON"}}, structured},
		"structured, with a charset":      {nats.Header{"Content-Type": {structuredType + "; charset=UTF-8"}}, structured},
		"structured, with space":          {nats.Header{"Content-Type": {" " + structuredType + " ;charset=utf-8"}}, structured},
		"structured, data in base64":      {nats.Header{"Content-Type": {structuredType}}, inBase64},
		"structured, data in text":        {nats.Header{"Content-Type": {structuredType}}, inText},
		"structured, null for data":       {nats.Header{"Content-Type": {structuredType}}, strings.Replace(inBase64, "{", `{"data":null,`, 1)},
		"structured, with extensions":     {nats.Header{"Content-Type": {structuredType}}, strings.Replace(structured, "{", `{"traceparent":"00-1","n":{"x":1},`, 1)},
		"structured, +json data":          {nats.Header{"Content-Type": {structuredType}}, strings.Replace(structured, "{", `{"datacontenttype":"application/vnd.shop+json",`, 1)},
		"structured, +json data in text":  {nats.Header{"Content-Type": {structuredType}}, strings.Replace(inText, "text/plain", "application/vnd.shop+json", 1)},
		"structured, without an identity": {nats.Header{"Content-Type": {structuredType}}, `{"specversion":"1.0","data":` + contractOrder + `}`},
		"binary":                          {nats.Header{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"/shop"}, "ce-type": {"t"}, "Content-Type": {"application/json"}}, contractOrder},
		"binary, in any case":             {nats.Header{"Ce-Specversion": {"1.0"}, "CE-ID": {"1"}, "ce-Source": {"%2Fshop"}, "cE-type": {"t"}}, contractOrder},
		"plain, with a content type":      {nats.Header{"Content-Type": {"application/json"}}, contractOrder},
		"plain, with a strange one":       {nats.Header{"Content-Type": {";"}}, contractOrder},
		"plain, with an empty header":     {nats.Header{"Content-Type": nil}, contractOrder},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := message.DecodeRequest(message.Order, tt.header, []byte(tt.body))
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

func TestCloudEventsThatAreRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ contentType, body, want string }{
		"a batch":                {"application/cloudevents-batch+json", "[]", `message: content type "application/cloudevents-batch+json" is not supported, only application/cloudevents+json`},
		"XML":                    {"application/cloudevents+xml", "<event/>", `message: content type "application/cloudevents+xml" is not supported`},
		"a longer name":          {structuredType + "ish", contractOrder, `message: content type "application/cloudevents+jsonish" is not supported`},
		"a plain request":        {structuredType, contractOrder, "message: the CloudEvent: specversion must be 1.0"},
		"nothing":                {structuredType, "", "message: the CloudEvent: empty"},
		"garbage":                {structuredType, "<", "message: the CloudEvent: not JSON: "},
		"not UTF-8":              {structuredType, `{"specversion":"1.0","source":"` + "\xff" + `","data":{}}`, "message: the CloudEvent: not UTF-8"},
		"an old version":         {structuredType, `{"specversion":"0.3","data":{}}`, "message: the CloudEvent: specversion must be 1.0"},
		"a number for a version": {structuredType, `{"specversion":1.0,"data":{}}`, "message: the CloudEvent: specversion must be 1.0"},
		"two versions":           {structuredType, `{"specversion":"1.0","specversion":"1.0","data":{}}`, "message: the CloudEvent: not clear: it has two values for specversion"},
		"no data":                {structuredType, `{"specversion":"1.0"}`, "message: the CloudEvent: it has no data"},
		"null for data":          {structuredType, `{"specversion":"1.0","data":null,"data_base64":null}`, "message: the CloudEvent: it has no data"},
		"data twice":             {structuredType, `{"specversion":"1.0","data":{},"data":{}}`, "message: the CloudEvent: not clear: it has two values for data"},
		"data in both ways":      {structuredType, `{"specversion":"1.0","data":{},"data_base64":"e30="}`, "message: the CloudEvent: it has data and data_base64"},
		"not base64":             {structuredType, `{"specversion":"1.0","data_base64":"{}"}`, "message: the CloudEvent: data_base64 is not base64"},
		"a number for base64":    {structuredType, `{"specversion":"1.0","data_base64":1}`, "message: the CloudEvent: data_base64 must be a string"},
		"base64 that is no JSON": {structuredType, `{"specversion":"1.0","data_base64":"/w=="}`, "message: the request is not UTF-8"},
		"a string for data":      {structuredType, `{"specversion":"1.0","data":` + quote(contractOrder) + `}`, "message: the request is not a JSON object"},
		"XML for data":           {structuredType, `{"specversion":"1.0","datacontenttype":"application/xml","data":"<x/>"}`, "message: the request is not JSON: "},
		"JSON that is called XML": {
			structuredType, `{"specversion":"1.0","datacontenttype":"application/xml","data":` + contractOrder + `}`,
			"message: the CloudEvent: data must be a string, as datacontenttype is not JSON",
		},
		"a list for a content type": {structuredType, `{"specversion":"1.0","datacontenttype":[],"data":{}}`, "message: the CloudEvent: datacontenttype must be a string"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := message.DecodeRequest(message.Order, nats.Header{"Content-Type": {tt.contentType}}, []byte(tt.body))
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// TestStructuredRequestsAreReadAsTheSDKReadsThem takes the SDK for a second opinion, on
// events that it has written.
func TestStructuredRequestsAreReadAsTheSDKReadsThem(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		request := "{" + strings.Join(members().Draw(t, "members"), ",") + "}"
		e := event.New()
		e.SetID(rapid.StringN(1, 20, -1).Draw(t, "id"))
		e.SetSource("/" + rapid.StringMatching(`[a-z]{0,8}`).Draw(t, "source"))
		e.SetType(rapid.StringMatching(`[a-z.]{1,8}`).Draw(t, "type"))
		e.SetTime(time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, "time"), 0))
		e.SetExtension("traceparent", rapid.StringMatching(`[0-9a-f-]{0,55}`).Draw(t, "extension"))
		contentType := rapid.SampledFrom([]string{"application/json", "text/json", "application/x+json", "text/plain"}).Draw(t, "content type")
		e.SetDataContentType(contentType)
		e.DataEncoded = []byte(request)
		e.DataBase64 = rapid.Bool().Draw(t, "base64")
		body, err := e.MarshalJSON() // json.Marshal would compact the request
		require.NoError(t, err)

		k := rapid.SampledFrom(message.Kinds()).Draw(t, "kind")
		want, wantErr := message.DecodeRequest(k, nil, e.Data())
		got, gotErr := message.DecodeRequest(k, nats.Header{"Content-Type": {structuredType}}, body)
		require.Equal(t, wantErr, gotErr)
		require.Equal(t, want, got)
	})
}

// TestEnvelopesAreReadAsTheSDKReadsThem takes the SDK for a second opinion on envelopes
// that nobody would write: where it and we both read one, we read the same.
func TestEnvelopesAreReadAsTheSDKReadsThem(t *testing.T) {
	t.Parallel()
	request := `{"request_id":"r","package_id":"p"}`
	values := map[string][]string{
		"specversion":     {`"1.0"`, `"1.0"`, `"1.0"`, `"0.3"`, `"2.0"`, `null`},
		"datacontenttype": {`"application/json"`, `"Application/JSON; charset=utf-8"`, `"text/plain"`, `""`, `null`, `1`},
		"data":            {request, quote(request), `null`, `1`, `[]`},
		"data_base64":     {quote(base64.StdEncoding.EncodeToString([]byte(request))), `"e30="`, `null`, `1`, `""`, `"!"`},
		"id":              {`"1"`},
		"source":          {`"/s"`},
		"type":            {`"t"`},
		"x":               {`"x"`, `1`, `true`},
	}
	both := 0
	rapid.Check(t, func(t *rapid.T) {
		var all []string
		for _, name := range []string{"specversion", "datacontenttype", "data", "data_base64", "id", "source", "type", "x"} {
			optional := len(values[name]) > 1 && name != "specversion"
			if !optional || rapid.Bool().Draw(t, name+"?") {
				all = append(all, quote(name)+":"+rapid.SampledFrom(values[name]).Draw(t, name))
			}
		}
		body := []byte("{" + strings.Join(rapid.Permutation(all).Draw(t, "order"), ",") + "}")
		got, err := message.DecodeRequest(message.Order, nats.Header{"Content-Type": {structuredType}}, body)
		data, sdkErr := readBySDK(body)
		// Of data and data_base64 the SDK takes the last one, if it is null, too.
		twoWays := strings.Contains(string(body), `"data":`) && strings.Contains(string(body), `"data_base64":`)
		if err == nil && sdkErr == nil && !twoWays {
			want, err := message.DecodeRequest(message.Order, nil, data)
			require.NoError(t, err)
			require.Equal(t, want, got, "%s", body)
			both++
		}
	})
	require.Positive(t, both)
}

// readBySDK reads a structured event, and takes the SDK's panics for refusals.
func readBySDK(body []byte) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	var e event.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, err
	}
	return e.Data(), e.Validate()
}

// TestTheSDKStillPanics is why envelopes are not read by the SDK. When it fails, the SDK
// has been mended.
func TestTheSDKStillPanics(t *testing.T) {
	t.Parallel()
	body := []byte(`{"data_base64":1,"specversion":"1.0"}`)
	_, err := readBySDK(body)
	require.ErrorContains(t, err, "panic: ")
	_, err = message.DecodeRequest(message.Order, nats.Header{"Content-Type": {structuredType}}, body)
	require.EqualError(t, err, "message: the CloudEvent: data_base64 must be a string")
}
