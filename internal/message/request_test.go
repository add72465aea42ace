package message_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"esimflow/api/apitest"
	"esimflow/internal/message"
)

// The documents of the contract.
const (
	contractOrder = `{"request_id":"ord-7f3a","package_id":"kallur-digital-7days-1gb","quantity":1,
 "description":"optional, for humans","metadata":{"customer":"c-19"}}`
	contractTopup = `{"request_id":"top-02","iccid":"8934000000000008728","package_id":"bonbon-mobile-30days-3gb-topup","metadata":{}}`
)

func TestTheContractsRequestsAreRead(t *testing.T) {
	t.Parallel()
	order, err := message.DecodeRequest(message.Order, nil, []byte(contractOrder))
	require.NoError(t, err)
	require.Equal(t, message.Request{
		Kind: message.Order, RequestID: "ord-7f3a", PackageID: "kallur-digital-7days-1gb", Quantity: 1,
		Description: "optional, for humans", Metadata: []byte(`{"customer":"c-19"}`),
	}, order)
	require.NoError(t, apitest.CheckRequest(t, message.Order, []byte(contractOrder)))

	topup, err := message.DecodeRequest(message.Topup, nil, []byte(contractTopup))
	require.NoError(t, err)
	require.Equal(t, message.Request{
		Kind: message.Topup, RequestID: "top-02", PackageID: "bonbon-mobile-30days-3gb-topup", Quantity: 1,
		ICCID: "8934000000000008728", Metadata: []byte(`{}`),
	}, topup)
	require.NoError(t, apitest.CheckRequest(t, message.Topup, []byte(contractTopup)))
}

// order is a good order with one more member, or with one replaced.
func order(member string) string {
	name, _, _ := strings.Cut(member, ":")
	fields := []string{`"request_id":"r"`, `"package_id":"p"`, `"quantity":3`}
	var all []string
	for _, f := range fields {
		if !strings.HasPrefix(f, name+":") {
			all = append(all, f)
		}
	}
	if member != "" {
		all = append(all, member)
	}
	return "{" + strings.Join(all, ",") + "}"
}

func topup(iccid string) string {
	return `{"request_id":"r","package_id":"p","iccid":` + iccid + `}`
}

func TestRequestsThatAreRead(t *testing.T) {
	t.Parallel()
	base := message.Request{Kind: message.Order, RequestID: "r", PackageID: "p", Quantity: 3, Metadata: []byte("{}")}
	with := func(change func(r *message.Request)) message.Request {
		r := base
		change(&r)
		return r
	}
	tests := map[string]struct {
		give string
		want message.Request
	}{
		"plain":                       {order(""), base},
		"space around it":             {" \r\n\t" + order("") + "\n\n", base},
		"no quantity is 1":            {`{"request_id":"r","package_id":"p"}`, with(func(r *message.Request) { r.Quantity = 1 })},
		"null quantity is 1":          {order(`"quantity":null`), with(func(r *message.Request) { r.Quantity = 1 })},
		"quantity 50":                 {order(`"quantity":50`), with(func(r *message.Request) { r.Quantity = 50 })},
		"quantity 2.0 is 2":           {order(`"quantity":2.0`), with(func(r *message.Request) { r.Quantity = 2 })},
		"quantity 2e0 is 2":           {order(`"quantity":2e0`), with(func(r *message.Request) { r.Quantity = 2 })},
		"quantity 0.5E+1 is 5":        {order(`"quantity":0.5E+1`), with(func(r *message.Request) { r.Quantity = 5 })},
		"null metadata":               {order(`"metadata":null`), base},
		"null description":            {order(`"description":null`), base},
		"metadata is kept as it is":   {order(`"metadata": {"a" : 1.50, "a":[]}`), with(func(r *message.Request) { r.Metadata = []byte(`{"a" : 1.50, "a":[]}`) })},
		"8 KiB of metadata":           {order(`"metadata":` + metadata(8<<10)), with(func(r *message.Request) { r.Metadata = []byte(metadata(8 << 10)) })},
		"a description of any length": {order(`"description":"` + strings.Repeat("d", 1<<16) + `"`), with(func(r *message.Request) { r.Description = strings.Repeat("d", 1<<16) })},
		"unknown fields":              {order(`"customer":{"id":[1,{"x":null}]}`), base},
		"an unknown field twice":      {order(`"x":1,"x":2`), base},
		"an iccid is unknown here":    {order(`"iccid":17`), base},
		"another case is unknown":     {order(`"Request_ID":"R","QUANTITY":99,"Metadata":[]`), base},
		"escapes":                     {order(`"request_id":"\u0041\/\"\ud83d\ude00"`), with(func(r *message.Request) { r.RequestID = `A/"😀` })},
		"an escaped name":             {`{"request_id":"r","package_id":"p","\u0071uantity":3}`, base},
		"spaces in a key":             {order(`"request_id":" a b "`), with(func(r *message.Request) { r.RequestID = " a b " })},
		"128 characters of 4 bytes":   {order(`"request_id":"` + strings.Repeat("😀", 128) + `"`), with(func(r *message.Request) { r.RequestID = strings.Repeat("😀", 128) })},
		"255 characters of 2 bytes":   {order(`"package_id":"` + strings.Repeat("é", 255) + `"`), with(func(r *message.Request) { r.PackageID = strings.Repeat("é", 255) })},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := message.DecodeRequest(message.Order, nil, []byte(tt.give))
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
			checkLaw(t, message.Order, []byte(tt.give))
		})
	}
}

