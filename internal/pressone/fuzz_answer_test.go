package pressone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	json "github.com/go-json-experiment/json/v1"

	"github.com/stretchr/testify/require"
)

var codePattern = regexp.MustCompile(`^[A-Za-z0-9_-]{0,32}$`)

// decidedByStatus are the statuses that say something definite about a POST whatever their body: the table of DESIGN 2.3.
var decidedByStatus = []int{400, 401, 402, 403, 404, 413, 429}

// FuzzClassify has every status with every body. What cannot be read says nothing definite about a POST, unless its status
// alone does; nothing but a 4xx does; and what is kept of it is short, clean and can be stored.
func FuzzClassify(f *testing.F) {
	for _, seed := range []string{
		`{"code":11,"reason":"x"}`, `{"code":"4033"}`, `{"code":33.0}`, `{"code":[11]}`, `{"code":0,"reason":"x"}`, `{"code":13,"reason":"operator under maintenance"}`,
		`{"code":53}`, `{"data":{"quantity":"x"},"meta":{"message":"m"}}`, `{"data":[],"meta":{"message":"m"}}`, `{"data":{"a\u0000":"\u0000"}}`,
		`{"data":{"id":9666},"code":11}`, `{"code":11,"code":53}`,
		`{"message":"Too Many Attempts."}`, `{"reason":"` + canaryLPA + `"}`, `{"code":"esim.dlq.>"}`, `{"code":11`, `<html>`, ``,
	} {
		for _, status := range []int{200, 302, 400, 401, 409, 422, 429, 500, 503} {
			f.Add(status, []byte(seed), false)
		}
	}
	f.Add(422, []byte(`{"code":11}`), true)
	f.Fuzz(func(t *testing.T, status int, body []byte, cut bool) {
		body = recognisable(body)
		a := answer{status: status, header: http.Header{}, body: body}
		if cut {
			a.cut = errors.New("body: unexpected EOF")
		}
		var object map[string]json.RawMessage
		readable := !cut && json.Unmarshal(body, &object) == nil
		for _, m := range []method{post, read} {
			e := classify(m, a, nil)
			require.Regexp(t, codePattern, e.Code)
			require.LessOrEqual(t, utf8.RuneCountInString(e.Reason), reasonMax)
			require.False(t, strings.ContainsAny(e.Reason, "\r\n\x00\x1b"), e.Reason)
			require.True(t, slices.IsSorted(e.Fields))
			require.LessOrEqual(t, len(e.Fields), 20)
			if status < 400 || status > 499 {
				require.Equal(t, Unknown, e.Disposition, "nothing but a 4xx says anything definite")
			}
			if !readable && !slices.Contains(decidedByStatus, status) {
				require.Equal(t, Unknown, e.Disposition, "it cannot be read")
				require.False(t, e.Answered)
			}
			if e.Answered {
				require.NotEmpty(t, e.Code)
			}
			if _, err := ReadOrder(body); m == post && (status >= 200 && status <= 299 || err == nil) {
				require.Equal(t, Unknown, e.Disposition)
				require.True(t, bytes.Equal(body, e.Raw), "it may be an order, and is kept")
			} else {
				require.Empty(t, e.Raw)
			}
			requireFit(t, e)
			require.Regexp(t, `^[a-z_]+$`, e.Class())
			// Whoever says that a code has no effect turns an ambiguous answer of PressOne's into that, and nothing else.
			if e.Code != "" && m == post {
				harmless := classify(m, a, map[string]bool{e.Code: true})
				if harmless.Disposition != e.Disposition {
					require.Equal(t, Unknown, e.Disposition)
					require.Equal(t, NotApplied, harmless.Disposition)
					require.True(t, harmless.Answered)
				}
			}
		}
	})
}

// wire is a server that answers every POST with the bytes that it is given.
type wire struct {
	server *rawServer

	mu       sync.Mutex
	answer   []byte
	requests int
}

func newWire(f *testing.F) *wire {
	f.Helper()
	w := &wire{}
	w.server = serveRaw(f, listen(f), func(int, string) reply {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.requests++
		return reply{bytes: string(w.answer), close: true}
	})
	return w
}

// recognisable is an answer without the canaries that nobody could know for what they are: whatever is neither known to the
// client, nor looks like an activation code nor stands under a name that says what it is.
func recognisable(answer []byte, known ...string) []byte {
	shapes := []string{canaryLPA, `"matching_id":"CANARY-MATCHING-ID"`, `"access_token":"` + canaryToken + `"`}
	for i, shape := range shapes {
		answer = bytes.ReplaceAll(answer, []byte(shape), fmt.Appendf(nil, "\x02%d\x03", i))
	}
	for _, canary := range []string{"CANARY-MATCHING-ID", canaryToken, canarySecret} {
		if !slices.Contains(known, canary) {
			answer = bytes.ReplaceAll(answer, []byte(canary), []byte("x"))
		}
	}
	for i, shape := range shapes {
		answer = bytes.ReplaceAll(answer, fmt.Appendf(nil, "\x02%d\x03", i), []byte(shape))
	}
	return answer
}

