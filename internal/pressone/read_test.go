package pressone

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	json "github.com/go-json-experiment/json/v1"

	"github.com/stretchr/testify/require"
)

const anICCID = "8944465400000267221"

// serveOne serves one answer to everything, and says what was asked.
func serveOne(tb testing.TB, status int, body string) (string, func() *http.Request) {
	tb.Helper()
	var last atomic.Pointer[http.Request]
	return serveHTTP(tb, func(w http.ResponseWriter, r *http.Request) {
		last.Store(r)
		w.Header().Set("Content-Type", "text/plain") // as balance is documented; nobody may care
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	}), last.Load
}

func TestReads(t *testing.T) {
	t.Parallel()

	t.Run("order", func(t *testing.T) {
		t.Parallel()
		base, last := serveOne(t, 200, `{"data":{"id":9666,"quantity":1,"validity":"7","price":"9.50","description":null,`+
			`"status":{"name":"Completed","slug":"completed"},"sims":[{"iccid":"`+anICCID+`"},{"iccid":"not digits"}]}}`)
		o, err := newClient(t, base).Order(t.Context(), 9666)
		require.NoError(t, err)
		require.Equal(t, "completed", o.Status)
		require.Nil(t, o.Description)
		require.Equal(t, Decimal("9.5"), o.Price)
		require.Len(t, o.Sims, 1, "what has no ICCID is no eSIM")
		require.Equal(t, "/customer/v2/orders/9666", last().URL.Path)
		require.Equal(t, "sims,status", last().URL.Query().Get("include"))
		require.Equal(t, "application/json", last().Header.Get("Accept"))
	})

	t.Run("another order than asked for is unreadable", func(t *testing.T) {
		t.Parallel()
		base, _ := serveOne(t, 200, `{"data":{"id":9667}}`)
		_, err := newClient(t, base).Order(t.Context(), 9666)
		require.ErrorIs(t, err, ErrUnreadable)
	})

	t.Run("eSIM", func(t *testing.T) {
		t.Parallel()
		base, last := serveOne(t, 200, `{"data":{"iccid":"`+anICCID+`","lpa":"h","matching_id":"m","qrcode":"LPA:1$h$m","recycled":false,"recycled_at":null}}`)
		s, err := newClient(t, base).Sim(t.Context(), anICCID)
		require.NoError(t, err)
		require.True(t, s.Installable())
		require.Equal(t, "/customer/v2/sims/"+anICCID, last().URL.Path)
	})

	t.Run("a recycled eSIM is not installable", func(t *testing.T) {
		t.Parallel()
		base, _ := serveOne(t, 200, `{"data":{"iccid":"`+anICCID+`","lpa":"h","matching_id":"m","qrcode":"q","recycled":true,"recycled_at":"2026-01-01 00:00:00"}}`)
		s, err := newClient(t, base).Sim(t.Context(), anICCID)
		require.NoError(t, err)
		require.True(t, s.Recycled)
		require.False(t, s.Installable())
	})

	t.Run("an id that is none is refused, as PressOne would answer with everything", func(t *testing.T) {
		t.Parallel()
		c := newClient(t, "http://127.0.0.1:1/v2")
		for name, call := range map[string]func() error{
			"order":          func() error { _, err := c.Order(t.Context(), 0); return err },
			"sim":            func() error { _, err := c.Sim(t.Context(), ""); return err },
			"sim with slash": func() error { _, err := c.Sim(t.Context(), "89444654000002672/1"); return err },
			"topups":         func() error { _, err := c.Topups(t.Context(), ""); return err },
		} {
			err := call()
			require.ErrorIs(t, err, ErrInvalid, name)
			require.True(t, requireError(t, err).NotSent, name)
		}
	})

	t.Run("top-ups, none, and a recycled eSIM", func(t *testing.T) {
		t.Parallel()
		base, _ := serveOne(t, 200, `{"data":[{"id":"b-topup-2022","type":"topup","price":10,"amount":3072,"day":"30","is_unlimited":false,"title":"t","data":"3 GB","short_info":null}]}`)
		list, err := newClient(t, base).Topups(t.Context(), anICCID)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, "b-topup-2022", list[0].ID)
		require.Equal(t, Decimal("10"), list[0].Price)

		base, _ = serveOne(t, 200, `{"data":[]}`)
		list, err = newClient(t, base).Topups(t.Context(), anICCID)
		require.NoError(t, err)
		require.Empty(t, list)

		base, _ = serveOne(t, 422, `{"code":73,"reason":"recycled"}`)
		_, err = newClient(t, base).Topups(t.Context(), anICCID)
		e := requireError(t, err)
		require.Equal(t, Refused, e.Disposition)
		require.Equal(t, ClassRecycled, e.Class())

		base, _ = serveOne(t, 200, `{"meta":{}}`)
		_, err = newClient(t, base).Topups(t.Context(), anICCID)
		require.ErrorIs(t, err, ErrUnreadable, "no list is not an empty list")
	})

	t.Run("packages, in a list that has become an object", func(t *testing.T) {
		t.Parallel()
		base, last := serveOne(t, 200, `{"data":{"0":{"slug":"united-states","country_code":"US","operators":[{"id":569,"packages":[{"id":"change-7days-1gb","type":"sim","price":4.5,"net_price":"3.2"}]},{"id":570,"packages":[{"id":"p"}]}]}},"meta":{"current_page":1,"last_page":1,"total":1}}`)
		packages, err := newClient(t, base).Packages(t.Context())
		require.NoError(t, err)
		require.Equal(t, []Package{{ID: "change-7days-1gb", Price: "4.5"}, {ID: "p"}}, packages)
		require.Equal(t, "topup", last().URL.Query().Get("include"))
	})

	t.Run("redirects are not followed", func(t *testing.T) {
		t.Parallel()
		var hits atomic.Int32
		base := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
			hits.Add(1)
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		})
		_, err := newClient(t, base).Balance(t.Context())
		require.Equal(t, 302, requireError(t, err).Status)
		require.Equal(t, int32(1), hits.Load())
	})

	t.Run("a refused connection was not sent", func(t *testing.T) {
		t.Parallel()
		lis := listen(t)
		require.NoError(t, lis.Close())
		_, err := newClient(t, "http://"+lis.Addr().String()).Balance(t.Context())
		e := requireError(t, err)
		require.True(t, e.NotSent)
	})
}

