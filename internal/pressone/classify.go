package pressone

import (
	"bytes"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	json "github.com/go-json-experiment/json/v1"
)

// PressOne's codes that mean something to us. All others are told apart by their status alone.
const (
	codeInsufficientCredit = "11" // insufficient credit
	codeMaintenance        = "13" // operator under maintenance
	codeOutOfStock         = "33" // insufficient stock
	codeUnexpected         = "53" // something unexpected, try later: ambiguous
	codeRecycled           = "73" // the eSIM was recycled
	codeAddress            = "89" // calling address is not on the allow-list
	codeLimited            = "4004"
	codePaymentRequired    = "4007"
	codeTokenMissing       = "4009"
	codeTokenInvalid       = "4013"
	codeTokenExpired       = "4014"
	codeUnavailable        = "4033" // temporarily unavailable
	codeInternal           = "5001" // internal error
)

// method tells the calls that spend money from those that only read.
type method int

const (
	post method = iota // the careful one is the zero value
	read
)

// answer is everything of a response that the classification may depend on.
type answer struct {
	status int
	header http.Header
	body   []byte
	cut    error     // why the body is not whole: then nothing is concluded from it
	now    time.Time // for a Retry-After that is a date, when the answer bears none
}

// classify says what an answer means: DESIGN 2.3. It is asked about every answer that is not a readable success, so for a
// 2xx it describes the case that the body could not be understood.
//
// The order is: status, then code, then keys of data; never text. Codes that concern the account or the rate limit count
// on any 4xx except 402, because PressOne publishes the same errors under 400 and 422. Codes that do not say no (53, 4033,
// 5001) say none under any status but 401, 403 and 429. A 4xx that nobody documented is a gateway's, whatever code it bears.
func classify(m method, a answer, noEffect map[string]bool) *Error {
	var b errorBody
	if a.cut == nil {
		b = readErrorBody(a.body)
	}
	e := &Error{Status: a.status, Code: b.code, Reason: b.reason, Fields: b.fields, Err: a.cut}
	if e.Reason == "" {
		e.Reason = strings.ToLower(http.StatusText(a.status))
	}
	e.RetryAfter = retryAfter(a)
	// A gateway may answer in JSON too, with a code of its own (gRPC's are 1 to 16) and the request still running behind it.
	// Only PressOne's codes say that PressOne has answered.
	e.Answered = a.status >= 400 && a.status <= 599 && b.code != "" && (ownCodes[b.code] || noEffect[b.code])
	if m == post && (a.status >= 200 && a.status <= 299 || showsOrder(a.body)) {
		e.Raw, e.Reason, e.Answered = a.body, b.reason, false // a status of "ok" explains nothing
		return e
	}
	switch {
	case a.status < 400 || a.status > 499:
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		e.Disposition, e.Account = NotApplied, true
	case a.status == http.StatusTooManyRequests:
		e.Disposition, e.Limited = NotApplied, true
	case ambiguous(b.code):
	case a.status == http.StatusPaymentRequired:
		e.Disposition = Refused
	case aboutLimit(b.code):
		e.Disposition, e.Limited = NotApplied, true
	case aboutAccount(b.code):
		e.Disposition, e.Account = NotApplied, true
	case b.code == codeMaintenance && (a.status == http.StatusUnprocessableEntity || a.status == http.StatusBadRequest):
		e.Maintenance = true
		if m == post {
			e.Disposition = NotApplied
		}
	case a.status == http.StatusBadRequest, a.status == http.StatusNotFound, a.status == http.StatusRequestEntityTooLarge:
		e.Disposition = Refused
	case a.status == http.StatusUnprocessableEntity && (b.code != "" || len(b.fields) > 0):
		e.Disposition = Refused
	}
	if m == post && e.Disposition == Unknown && e.Answered && noEffect[e.Code] {
		e.Disposition = NotApplied
	}
	if e.Disposition != Unknown && b.code != "" {
		e.Answered = true
	}
	return e
}

// showsOrder reports whether a body shows an order, as that of a success does.
func showsOrder(body []byte) bool {
	_, err := ReadOrder(body)
	return err == nil
}

// ownCodes are the codes of PressOne's table by HTTP status, and 53, "something unexpected". Those of the table for 422
// say nothing under other statuses.
var ownCodes = map[string]bool{
	"4001": true, "4004": true, "4005": true, "4007": true, "4008": true, "4009": true, "4010": true, "4013": true,
	"4014": true, "4033": true, "5001": true, "53": true,
}

