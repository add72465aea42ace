package pressonesim

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestToken(t *testing.T) {
	t.Parallel()
	valid := func(change string, to ...string) url.Values {
		form := url.Values{"client_id": {"client"}, "client_secret": {"secret"}, "grant_type": {"client_credentials"}}
		if change != "" {
			form[change] = to
		}
		return form
	}
	tests := []struct {
		name   string
		form   url.Values
		status int
		key    string
	}{
		{"as documented", valid(""), 200, "data.access_token"},
		{"without grant type", valid("grant_type"), 200, "data.access_token"},
		{"another grant type", valid("grant_type", "password"), 422, "data.grant_type"},
		{"unknown client", valid("client_id", "x"), 422, "data.client_id"},
		{"no client", valid("client_id"), 422, "data.client_id"},
		{"wrong secret", valid("client_secret", "x"), 401, "meta.message"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := setup(t, Config{}).post("token", tt.form)
			require.Equal(t, tt.status, a.status)
			require.Equal(t, "string", a.kind(tt.key), a.text)
		})
	}
	t.Run("says a year and lives a day", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{})
		require.InDelta(t, 31622400, c.post("token", valid("")).at("data.expires_in"), 0)
		c.clock.advance(24*time.Hour - time.Second)
		require.Equal(t, 200, c.get("balance").status)
		c.clock.advance(time.Second)
		require.InDelta(t, 4014, c.get("balance").at("code"), 0)
	})
	t.Run("a new one leaves old ones valid", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{})
		old := c.token
		c.login()
		require.NotEqual(t, old, c.token)
		c.token = old
		require.Equal(t, 200, c.get("balance").status)
	})
}

func TestUnauthorized(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		token func(c *client) string
		code  float64
	}{
		{"none", func(*client) string { return "" }, 4009},
		{"unknown", func(*client) string { return "nonsense" }, 4013},
		{"expired", func(c *client) string { c.srv.ExpireTokens(); return c.token }, 4014},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := setup(t, Config{})
			c.token = tt.token(c)
			a := c.post("orders", orderForm(simPackage, "1", "ref"))
			require.Equal(t, 401, a.status)
			require.InDelta(t, tt.code, a.at("code"), 0)
			c.srv.Tune(func(k *Knobs) { k.Unauthorized = E3 })
			a = c.get("balance")
			require.Equal(t, 401, a.status)
			require.Equal(t, "array", a.kind("data"))
			require.Empty(t, c.srv.Ledger().Sold)
			c.token = ""
			c.login()
			require.Equal(t, 200, c.get("balance").status)
		})
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	t.Run("tokens: five a minute", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{}) // used one
		for range 4 {
			c.login()
		}
		c.clock.advance(18 * time.Second)
		form := url.Values{"client_id": {"client"}, "client_secret": {"secret"}}
		a := c.post("token", form)
		require.Equal(t, 429, a.status)
		require.Equal(t, "42", a.header.Get("Retry-After"))
		require.Equal(t, "Too Many Attempts.", a.at("message"))
		require.Equal(t, "absent", a.at("code"))
		c.clock.advance(42 * time.Second)
		c.login()
	})
	t.Run("in the other style, without a hint", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{Knobs: Knobs{RateLimited: E1, NoRetryAfter: true, Limits: map[Endpoint]Limit{Orders: {1, time.Minute}}}})
		c.order("ref")
		a := c.post("orders", orderForm(simPackage, "1", "ref"))
		require.Equal(t, 429, a.status)
		require.InDelta(t, 4004, a.at("code"), 0)
		require.Empty(t, a.header.Get("Retry-After"))
		require.Equal(t, 1, c.srv.SoldCount())
		require.Equal(t, 2, c.srv.Requests(Orders))
	})
	t.Run("for the account", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{Knobs: Knobs{AccountLimit: Limit{2, time.Second}}})
		require.Equal(t, []int{200, 200, 429}, []int{c.get("balance").status, c.get("orders").status, c.get("sims").status})
		c.login()
		c.clock.advance(time.Second)
		require.Equal(t, 200, c.get("sims").status)
	})
	t.Run("lifted", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{Knobs: Knobs{Limits: map[Endpoint]Limit{History: {}}}})
		for range 3 {
			require.Equal(t, 200, c.get("sims/"+exampleICCID+"/packages").status)
		}
		require.Equal(t, Limit{5, time.Minute}, c.srv.Knobs().Limits[Token])
	})
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		method, path string
		want         Endpoint
		id           string
		known        bool
	}{
		{"POST", "token", Token, "", true},
		{"GET", "token", Any, "", true},
		{"POST", "orders", Orders, "", true},
		{"GET", "orders", OrderList, "", true},
		{"GET", "orders/", OrderList, "", true},
		{"GET", "orders/12", OneOrder, "12", true},
		{"DELETE", "orders/12", Any, "", true},
		{"POST", "orders/topups", Topups, "", true},
		{"GET", "sims/", SimList, "", true},
		{"GET", "sims/1/usage", Usage, "1", true},
		{"GET", "sims/1/packages", History, "1", true},
		{"GET", "sims/1/topups", TopupList, "1", true},
		{"GET", "sims/1/instructions", Instructions, "1", true},
		{"GET", "sims/1/nonsense", Any, "", false},
		{"GET", "sims//usage", Any, "", false},
		{"GET", "compatible-devices-lite", Devices, "", true},
		{"GET", "orders/1/2", Any, "", false},
		{"GET", "", Any, "", false},
	}
	for _, tt := range tests {
		e, id, known := route(tt.method, tt.path)
		require.Equal(t, []any{tt.want, tt.id, tt.known}, []any{e, id, known}, tt.method+" "+tt.path)
	}
}

func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{})
	c.order("ref")
	c.get("sims/" + exampleICCID)
	c.get("sims/" + exampleICCID)
	c.get("sims/" + DefaultICCIDs()[1])
	c.get("orders/9666")
	c.topup(exampleICCID, "r")
	require.Equal(t, 1, c.srv.Requests("orders"))
	require.Equal(t, 3, c.srv.Requests(OneSim))
	require.Equal(t, 2, c.srv.RequestsFor(OneSim, exampleICCID))
	require.Equal(t, 1, c.srv.RequestsFor(OneOrder, "9666"))
	require.Equal(t, 1, c.srv.RequestsFor(Topups, exampleICCID))
	require.Equal(t, 7, c.srv.Requests(Any))
	require.Zero(t, c.srv.Requests(OrderList))
	require.Equal(t, 404, c.get("nonsense").status)
	require.Equal(t, 405, c.get("orders/topups").status)
}

func TestICCIDs(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, iccid := range DefaultICCIDs() {
		require.Regexp(t, `^\d{19}$`, iccid)
		seen[iccid] = true
	}
	require.Len(t, seen, 12)
	require.True(t, seen["8934000000000008728"])
	for n := range 5000 {
		iccid := iccidFor(n)
		require.Regexp(t, `^\d{19,20}$`, iccid)
		require.False(t, seen[iccid], iccid)
		seen[iccid] = true
		require.Equal(t, iccid, withLuhn(iccid[:len(iccid)-1]))
	}
	require.Equal(t, "79927398713", withLuhn("7992739871"))
}