func TestBalance(t *testing.T) {
	t.Parallel()
	tests := []struct {
		body string
		want Balance
		ok   bool
	}{
		{`{"data":{"balances":{"name":"balance","availableBalance":{"amount":12.50,"currency":"USD"}}}}`, Balance{Known: true, Amount: "12.5", Currency: "USD"}, true},
		{`{"data":{"balances":{"availableBalance":{"amount":"0","currency":"USD"}}}}`, Balance{Known: true, Amount: "0", Currency: "USD"}, true},
		{`{"data":{"balances":[]}}`, Balance{}, true},
		{`{"data":[]}`, Balance{}, true},
		{`{"data":{}}`, Balance{}, true},
		{`{"data":{"balances":{"availableBalance":{"amount":null}}}}`, Balance{}, false},
		{`{"data":null}`, Balance{}, false},
		{`{}`, Balance{}, false},
		{`x`, Balance{}, false},
	}
	for _, tt := range tests {
		base, _ := serveOne(t, 200, tt.body)
		got, err := newClient(t, base).Balance(t.Context())
		require.Equal(t, tt.ok, err == nil, tt.body)
		require.Equal(t, tt.want, got, tt.body)
	}
}

func TestReadsRefreshTheTokenAtMostOnce(t *testing.T) {
	t.Parallel()
	const notYours = `{"data":[],"meta":{"message":"This action is unauthorized."}}`

	t.Run("and succeed", func(t *testing.T) {
		t.Parallel()
		var n atomic.Int32
		base := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
			if n.Add(1) == 1 {
				w.WriteHeader(401)
			}
			_, _ = fmt.Fprint(w, `{"data":{"balances":[]}}`)
		})
		_, err := newClient(t, base).Balance(t.Context())
		require.NoError(t, err)
	})

	t.Run("and an order that is not ours neither drains the token endpoint nor closes the gate", func(t *testing.T) {
		t.Parallel()
		base, _ := serveOne(t, 401, notYours)
		tokens := &staticTokens{version: 1}
		c := newClient(t, base, func(cfg *Config) { cfg.Tokens = tokens })
		for range 5 {
			_, err := c.Order(t.Context(), 7)
			e := requireError(t, err)
			require.Equal(t, 401, e.Status)
			require.False(t, e.Account)
		}
		require.Equal(t, 1, tokens.rejected)
	})

	// Six workers poll what is not theirs, once a minute each. /token allows three requests in that time, so a token that has just
	// been good for something else is not replaced.
	t.Run("and not at all where the token has just been good", func(t *testing.T) {
		t.Parallel()
		base := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/7") {
				w.WriteHeader(401)
				_, _ = fmt.Fprint(w, notYours)
				return
			}
			_, _ = fmt.Fprint(w, `{"data":{"balances":[]}}`)
		})
		tokens := &staticTokens{version: 1}
		c := newClient(t, base, func(cfg *Config) { cfg.Tokens = tokens })
		_, err := c.Balance(t.Context())
		require.NoError(t, err)
		for range 5 {
			_, err := c.Order(t.Context(), 7)
			require.False(t, requireError(t, err).Account)
		}
		require.Zero(t, tokens.rejected)
	})

	t.Run("and a refusal elsewhere, or with a code, concerns the account", func(t *testing.T) {
		t.Parallel()
		base, _ := serveOne(t, 401, notYours)
		_, err := newClient(t, base).Balance(t.Context())
		require.True(t, requireError(t, err).Account)
		base, _ = serveOne(t, 401, `{"code":4013}`)
		_, err = newClient(t, base).Order(t.Context(), 7)
		require.True(t, requireError(t, err).Account)
	})
}

