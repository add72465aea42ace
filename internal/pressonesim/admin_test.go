package pressonesim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// admin calls an admin endpoint, without a token.
func (c *client) admin(method, path, body string) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.srv.AdminURL()+path, strings.NewReader(body))
	require.NoError(c.t, err)
	return c.do(req)
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{})
	ok := func(method, path, body string) answer {
		t.Helper()
		a := c.admin(method, path, body)
		require.Equal(t, 200, a.status, a.text)
		return a
	}
	t.Run("knobs", func(t *testing.T) {
		require.Equal(t, "24h0m0s", ok("GET", "/knobs", "").at("token_life"))
		a := ok("PATCH", "/knobs", `{"list_lag":"5s","validation_status":400,"limits":{"orders":{"requests":9,"window":"1m"}},"latencies":{"orders":"1ms"}}`)
		require.Equal(t, "5s", a.at("list_lag"))
		require.Equal(t, "1m0s", a.at("limits.orders.window"))
		k := c.srv.Knobs()
		require.Equal(t, 5*time.Second, k.ListLag)
		require.Equal(t, Limit{9, time.Minute}, k.Limits[Orders])
		require.Equal(t, Limit{5, time.Minute}, k.Limits[Token])
		require.Equal(t, time.Millisecond, k.Latencies[Orders])
		for _, bad := range []string{`{"list_leg":"5s"}`, `{"list_lag":"soon"}`, `{"rendering":"x"}`, `{"limits":{"nope":{"requests":1}}}`, `{`} {
			require.Equal(t, 400, c.admin("PATCH", "/knobs", bad).status, bad)
		}
		require.Equal(t, k, c.srv.Knobs())
		ok("PATCH", "/knobs", `{"list_lag":"0s"}`)
	})
	t.Run("faults", func(t *testing.T) {
		id := ok("POST", "/faults", `{"endpoint":"balance","action":"status","status":503,"retry_after":"3s","times":1}`).string("id")
		require.Equal(t, "3", c.get("balance").header.Get("Retry-After"))
		require.InDelta(t, 1, ok("GET", "/faults", "").at("0.hits"), 0)
		ok("DELETE", "/faults/"+id, "")
		require.Equal(t, 404, c.admin("DELETE", "/faults/"+id, "").status)
		require.Equal(t, 400, c.admin("POST", "/faults", `{"action":"explode"}`).status)
		ok("POST", "/faults", `{"action":"slow","delay":"1h"}`)
		require.Empty(t, ok("DELETE", "/faults", "").tree)
	})
	t.Run("chaos", func(t *testing.T) {
		require.Equal(t, "2s", ok("PUT", "/chaos", `{"rate":0.5,"seed":7,"slow_for":"2s"}`).at("slow_for"))
		require.InDelta(t, 0.5, ok("GET", "/chaos", "").at("rate"), 0)
		require.Equal(t, 400, c.admin("PUT", "/chaos", `{"rate":5}`).status)
		ok("PUT", "/chaos", `{}`)
	})
	t.Run("packages, stock and eSIMs", func(t *testing.T) {
		ok("POST", "/packages", `{"id":"rare","stock":1,"ready_after":"1m"}`)
		require.Equal(t, 400, c.admin("POST", "/packages", `{"id":"x","operator":"nobody"}`).status)
		require.Equal(t, 200, c.post("orders", orderForm("rare", "1", "a")).status)
		require.Equal(t, 422, c.post("orders", orderForm("rare", "1", "b")).status)
		ok("PUT", "/packages/rare/stock", `{"left":null}`)
		require.Equal(t, 404, c.admin("PUT", "/packages/none/stock", `{"left":1}`).status)
		require.Equal(t, 200, c.post("orders", orderForm("rare", "1", "b")).status)
		require.Contains(t, ok("GET", "/packages", "").text, `"ready_after": "1m0s"`)

		ok("POST", "/sims", `{"iccid":"8934000000000099999"}`)
		require.Equal(t, 400, c.admin("POST", "/sims", `{"iccid":"1"}`).status)
		require.Equal(t, 200, c.topup("8934000000000099999", "c").status)
		ok("PUT", "/sims/8934000000000099999/status", `{"status":"FINISHED"}`)
		require.Equal(t, 400, c.topup("8934000000000099999", "c").status)
		ok("POST", "/sims/8934000000000099999/recycle", "")
		require.Equal(t, 404, c.admin("POST", "/sims/8900000000000000000/recycle", "").status)
	})
	t.Run("books", func(t *testing.T) {
		a := ok("GET", "/ledger", "")
		require.InDelta(t, 3, a.at("count"), 0)
		require.InDelta(t, 450+450+1000, a.at("revenue_cents"), 0)
		require.Equal(t, "a", a.at("sold.0.description_sent"))
		require.Len(t, ok("GET", "/ledger?description=b", "").at("sold"), 1)
		ok("PUT", "/orders/9666/status", `{"status":"refunded"}`)
		require.Equal(t, Refunded, c.srv.Ledger().Sold[0].Status)
		require.Equal(t, 404, c.admin("PUT", "/orders/1/status", `{"status":"refunded"}`).status)
	})
	t.Run("balance, tokens, requests", func(t *testing.T) {
		ok("PUT", "/balance", `{"cents":0}`)
		require.Equal(t, 400, c.admin("PUT", "/balance", `{}`).status)
		require.InDelta(t, 0, ok("GET", "/balance", "").at("cents"), 0)
		require.InDelta(t, 11, c.post("orders", orderForm(simPackage, "1", "z")).at("code"), 0)
		ok("POST", "/tokens/expire", "")
		require.Equal(t, 401, c.get("orders").status)
		require.InDelta(t, 1, ok("GET", "/requests", "").at("order_list"), 0)
		require.InDelta(t, 2, ok("GET", "/requests?endpoint=topups&id=8934000000000099999", "").at("topups"), 0)
	})
}

