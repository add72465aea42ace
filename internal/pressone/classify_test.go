package pressone

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// documented are PressOne's codes and the status that each is documented under.
var documented = []struct {
	code   string
	status int
}{
	{"11", 422},
	{"13", 422},
	{"14", 422},
	{"23", 422},
	{"33", 422},
	{"34", 422},
	{"43", 422},
	{"53", 422},
	{"73", 422},
	{"89", 422},
	{"4001", 400},
	{"4004", 429},
	{"4005", 404},
	{"4007", 402},
	{"4008", 400},
	{"4009", 401},
	{"4010", 400},
	{"4013", 401},
	{"4014", 401},
	{"4033", 503},
	{"5001", 500},
	{"9999", 422}, // one that nobody has heard of
}

func TestClassification(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("# What an answer means: on submissions, and on reads. Rewritten by: go test ./internal/pressone -run Classification -update\n")
	b.WriteString("\n# Statuses without a code: 2xx whose body cannot be read, and whatever gateways say.\n")
	for status := 100; status <= 599; {
		last := status
		for last < 599 && describe(last+1, "") == describe(status, "") {
			last++
		}
		span := fmt.Sprint(status)
		if last > status {
			span = fmt.Sprintf("%d-%d", status, last)
		}
		fmt.Fprintf(&b, "%-24s %s\n", span, describe(status, ""))
		status = last + 1
	}
	b.WriteString("\n# Bodies without a code.\n")
	for _, body := range []string{
		`{"data":{"quantity":"The quantity may not be greater than 50."},"meta":{"message":"the parameter is invalid"}}`,
		`{"data":{"package_id":"invalid"},"meta":{"message":"the parameter is invalid"}}`,
		`{"data":[],"meta":{"message":"x"}}`, `{"data":{}}`, `{"reason":"User is not opted in"}`, `{"message":"Too Many Attempts."}`,
		`{"code":0}`, `{"code":null}`, `{"code":{}}`, `<html>`,
	} {
		for _, status := range []int{400, 409, 422, 500} {
			fmt.Fprintf(&b, "%d %-60.60s %s\n", status, body, describe(status, body))
		}
	}
	b.WriteString("\n# Codes, under the status that documents them (*) and under others.\n")
	for _, d := range documented {
		for _, status := range []int{200, 302, 400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 502, 503, 504} {
			mark := " "
			if status == d.status {
				mark = "*"
			}
			fmt.Fprintf(&b, "%-5s %d%s %s\n", d.code, status, mark, describe(status, `{"code":`+d.code+`,"reason":"x"}`))
		}
	}
	golden := filepath.Join("testdata", "classification.golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}

// describe is the classification of an answer in a line, on submissions and on reads.
func describe(status int, body string) string {
	a := answer{status: status, header: http.Header{}, body: []byte(body)}
	p, r := classify(post, a, nil), classify(read, a, nil)
	out := fmt.Sprintf("post: %-34s read: %-34s", facts(p), facts(r))
	if p.Disposition == Refused {
		out += " " + p.DeadLetterCode() + " " + p.Class()
	}
	return strings.TrimRight(out, " ")
}

func facts(e *Error) string {
	out := e.Disposition.String()
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"answered", e.Answered && e.Disposition == Unknown},
		{"account", e.Account},
		{"limited", e.Limited},
		{"maintenance", e.Maintenance},
		{"raw", e.Raw != nil},
		{"fields", len(e.Fields) > 0},
	} {
		if f.set {
			out += " " + f.name
		}
	}
	return out
}

func TestClassifyIsCautious(t *testing.T) {
	t.Parallel()
	known := map[int]bool{400: true, 401: true, 402: true, 403: true, 404: true, 413: true, 429: true}
	for status := -1; status <= 1000; status++ {
		e := classify(post, answer{status: status, header: http.Header{}}, map[string]bool{"": true})
		if !known[status] {
			require.Equal(t, Unknown, e.Disposition, status)
		}
	}
	cut := classify(post, answer{status: 422, body: []byte(`{"code":11}`), cut: http.ErrBodyReadAfterClose}, nil)
	require.Equal(t, Unknown, cut.Disposition, "nothing is concluded from a body that is not whole")
}