// metadata is an object of n bytes.
func metadata(n int) string { return `{"m":"` + strings.Repeat("m", n-8) + `"}` }

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ give, want string }{
		"nothing":                      {"", "message: the request is empty"},
		"space":                        {" \n", "message: the request is empty"},
		"garbage":                      {"\x00\x01", "message: the request is not JSON: invalid character '\\x00' looking for beginning of value"},
		"a byte order mark":            {"\xef\xbb\xbf" + order(""), "message: the request is not JSON: invalid character 'ï' looking for beginning of value"},
		"UTF-16":                       {"{\x00\"\x00}\x00", "message: the request is not JSON: invalid character '\\x00'"},
		"not UTF-8":                    {order(`"description":"` + "\xff" + `"`), "message: the request is not UTF-8"},
		"half of it":                   {order("")[:20], "message: the request is not JSON: unexpected EOF"},
		"an array":                     {"[" + order("") + "]", "message: the request is not a JSON object"},
		"a string":                     {`"x"`, "message: the request is not a JSON object"},
		"null":                         {"null", "message: the request is not a JSON object"},
		"two of them":                  {order("") + order(""), "message: the request is more than one JSON object"},
		"something after it":           {order("") + "x", "message: the request is more than one JSON object"},
		"a comma too many":             {`{"request_id":"r","package_id":"p",}`, "message: the request is not JSON: "},
		"the wrong bracket":            {`{"request_id":"r","package_id":"p"]`, "message: the request is not JSON: "},
		"a name without quotes":        {`{request_id:"r"}`, "message: the request is not JSON: "},
		"no fields":                    {"{}", "message: request_id must be 1 to 128 printable characters\nmessage: package_id must be 1 to 255 printable characters"},
		"another case":                 {`{"Request_id":"r","package_id":"p"}`, "message: request_id must be 1 to 128 printable characters"},
		"request_id twice":             {order(`"request_id":"r","request_id":"r"`), "message: the request is not clear: it has two values for request_id"},
		"quantity twice":               {order(`"quantity":1,"quantity":50`), "message: the request is not clear: it has two values for quantity"},
		"quantity twice, by an escape": {order(`"quantity":1,"\u0071uantity":50`), "message: the request is not clear: it has two values for quantity"},
		"a number for request_id":      {order(`"request_id":7`), "message: request_id must be a string"},
		"null for request_id":          {order(`"request_id":null`), "message: request_id must be 1 to 128 printable characters"},
		"an empty request_id":          {order(`"request_id":""`), "message: request_id must be 1 to 128 printable characters"},
		"a blank request_id":           {order(`"request_id":"  "`), "message: request_id must be 1 to 128 printable characters"},
		"129 characters":               {order(`"request_id":"` + strings.Repeat("x", 129) + `"`), "message: request_id must be 1 to 128 printable characters"},
		"129 characters of 4 bytes":    {order(`"request_id":"` + strings.Repeat("😀", 129) + `"`), "message: request_id must be 1 to 128 printable characters"},
		"a control character":          {order(`"request_id":"a\u0000"`), "message: request_id must be 1 to 128 printable characters"},
		"a line break":                 {order(`"request_id":"a\n"`), "message: request_id must be 1 to 128 printable characters"},
		"an invisible character":       {order(`"request_id":"a\u200bb"`), "message: request_id must be 1 to 128 printable characters"},
		"half a surrogate pair":        {order(`"request_id":"\ud83d"`), "message: request_id must be 1 to 128 printable characters"},
		"null for package_id":          {order(`"package_id":null`), "message: package_id must be 1 to 255 printable characters"},
		"a list for package_id":        {order(`"package_id":["p"]`), "message: package_id must be a string"},
		"256 characters":               {order(`"package_id":"` + strings.Repeat("x", 256) + `"`), "message: package_id must be 1 to 255 printable characters"},
		"quantity 0":                   {order(`"quantity":0`), "message: quantity must be 1 to 50"},
		"quantity -1":                  {order(`"quantity":-1`), "message: quantity must be 1 to 50"},
		"quantity 51":                  {order(`"quantity":51`), "message: quantity must be 1 to 50"},
		"quantity 2.5":                 {order(`"quantity":2.5`), "message: quantity must be a whole number"},
		"quantity that is nearly 1":    {order(`"quantity":1.0000000000000001`), "message: quantity must be a whole number"},
		"quantity in too many digits":  {order(`"quantity":1.0000000000000000`), "message: quantity must be a whole number"},
		"quantity as a string":         {order(`"quantity":"2"`), "message: quantity must be a whole number"},
		"quantity as a list":           {order(`"quantity":[2]`), "message: quantity must be a whole number"},
		"quantity true":                {order(`"quantity":true`), "message: quantity must be a whole number"},
		"quantity out of all range":    {order(`"quantity":1e999`), "message: quantity must be a whole number"},
		"quantity that wraps around":   {order(`"quantity":18446744073709551617`), "message: quantity must be a whole number"},
		"description as a number":      {order(`"description":1`), "message: description must be a string"},
		"metadata as an array":         {order(`"metadata":[]`), "message: metadata must be a JSON object"},
		"metadata as a string":         {order(`"metadata":"{}"`), "message: metadata must be a JSON object"},
		"metadata of 8 KiB and 1":      {order(`"metadata":` + metadata(8<<10+1)), "message: metadata is larger than 8192 bytes"},
		"all that is wrong":            {`{"request_id":1,"package_id":2,"quantity":"3"}`, "message: request_id must be a string\nmessage: package_id must be a string\nmessage: quantity must be a whole number"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := message.DecodeRequest(message.Order, nil, []byte(tt.give))
			require.ErrorContains(t, err, tt.want)
			require.Zero(t, got)
			checkLaw(t, message.Order, []byte(tt.give))
		})
	}
}