// oneToken is a source that has the same token however often it is rejected.
type oneToken struct{}

func (oneToken) Token(context.Context) (Token, error) {
	return Token{Value: canaryToken, Version: 1}, nil
}

func (oneToken) Reject(context.Context, Token) error { return nil }

func (w *wire) set(answer []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer, w.requests = answer, 0
}

func (w *wire) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests
}

// forget drops what was received, which would be all of it in a run of millions.
func (w *wire) forget() {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	w.server.received = nil
}

// definite are the statuses with which PressOne can say that there is no order: the 4xx that are not ambiguous.
func definite(status int) bool {
	return status >= 400 && status <= 499 && status != http.StatusRequestTimeout
}

// FuzzSubmitAnswer answers the two POSTs with bytes, on the connection. The request is sent once, or twice after a 401; it
// was bought only if there is a 2xx with an order's id; and only an answer that is one, with a status that says so, makes it
// not applied or refused. Whatever a 2xx said is kept, and whatever shows an order.
func FuzzSubmitAnswer(f *testing.F) {
	for _, body := range []string{
		orderBody, `{"data":{"id":"1"}}`, `{"data":[{"id":1}]}`, `{"data":[]}`, `{"data":{}}`, `{"data":{"id":0}}`, `{"code":11,"reason":"insufficient credit: ` + canaryLPA + `"}`,
		`{"code":4033}`, `{"data":{"quantity":"SIM quantity is not available. Available quantity: 9."},"meta":{"message":"the parameter is invalid"}}`, `<html>`, ``,
		`{"reason":"bad secret ` + canarySecret + ` and token ` + canaryToken + `"}`,
	} {
		for _, status := range []int{200, 201, 302, 400, 401, 408, 409, 422, 429, 500, 503} {
			f.Add(false, []byte(answerWith(status, body).bytes))
		}
	}
	for _, raw := range []string{
		"", "HTTP/1.1", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n{}", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 422 X\r\nContent-Length: 11\r\n\r\n{\"code\":33}",
		"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + orderBody[:40], "HTTP/1.1 422 X\r\nContent-Length: 500\r\n\r\n{\"code\":11}", "HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"dat\r\n", "HTTP/1.0 422 X\r\n\r\n{\"code\":33}", "HTTP/1.1 429 X\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 307 X\r\nLocation: /orders\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", "garbage\r\n\r\n",
	} {
		f.Add(true, []byte(raw))
	}
	w := newWire(f)
	c := newClient(f, w.server.url(), func(cfg *Config) { cfg.Tokens = oneToken{} })
	c.sender.transport.DisableKeepAlives = true // the server closes every connection
	f.Fuzz(func(t *testing.T, topup bool, answer []byte) {
		answer = recognisable(answer, canaryToken, canarySecret)
		w.set(answer)
		defer w.forget()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		guard := func() error { return nil }
		var r Receipt
		var err error
		if topup {
			r, err = c.SubmitTopup(ctx, guard, TopupRequest{PackageID: "p", ICCID: "8944465400000267221", Description: "ref0123456789"})
		} else {
			r, err = c.SubmitOrder(ctx, guard, OrderRequest{PackageID: "p", Quantity: 1, Description: "ref0123456789"})
		}
		sent := w.count()
		if err == nil {
			require.Equal(t, 1, sent)
			require.Positive(t, r.Order.ID)
			require.True(t, r.Status >= 200 && r.Status <= 299)
			require.True(t, json.Valid(r.Raw))
			require.NotContains(t, fmt.Sprintf("%v %+v %s %v", r, r, r, r.Order.Sims), "CANARY-MATCHING-ID")
			return
		}
		e := requireFit(t, err)
		require.False(t, e.NotSent, "it was sent")
		times := 1
		if e.Status == http.StatusUnauthorized && e.Raw == nil {
			times = 2
		}
		require.Equal(t, times, sent, "%v", err)
		if e.Disposition != Unknown {
			require.True(t, definite(e.Status), "%v of %q", e.Disposition, answer)
		}
		if len(e.Raw) > 0 {
			require.Equal(t, Unknown, e.Disposition)
			require.True(t, bytes.Contains(answer, e.Raw) || bytes.Contains(bytes.ToLower(answer), []byte("chunked")), "what was kept is what came")
		}
	})
}

// FuzzToken answers a request for a token. A token is one that can be sent, and is never used longer than a day; nothing that
// goes wrong shows a token or the secret.
func FuzzToken(f *testing.F) {
	for _, seed := range []string{
		`{"data":{"token_type":"Bearer","expires_in":31622400,"access_token":"` + canaryToken + `"},"meta":{"message":"success"}}`,
		`{"data":{"access_token":"x","expires_in":"3600"}}`, `{"data":{"access_token":"x","expires_in":-1}}`, `{"data":{"access_token":"x","expires_in":1e30}}`,
		`{"data":{"access_token":"a\r\nb"}}`, `{"data":{"access_token":" "}}`, `{"data":{"access_token":null}}`, `{"data":{"access_token":true}}`, `{"data":{"access_token":{"a":1}}}`,
		`{"data":[],"meta":{"message":"Client authentication failed"}}`, `{"data":{"client_id":"The selected client id is invalid."},"meta":{"message":"the parameter is invalid"}}`,
		`{"access_token":"` + canaryToken + `"}`, `{"message":"Too Many Attempts."}`, `{"data":{"access_token":"é\u0000"}}`, `<html>`, ``,
	} {
		for _, status := range []int{200, 401, 422, 429, 500} {
			f.Add(status, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		status = 200 + (status%400+400)%400
		body = recognisable(body)
		ep, err := newEndpoint(Config{BaseURL: "http://127.0.0.1:1/v2", ClientID: "id", ClientSecret: canarySecret})
		require.NoError(t, err)
		ep.client = &http.Client{CheckRedirect: noRedirects, Transport: inMemory(func(*http.Request) (int, string) { return status, string(body) })}
		value, expiresIn, e := ep.fetch(t.Context(), "id", canarySecret)
		if e != nil {
			requireFit(t, e)
			require.Empty(t, value)
			return
		}
		require.Less(t, status, 300)
		life := usableFor(expiresIn)
		require.Positive(t, life)
		require.Less(t, life, tokenLifeMax)
		requireSendable(t, value)
	})
}

// requireSendable requires that net/http sends a token.
func requireSendable(t *testing.T, token string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:1/", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	require.NoError(t, req.Write(&bytes.Buffer{}))
	require.NotEmpty(t, strings.TrimSpace(token))
	require.False(t, strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r == 0x7f }), "%q", token)
}

// FuzzRetryAfter reads the header, with and without the answer's own date. It is never earlier than asked, up to the cap, and
// never more than that.
func FuzzRetryAfter(f *testing.F) {
	const date = "Wed, 21 Oct 2015 07:28:00 GMT"
	for _, seed := range [][2]string{
		{"30", ""},
		{"0", ""},
		{"-1", ""},
		{"0.5", ""},
		{"1.0", ""},
		{"1e2", ""},
		{"1e40", ""},
		{"3600", ""},
		{"99999999999999999999", ""},
		{" 7 ", ""},
		{"soon", ""},
		{"Wed, 21 Oct 2015 07:28:30 GMT", date},
		{"Wed, 21 Oct 2015 07:27:00 GMT", date},
		{"Wednesday, 21-Oct-15 07:28:05 GMT", date},
		{"Wed Oct 21 07:28:05 2015", "x"},
		{"Fri, 31 Dec 9999 23:59:59 GMT", date},
		{"Wed, 21 Oct 2015 07:28:30 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"},
	} {
		f.Add(seed[0], seed[1])
	}
	now := time.Date(2015, 10, 21, 7, 28, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value, date string) {
		h := http.Header{"Retry-After": {value}}
		if date != "" {
			h["Date"] = []string{date}
		}
		got := retryAfter(answer{header: h, now: now})
		require.GreaterOrEqual(t, got, time.Duration(0))
		require.LessOrEqual(t, got, retryAfterMax)
		if d, ok := ParseDecimal(value); ok {
			asked, _ := d.Rat() // in seconds
			later := new(big.Rat).Sub(big.NewRat(int64(got), int64(time.Second)), asked)
			require.True(t, later.Sign() >= 0 || got == retryAfterMax, "earlier than asked")
			require.True(t, later.Cmp(big.NewRat(1, 1)) < 0 || asked.Sign() < 0 && got == 0, "a second later than asked, or more")
		}
		a := classify(post, answer{status: 429, header: h, now: now}, nil)
		require.Equal(t, got, a.RetryAfter)
		require.Equal(t, NotApplied, a.Disposition)
	})
}