func TestDocumentedKnobsAndRoutesExist(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(Knobs{}.filled())
	require.NoError(t, err)
	doc := readDoc(t)
	var knobs map[string]any
	require.NoError(t, json.Unmarshal(raw, &knobs))
	for name := range knobs {
		require.Contains(t, doc, name, "doc.go lists every knob")
	}
	for _, a := range actions {
		require.Contains(t, doc, "//\t"+string(a), "doc.go lists every action")
	}
}

func TestAnyServerCanServeTheHandler(t *testing.T) {
	t.Parallel()
	s := New(Config{Prefix: "/v2"})
	web := httptest.NewServer(s.Handler())
	t.Cleanup(web.Close)
	resp, err := web.Client().Get(web.URL + "/v2/balance")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 401, resp.StatusCode)
	require.Equal(t, 1, s.Requests(GetBalance))
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"knob":    {Knobs: Knobs{BadPackage: E3}},
		"limit":   {Knobs: Knobs{Limits: map[Endpoint]Limit{Orders: {Requests: 1}}}},
		"latency": {Knobs: Knobs{Latencies: map[Endpoint]time.Duration{"x": 1}}},
		"chaos":   {Chaos: Chaos{Rate: -1}},
		"fault":   {Faults: []Fault{{Action: "x"}}},
		"package": {Packages: []Package{{ID: "x", Operator: "nobody"}}},
		"no id":   {Packages: []Package{{}}},
		"sim":     {Sims: []ESIM{{ICCID: "8934000000000099999", PackageID: "nope"}}},
		"address": {Addr: "nowhere:x"},
	} {
		_, err := Start(cfg)
		require.ErrorContains(t, err, "pressonesim: ", name)
	}
	require.Panics(t, func() { New(Config{Faults: []Fault{{}}}) })
}

func readDoc(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	return string(doc)
}