func TestICCIDs(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		`"` + strings.Repeat("8", 17) + `"`: false,
		`"` + strings.Repeat("8", 18) + `"`: true,
		`"` + strings.Repeat("8", 22) + `"`: true,
		`"` + strings.Repeat("8", 23) + `"`: false,
		`"8934000000000008728\n"`:           false,
		`" 8934000000000008728"`:            false,
		`"893400000000000872F"`:             false,
		`"８９３４０００００００００００８７２８"`:             false, // full-width digits
		`8934000000000008728`:               false, // a number loses digits on its way through JavaScript
		`null`:                              false,
		`""`:                                false,
	}
	for iccid, want := range tests {
		t.Run(iccid, func(t *testing.T) {
			t.Parallel()
			body := []byte(topup(iccid))
			_, err := message.DecodeRequest(message.Topup, nil, body)
			require.Equal(t, want, err == nil, "%v", err)
			require.Equal(t, want, apitest.CheckRequest(t, message.Topup, body) == nil)
		})
	}
	t.Run("a top-up's quantity is 1, whatever it says", func(t *testing.T) {
		t.Parallel()
		r, err := message.DecodeRequest(message.Topup, nil, []byte(`{"request_id":"r","package_id":"p","iccid":"8934000000000008728","quantity":"x"}`))
		require.NoError(t, err)
		require.Equal(t, 1, r.Quantity)
	})
}

func TestUnknownKindsAreRefused(t *testing.T) {
	t.Parallel()
	_, err := message.DecodeRequest("refund", nil, []byte(contractOrder))
	require.EqualError(t, err, `message: there is no kind "refund"`)
	require.False(t, message.Kind("refund").Valid())
	require.Equal(t, []message.Kind{message.Order, message.Topup}, message.Kinds())
}