// FuzzClean puts what must not be shown into a text at any place. It does not come out, and what comes out fits a log line
// and a column.
func FuzzClean(f *testing.F) {
	for _, seed := range [][2]string{
		{"", ""},
		{"the token ", " is bad"},
		{"\x00\xff", "\x1b[31m"},
		{strings.Repeat("x", reasonMax-5), "y"},
		{"lpa:", " bearer "},
		{"ß", "é"},
		{"\u2028", "\u200b"},
		{"eyJ", "eyJ"},
		{"Bearer", "\n"},
		{"http://h/?carddata=", "&x=1"},
	} {
		f.Add(seed[0], seed[1])
	}
	known := secrets{canarySecret, canaryToken}
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, secret := range []string{canaryLPA, canarySecret, canaryToken, "Bearer abcdefghijkl", "bearer\u00a0\vabcdefghijkl", "eyJhbGciOiJIUzI1NiJ9.abcdefgh", "https://esimsetup.apple.com/x?carddata=" + canaryLPA} {
			text := known.clean(before + " " + secret + " " + after)
			require.NotContains(t, text, secret)
			require.NotContains(t, text, "CANARY")
			require.NotContains(t, text, "abcdefgh")
			require.True(t, utf8.ValidString(text))
			require.LessOrEqual(t, utf8.RuneCountInString(text), reasonMax)
			require.False(t, strings.ContainsAny(text, "\x00\r\n\t\x1b"), "%q", text)
			require.Equal(t, text, clean(text), "cleaning again changes nothing")
		}
	})
}