// A code that does not say no says none under another status of refusals either: PressOne publishes what belongs under 422 under 400 too.
func TestACodeThatDoesNotSayNo(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"53", "4033", "5001"} {
		for _, status := range []int{400, 402, 404, 409, 413, 418, 422} {
			e := classify(post, answer{status: status, body: []byte(`{"code":` + code + `}`)}, nil)
			require.Equal(t, Unknown, e.Disposition, "%d %s", status, code)
			require.True(t, e.Answered, "%d %s", status, code)
		}
	}
	for _, status := range []int{400, 422} {
		e := classify(post, answer{status: status, body: []byte(`{"code":13}`)}, nil)
		require.Equal(t, NotApplied, e.Disposition, "maintenance is over some time")
		require.True(t, e.Maintenance)
	}
}

// An answer that shows an order does not say that there is none, whatever its status.
func TestARefusalThatShowsAnOrder(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 401, 402, 403, 404, 413, 422, 429} {
		for _, body := range []string{`{"data":{"id":9666,"code":"20230227-009666"}}`, `{"code":11,"data":[{"id":"9666"}]}`} {
			e := classify(post, answer{status: status, body: []byte(body)}, map[string]bool{"11": true})
			require.Equal(t, Unknown, e.Disposition, "%d %s", status, body)
			require.Equal(t, body, string(e.Raw))
		}
	}
}