// TestErrorsQuoteNothingLong guards the dead letter, which carries the error in a header:
// a message must not grow because it is refused.
func TestErrorsQuoteNothingLong(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	cloudEvent := nats.Header{"Content-Type": {"application/cloudevents+json"}}
	bodies := map[string]nats.Header{
		`{"request_id":"` + long + `","package_id":"` + long + `","quantity":"` + long + `","metadata":"` + long + `"}`: nil,
		long:                             nil,
		`{"` + long:                      nil,
		`{"` + long + `":1}`:             nil,
		`{"specversion":"` + long + `"}`: cloudEvent,
		`{"specversion":"1.0","data_base64":"` + long + `!"}`:                          cloudEvent,
		`{"specversion":"1.0","datacontenttype":"` + long + `","data":{}}`:             cloudEvent,
		`{"specversion":"1.0","datacontenttype":"` + long + `","data":"` + long + `"}`: cloudEvent,
		"{}": {"content-type": {"application/cloudevents" + long}},
	}
	for body, header := range bodies {
		_, err := message.DecodeRequest(message.Order, header, []byte(body))
		require.Error(t, err)
		require.Less(t, len(err.Error()), 512)
	}
}

// TestWhatPrintsIsInTheSchema compares the two over all of Unicode: whatever is accepted,
// the schema allows. The schema's pattern, which has to work in every language, is a little
// wider.
func TestWhatPrintsIsInTheSchema(t *testing.T) {
	t.Parallel()
	wider := 0
	all := strings.Builder{} // what is accepted, as many at a time as a request_id takes
	check := func() {
		body := []byte(order(`"request_id":` + quote(all.String())))
		_, err := message.DecodeRequest(message.Order, nil, body)
		require.NoError(t, err, "%s", body)
		require.NoError(t, apitest.CheckRequest(t, message.Order, body))
		all.Reset()
	}
	n := 0
	for r := range rune(unicode.MaxRune + 1) {
		if !utf8.ValidRune(r) {
			continue
		}
		if unicode.IsPrint(r) && r != utf8.RuneError {
			all.WriteRune(r)
			if n++; n%128 == 0 {
				check()
			}
			continue
		}
		if r > 0x30000 {
			continue // unassigned planes: nothing new
		}
		body := []byte(order(`"request_id":` + quote(string(r))))
		_, err := message.DecodeRequest(message.Order, nil, body)
		require.Error(t, err, "%U", r)
		if apitest.CheckRequest(t, message.Order, body) == nil {
			wider++
			require.Greater(t, r, rune(0x250), "%U: in Latin they should be the same", r)
		}
	}
	if all.Len() > 0 {
		check()
	}
	require.Positive(t, wider)
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	t.Run("is stable across versions", func(t *testing.T) {
		t.Parallel()
		// printf 'order\nkallur-digital-7days-1gb\n1\n' | sha256sum
		r := message.Request{Kind: message.Order, PackageID: "kallur-digital-7days-1gb", Quantity: 1}
		require.Equal(t, "94fcaeb7", r.Fingerprint()[:8])
		require.Len(t, r.Fingerprint(), 64)
	})
	t.Run("depends on exactly what is bought, and for whom", func(t *testing.T) {
		t.Parallel()
		type meaning struct {
			kind      message.Kind
			packageID string
			quantity  int
			iccid     string
		}
		few := rapid.SampledFrom([]string{"a", "b", "1", "11", "a1", "a 1", "order"})
		request := rapid.Custom(func(t *rapid.T) message.Request {
			return message.Request{
				Kind: rapid.SampledFrom(message.Kinds()).Draw(t, "kind"), PackageID: few.Draw(t, "package"),
				Quantity: rapid.SampledFrom([]int{1, 2, 11}).Draw(t, "quantity"), ICCID: few.Draw(t, "iccid"),
				RequestID: rapid.String().Draw(t, "id"), Description: rapid.String().Draw(t, "description"),
				Metadata: rapid.SliceOf(rapid.Byte()).Draw(t, "metadata"),
			}
		})
		rapid.Check(t, func(t *rapid.T) {
			a, b := request.Draw(t, "a"), request.Draw(t, "b")
			same := meaning{a.Kind, a.PackageID, a.Quantity, a.ICCID} == meaning{b.Kind, b.PackageID, b.Quantity, b.ICCID}
			require.Equal(t, same, a.Fingerprint() == b.Fingerprint())
			b.Kind, b.PackageID, b.Quantity, b.ICCID = a.Kind, a.PackageID, a.Quantity, a.ICCID
			require.Equal(t, a.Fingerprint(), b.Fingerprint())
		})
	})
}