func TestSimRedactsItself(t *testing.T) {
	t.Parallel()
	var o Order
	require.NoError(t, json.Unmarshal([]byte(orderBody[len(`{"data":`):strings.Index(orderBody, `,"meta"`)]), &o))
	s := o.Sims[0]
	receipt := Receipt{Order: o, Raw: []byte(orderBody), Status: 200}
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, nil))
	log.InfoContext(t.Context(), "sim", "sim", s, "sims", o.Sims, "order", o, "receipt", receipt, "token", Token{Value: canaryToken})
	texts := []string{
		b.String(), s.String(), fmt.Sprint(s), fmt.Sprintf("%+v %#v %s %q", s, &s, s, s), fmt.Sprintf("%+v", o), fmt.Sprintf("%v %+v", receipt, receipt),
		fmt.Sprintf("%v %+v %#v", Token{Value: canaryToken}, Token{Value: canaryToken}, Token{Value: canaryToken}),
		fmt.Sprintf("%v %+v %#v", Config{ClientSecret: canarySecret}, Config{ClientSecret: canarySecret}, Config{ClientSecret: canarySecret}),
	}
	for _, text := range texts {
		require.NotContains(t, text, "CANARY")
		require.NotContains(t, text, canaryToken)
		require.NotContains(t, text, canarySecret)
		require.NotContains(t, text, anICCID)
	}
	require.Contains(t, s.String(), "7221")

	t.Run("but not in what is stored on purpose, which reads back the same", func(t *testing.T) {
		t.Parallel()
		raw, err := json.Marshal(o)
		require.NoError(t, err)
		require.NotContains(t, string(raw), "CANARY")
		raw, err = json.Marshal(o.Reveal())
		require.NoError(t, err)
		require.Contains(t, string(raw), `"matching_id":"CANARY-MATCHING-ID"`)
		var back Order
		require.NoError(t, json.Unmarshal(raw, &back))
		require.Equal(t, o, back)
	})
}

func TestDecimal(t *testing.T) {
	t.Parallel()
	valid := map[string]Decimal{
		`9.5`: "9.5", `"9.50"`: "9.5", `9.500`: "9.5", `"0009.5"`: "9.5", `10`: "10", `"100"`: "100", `0`: "0", `"0.00"`: "0", `-0.0`: "0",
		`-1.25`: "-1.25", `1e1`: "10", `1.5E2`: "150", `125e-2`: "1.25", `5e-3`: "0.005", `" 4.5 "`: "4.5",
		`0.1`: "0.1", `"123456789012345678901234567890.12"`: "123456789012345678901234567890.12",
	}
	for in, want := range valid {
		var d Decimal
		require.NoError(t, json.Unmarshal([]byte(in), &d))
		require.Equal(t, want, d, in)
	}
	for _, in := range []string{`null`, `""`, `"x"`, `"1,234.5"`, `"1."`, `".5"`, `"--1"`, `true`, `{}`, `[]`, `"1e99999"`, `"NaN"`, `"+1"`, `"0x10"`, `"١"`} {
		var d Decimal
		require.NoError(t, json.Unmarshal([]byte(in), &d))
		require.Empty(t, d, in)
	}
	a, ok := Decimal("0.1").Rat()
	require.True(t, ok)
	require.Equal(t, "1/10", a.String())
	_, ok = Decimal("").Rat()
	require.False(t, ok)
}

func TestNewRefusesABaseURL(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "host/v2", "ftp://host", "https://", "https://u:" + canarySecret + "@host/v2", "https://host/v2?x=1", "http://ho st:" + canarySecret, "https://host/#x"} {
		_, err := New(Config{BaseURL: base, ClientSecret: "s"})
		require.Error(t, err, base)
		require.NotContains(t, err.Error(), canarySecret)
	}
}