// The same key twice means one thing to one reader and another to the next: such a body says nothing.
func TestABodyThatContradictsItself(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"code":53,"code":34}`, `{"code":34,"data":{"a":"1","a":"2"}}`} {
		e := classify(post, answer{status: 422, body: []byte(body)}, nil)
		require.Equal(t, Unknown, e.Disposition, body)
		require.Empty(t, e.Code)
	}
	for _, body := range []string{`{"data":[{"id":1}],"data":[]}`, `{"data":[{"id":1,"id":2}]}`, `{"data":{"0":{"id":1},"0":{"id":2}}}`} {
		_, err := readPage([]byte(body))
		require.ErrorIs(t, err, ErrUnreadable, body)
	}
}

// A gateway may answer in JSON, with a code of its own, while the request still runs behind it.
func TestOnlyItsOwnCodesSayThatPressOneHasAnswered(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		`{"code":4033}`: true, `{"code":"5001"}`: true, `{"code":53}`: true,
		`{"code":"GATEWAY_TIMEOUT"}`: false, `{"code":14,"message":"upstream unavailable"}`: false, `{"code":13}`: false, `{"code":504}`: false, `{"code":9999}`: false, `{}`: false,
	} {
		e := classify(post, answer{status: 504, header: http.Header{}, body: []byte(body)}, nil)
		require.Equal(t, Unknown, e.Disposition)
		require.Equal(t, want, e.Answered, body)
	}
	for _, status := range []int{405, 425, 499} { // a gateway that translates gRPC calls a request that was cut short 499, code 1
		e := classify(post, answer{status: status, body: []byte(`{"code":1,"message":"context canceled"}`)}, nil)
		require.Equal(t, Unknown, e.Disposition, status)
		require.False(t, e.Answered)
	}
}

func TestNoEffectCodes(t *testing.T) {
	t.Parallel()
	noEffect := map[string]bool{"4033": true, "53": true}
	tests := []struct {
		name   string
		status int
		body   string
		want   Disposition
	}{
		{"listed, number", 503, `{"code":4033}`, NotApplied},
		{"listed, text", 503, `{"code":"4033"}`, NotApplied},
		{"listed, on 422", 422, `{"code":53}`, NotApplied},
		{"not listed", 500, `{"code":5001}`, Unknown},
		{"no code", 503, `<html>`, Unknown},
		{"a gateway's own", 503, `{"code":503}`, Unknown},
		{"success that cannot be read", 200, `{"code":4033}`, Unknown},
		{"redirect", 302, `{"code":4033}`, Unknown},
	}
	for _, tt := range tests {
		e := classify(post, answer{status: tt.status, header: http.Header{}, body: []byte(tt.body)}, noEffect)
		require.Equal(t, tt.want, e.Disposition, tt.name)
	}
}

func TestReadErrorBody(t *testing.T) {
	t.Parallel()
	tests := []struct {
		body string
		want errorBody
	}{
		{`{"code":34,"reason":"The package is invalid."}`, errorBody{code: "34", reason: "The package is invalid."}},
		{`{"code":"4001","reason":"x"}`, errorBody{code: "4001", reason: "x"}},
		{`{"code":11.0}`, errorBody{code: "11"}},
		{`{"code":" 11 "}`, errorBody{code: "11"}},
		{`{"code":"esim.dlq >*"}`, errorBody{code: "esim_dlq___"}},
		{`{"code":true}`, errorBody{}},
		{`{"code":0}`, errorBody{}},
		{`{"data":{"b":"2","a":"1"},"meta":{"message":"m"}}`, errorBody{reason: "1", fields: []string{"a", "b"}}},
		{`{"data":[],"meta":{"message":"messages.resource_not_found"}}`, errorBody{reason: "messages.resource_not_found"}},
		{`{"message":"Too Many Attempts."}`, errorBody{reason: "Too Many Attempts."}},
		{`{"reason":"two\nlines\u0000 and\ttabs "}`, errorBody{reason: "two lines and tabs"}},
		{`<html>`, errorBody{}},
		{``, errorBody{}},
		{`[1]`, errorBody{}},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, readErrorBody([]byte(tt.body)), tt.body)
	}
	long := readErrorBody([]byte(`{"reason":"` + strings.Repeat("ä", 1000) + `"}`))
	require.Equal(t, strings.Repeat("ä", 200), long.reason)
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name   string
		header http.Header
		want   time.Duration
	}{
		{"absent", http.Header{}, 0},
		{"seconds", http.Header{"Retry-After": {"17"}}, 17 * time.Second},
		{"with a fraction, never early", http.Header{"Retry-After": {"1.2"}}, 2 * time.Second},
		{"negative", http.Header{"Retry-After": {"-5"}}, 0},
		{"absurd", http.Header{"Retry-After": {"99999999999999999999"}}, retryAfterMax},
		{"date, by our clock", http.Header{"Retry-After": {"Sun, 01 Mar 2026 12:00:30 GMT"}}, 30 * time.Second},
		{"date, by theirs", http.Header{"Retry-After": {"Sun, 01 Mar 2026 15:00:30 GMT"}, "Date": {"Sun, 01 Mar 2026 15:00:00 GMT"}}, 30 * time.Second},
		{"date that is past", http.Header{"Retry-After": {"Sun, 01 Mar 2026 11:00:00 GMT"}}, 0},
		{"nonsense", http.Header{"Retry-After": {"soon"}}, 0},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, retryAfter(answer{header: tt.header, now: now}), tt.name)
	}
}

func TestClass(t *testing.T) {
	t.Parallel()
	tests := []struct {
		e    Error
		want string
	}{
		{Error{Status: 422, Code: "11"}, ClassInsufficientCredit},
		{Error{Status: 402}, ClassInsufficientCredit},
		{Error{Status: 400, Code: "4007"}, ClassInsufficientCredit},
		{Error{Status: 422, Code: "33"}, ClassOutOfStock},
		{Error{Status: 422, Fields: []string{"package_id", "quantity"}}, ClassOutOfStock},
		{Error{Status: 422, Code: "73"}, ClassRecycled},
		{Error{Status: 422, Code: "34"}, ClassRejected},
		{Error{Status: 422, Fields: []string{"package_id"}}, ClassRejected},
		{Error{Status: 404}, ClassRejected},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, tt.e.Class(), tt.e.DeadLetterCode())
	}
	require.Equal(t, "http_404", (&Error{Status: 404}).DeadLetterCode())
	require.Equal(t, "33", (&Error{Status: 422, Code: "33"}).DeadLetterCode())
	require.Empty(t, (&Error{NotSent: true}).DeadLetterCode())
	require.Equal(t, Unknown, DispositionOf(http.ErrServerClosed), "whatever nobody classified")
	require.Equal(t, Refused, DispositionOf(fmt.Errorf("wrapped: %w", &Error{Disposition: Refused})))
}
