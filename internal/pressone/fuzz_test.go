package pressone

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func FuzzReadOrder(f *testing.F) {
	for _, seed := range []string{
		orderBody, `{"data":{"id":"1"}}`, `{"data":[{"id":1}]}`, `{"data":{"0":{"id":1}}}`, `{"data":{"id":1,"sims":{"1":{"iccid":8944465400000267221}}}}`,
		`{"data":{"id":1,"status":"completed","price":1e40,"quantity":{},"created_at":[],"description":7}}`, `{"data":[]}`, `{}`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := readOrder(body)
		if err != nil {
			require.ErrorIs(t, err, ErrUnreadable)
			return
		}
		require.Positive(t, o.ID)
		require.GreaterOrEqual(t, o.Quantity, 0)
		for _, s := range o.Sims {
			require.True(t, isICCID(s.ICCID))
		}
		raw, err := json.Marshal(o)
		require.NoError(t, err)
		var back Order
		require.NoError(t, json.Unmarshal(raw, &back), "what was stored can be read")
		require.Equal(t, o.ID, back.ID)
		require.Equal(t, o.Price, back.Price)
		require.Len(t, back.Sims, len(o.Sims))
	})
}

func FuzzReadPage(f *testing.F) {
	for _, seed := range []string{
		listPage("[]", 1, 1, 0), listPage(`{"3":{"id":1}}`, 2, 2, 4), `{"data":[1],"links":{"next":"x"}}`, `{"data":[],"meta":[]}`,
		`{"data":[],"meta":{"last_page":"x"}}`, `{"data":{}}`, `{"code":1,"data":[]}`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := readPage(body)
		if err != nil {
			require.ErrorIs(t, err, ErrUnreadable)
			return
		}
		require.GreaterOrEqual(t, p.total.value, int64(0))
		require.GreaterOrEqual(t, p.last.value, int64(0))
		_, _ = p.end(1, len(p.items) > 0)
	})
}

var codePattern = regexp.MustCompile(`^[A-Za-z0-9_-]{0,32}$`)

func FuzzClassify(f *testing.F) {
	for _, seed := range []string{
		`{"code":11,"reason":"x"}`, `{"code":"4033"}`, `{"data":{"quantity":"x"},"meta":{"message":"m"}}`, `{"data":[],"meta":{"message":"m"}}`,
		`{"message":"Too Many Attempts."}`, `{"reason":"` + canaryLPA + `"}`, `<html>`, ``,
	} {
		for _, status := range []int{200, 302, 400, 401, 422, 429, 503} {
			f.Add(status, []byte(seed), "30")
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte, after string) {
		for _, m := range []method{post, read} {
			e := classify(m, answer{status: status, header: http.Header{"Retry-After": {after}}, body: body}, nil)
			require.Regexp(t, codePattern, e.Code)
			require.LessOrEqual(t, utf8.RuneCountInString(e.Reason), reasonMax)
			require.False(t, strings.ContainsAny(e.Reason, "\r\n\x00\x1b"), e.Reason)
			require.NotContains(t, strings.ToLower(e.Reason), "lpa:1")
			require.GreaterOrEqual(t, e.RetryAfter.Seconds(), 0.0)
			if status < 400 || status > 499 {
				require.Equal(t, Unknown, e.Disposition, "nothing but a 4xx says anything definite")
			}
			_ = fmt.Sprintf("%s %s %s", e, e.Class(), e.DeadLetterCode())
		}
	})
}

func FuzzDecimal(f *testing.F) {
	for _, seed := range []string{"9.50", "-0", "1e3", "12e-5", "0001.1000", "x", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := ParseDecimal(s)
		if !ok {
			return
		}
		again, ok := ParseDecimal(string(d))
		require.True(t, ok)
		require.Equal(t, d, again, "canonical")
		_, ok = d.Rat()
		require.True(t, ok)
	})
}