func aboutLimit(code string) bool { return code == codeLimited }

func aboutAccount(code string) bool {
	switch code {
	case codeTokenMissing, codeTokenInvalid, codeTokenExpired, codeAddress:
		return true
	}
	return false
}

func ambiguous(code string) bool {
	switch code {
	case codeUnexpected, codeUnavailable, codeInternal:
		return true
	}
	return false
}

// errorBody is what could be read from an error's body, in any of the shapes that PressOne uses:
//
//	{"code":34,"reason":"…"}                        business rules
//	{"data":{"<field>":"…"},"meta":{"message":"…"}} fields
//	{"data":[],"meta":{"message":"…"}}              401, 404
//	{"message":"…"}                                 429
//	{"reason":"…"}                                  seen once
type errorBody struct {
	code   string
	reason string
	fields []string
}

func readErrorBody(body []byte) errorBody {
	var wire struct {
		Code    json.RawMessage `json:"code"`
		Reason  text            `json:"reason"`
		Message text            `json:"message"`
		Data    json.RawMessage `json:"data"`
		Meta    json.RawMessage `json:"meta"`
	}
	if decode(body, &wire) != nil {
		return errorBody{}
	}
	b := errorBody{code: readCode(wire.Code)}
	var data map[string]text
	if len(wire.Data) > 0 && json.Unmarshal(wire.Data, &data) == nil {
		for k := range data {
			if k = clean(k); k != "" {
				b.fields = append(b.fields, k)
			}
		}
		sort.Strings(b.fields)
		b.fields = b.fields[:min(len(b.fields), 20)]
	}
	var meta struct {
		Message text `json:"message"`
	}
	_ = json.Unmarshal(wire.Meta, &meta) // best effort: it is for people only
	b.reason = clean(string(wire.Reason))
	if b.reason == "" && len(b.fields) > 0 && !slices.ContainsFunc(b.fields, bearing) {
		b.reason = clean(string(data[b.fields[0]]))
	}
	if b.reason == "" {
		b.reason = clean(string(wire.Message))
	}
	if b.reason == "" {
		b.reason = clean(string(meta.Message))
	}
	return b
}

// bearing reports whether a field of that name holds what nobody may see: then data is no explanation, but what PressOne
// gives on success, under another status.
func bearing(field string) bool {
	switch strings.ToLower(field) {
	case "access_token", "refresh_token", "id_token", "lpa", "matching_id", "qrcode", "qrcode_url", "direct_apple_installation_url",
		"confirmation_code", "qr_code_data", "qr_code_url", "smdp_address_and_activation_code":
		return true
	}
	return false
}

// readCode reads a code that is a number or a string; "" when there is none. 0 is none: that is how frameworks write it. The
// result can be part of a subject and of a label.
func readCode(raw json.RawMessage) string {
	var t text
	if len(raw) == 0 || bytes.Equal(raw, []byte("true")) || bytes.Equal(raw, []byte("false")) || t.UnmarshalJSON(raw) != nil {
		return ""
	}
	code := strings.TrimSpace(string(t))
	if d, ok := parseDecimal(code); ok {
		code = string(d) // 11 and "11" and 11.0 are one code
	}
	if code == "0" || code == "" {
		return ""
	}
	code = strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '-', r == '_':
			return r
		}
		return '_'
	}, code)
	return code[:min(len(code), 32)]
}

// retryAfterMax caps what is believed of a Retry-After: the longest limit in PressOne's documentation is a quarter of an
// hour, so more than an hour is a mistake.
const retryAfterMax = time.Hour

// retryAfter reads the header as seconds or as a date; 0 when it is absent, unreadable or past. A date is compared with the
// answer's own Date where there is one, so that clocks need not agree.
func retryAfter(a answer) time.Duration {
	v := strings.TrimSpace(a.header.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if d, ok := parseDecimal(v); ok {
		if strings.HasPrefix(string(d), "-") {
			return 0
		}
		whole, fraction, _ := strings.Cut(string(d), ".")
		n, err := strconv.ParseInt(whole, 10, 64)
		if err != nil || n >= int64(retryAfterMax/time.Second) {
			return retryAfterMax
		}
		if fraction != "" {
			n++ // never earlier than asked
		}
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now := a.now
	if date, err := http.ParseTime(a.header.Get("Date")); err == nil {
		now = date
	}
	return max(0, min(at.Sub(now), retryAfterMax))
}
