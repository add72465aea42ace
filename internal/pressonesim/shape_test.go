package pressonesim

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTypesAreThoseOfSection13(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rendering Rendering
		path      string
		documents map[string]string // path into the answer: type
	}{
		{Documented, "POST", map[string]string{
			"data.id": "number", "data.quantity": "string", "data.validity": "number", "data.price": "number",
			"data.net_price": "number", "data.sims": "array", "data.installation_guides": "object", "data.status": "absent",
		}},
		{Documented, "TOPUP", map[string]string{
			"data.quantity": "string", "data.validity": "number", "data.price": "number", "data.sims": "absent", "data.iccid": "absent",
		}},
		{Documented, "orders/9666", map[string]string{
			"data.quantity": "number", "data.validity": "string", "data.price": "string", "data.sims": "absent", "data.status": "absent", "data.user": "absent",
		}},
		{Documented, "orders/9666?include=sims,user,status", map[string]string{
			"data.sims.0.iccid": "string", "data.status.slug": "string", "data.user.name": "string", "data.user.mobile": "null",
		}},
		{Documented, "orders?include=sims", map[string]string{
			"data.0.quantity": "number", "data.0.validity": "string", "data.0.price": "string", "meta.per_page": "string",
			"links.prev": "null", "links.next": "null", "meta.total": "number",
		}},
		{Documented, "sims?include=order.status", map[string]string{
			"data.0.order": "null", "data.0.recycled": "bool", "data.0.recycled_at": "null", "data.0.simable.price": "string",
			"data.0.simable.status.slug": "string", "data.0.voucher_code": "null", "data.0.airalo_code": "null",
		}},
		{Documented, "sims/8934000000000008728/usage", map[string]string{
			"data.remaining": "number", "data.is_unlimited": "bool", "data.expired_at": "string", "data.status": "string", "meta.message": "string",
		}},
		{Documented, "sims/8934000000000008728/packages", map[string]string{
			"data.0.activated_at": "string", "data.0.package.price": "number", "data.0.package.short_info": "null", "meta": "absent",
		}},
		{Documented, "sims/8934000000000008728/topups", map[string]string{"data.0.price": "number", "data.0.type": "string", "meta": "absent"}},
		{Documented, "sims/8934000000000008728/instructions", map[string]string{
			"data.instructions.ios.0.installation_via_qr_code.steps.1": "string", "data.instructions.android.0.model": "null",
			"data.instructions.android.0.network_setup.is_roaming": "null", "data.instructions.language": "string",
		}},
		{Documented, "packages", map[string]string{"data.0.operators.0.packages.0.price": "number", "meta.per_page": "string", "pricing.model": "string"}},
		{Documented, "compatible-devices-lite", map[string]string{"data.0.os": "string", "data.0.model": "absent", "meta": "absent"}},
		{Documented, "balance", map[string]string{"data.balances.availableBalance.amount": "number"}},
		{Numbers, "POST", map[string]string{"data.quantity": "number", "data.validity": "number", "data.price": "number"}},
		{Numbers, "orders", map[string]string{"data.0.validity": "number", "data.0.price": "number", "meta.per_page": "number"}},
		{Strings, "POST", map[string]string{"data.quantity": "string", "data.validity": "string", "data.price": "string", "data.net_price": "string"}},
		{Strings, "orders", map[string]string{"data.0.quantity": "string", "data.0.price": "string"}},
		{Strings, "balance", map[string]string{"data.balances.availableBalance.amount": "string"}},
	}
	for _, tt := range tests {
		t.Run(string(tt.rendering)+" "+tt.path, func(t *testing.T) {
			t.Parallel()
			c := setup(t, Config{Knobs: Knobs{Rendering: tt.rendering}})
			sold := c.order("ref-1")
			answers := map[string]func() answer{
				"POST":  func() answer { return sold },
				"TOPUP": func() answer { return c.topup(DefaultICCIDs()[0], "ref-2") },
			}
			ask := answers[tt.path]
			if ask == nil {
				ask = func() answer { return c.get(tt.path) }
			}
			a := ask()
			require.Equal(t, 200, a.status, a.text)
			for path, want := range tt.documents {
				require.Equal(t, want, a.kind(path), "%s in %s", path, a.text)
			}
		})
	}
}

func TestMixedRenderingShowsBothTypesAndRepeats(t *testing.T) {
	t.Parallel()
	kinds := func() (all []string, seen map[string]map[string]bool) {
		c := setup(t, Config{Knobs: Knobs{Rendering: Mixed, RenderingSeed: 7}})
		seen = map[string]map[string]bool{}
		for range 30 {
			a := c.order("r")
			for _, path := range []string{"data.quantity", "data.validity", "data.price", "data.net_price"} {
				kind := a.kind(path)
				all = append(all, kind)
				if seen[path] == nil {
					seen[path] = map[string]bool{}
				}
				seen[path][kind] = true
			}
		}
		return all, seen
	}
	first, seen := kinds()
	second, _ := kinds()
	require.Equal(t, first, second)
	require.Equal(t, map[string]bool{"string": true, "number": true}, seen["data.price"])
	require.Equal(t, map[string]bool{"string": true, "number": true}, seen["data.quantity"])
	require.Equal(t, map[string]bool{"string": true, "number": true, "null": true, "absent": true}, seen["data.net_price"])
}

func TestOrderAnswerIsTheDocumentedOne(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{})
	a := c.order("ref-1")
	for path, want := range map[string]any{
		"data.id": 9666.0, "data.code": "20230227-009666", "data.package_id": simPackage, "data.quantity": "1", "data.type": "sim",
		"data.description": "ref-1", "data.package": "Kallur Digital-1 GB - 7 Days", "data.data": "1 GB", "data.price": 9.5,
		"data.currency": "USD", "data.created_at": "2023-02-27 14:09:55", "data.validity": 7.0, "meta.message": "success",
	} {
		require.Equal(t, want, a.at(path), path)
	}
	lpa, id := a.string("data.sims.0.lpa"), a.string("data.sims.0.matching_id")
	require.Equal(t, "LPA:1$"+lpa+"$"+id, a.at("data.sims.0.qrcode"))
	require.Contains(t, a.at("data.sims.0.direct_apple_installation_url"), "carddata=LPA:1$")
	require.Equal(t, "application/json", a.header.Get("Content-Type"))

	listed := c.get("orders/9666")
	require.Equal(t, "9.50", listed.at("data.price"))
	require.Equal(t, "7", listed.at("data.validity"))
}

func TestBalanceIsTextThatHoldsJSON(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{Balance: 100_00})
	c.order("ref-1")
	a := c.get("balance")
	require.Contains(t, a.header.Get("Content-Type"), "text/plain")
	require.InDelta(t, 90.5, a.at("data.balances.availableBalance.amount"), 0)
	require.Equal(t, Cents(90_50), c.srv.Balance())

	c.srv.Tune(func(k *Knobs) { k.EmptyBalances = true })
	require.Equal(t, "array", c.get("balance").kind("data.balances"))
}

func TestPackages(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{})
	t.Run("filters by type and country", func(t *testing.T) {
		local := c.get("packages?" + url.Values{"filter[type]": {"local"}, "filter[country]": {"HR"}}.Encode())
		require.Len(t, local.at("data"), 1)
		require.Equal(t, "HR", local.at("data.0.country_code"))
		global := c.get("packages?" + url.Values{"filter[type]": {"global"}}.Encode())
		require.Len(t, global.at("data"), 2)
		require.Empty(t, global.at("data.0.country_code"))
	})
	t.Run("includes top-ups when asked", func(t *testing.T) {
		types := func(a answer) (types []any) {
			list, ok := a.at("data.0.operators.0.packages").([]any)
			require.True(t, ok)
			for i := range list {
				types = append(types, answer{tree: list[i]}.at("type"))
			}
			return types
		}
		country := url.Values{"filter[country]": {"US"}}
		require.NotContains(t, types(c.get("packages?"+country.Encode())), "topup")
		country.Set("include", "topup")
		require.Contains(t, types(c.get("packages?"+country.Encode())), "topup")
	})
	t.Run("may turn into an object from page 2 on", func(t *testing.T) {
		require.Equal(t, "array", c.get("packages?limit=2&page=2").kind("data"))
		c.srv.Tune(func(k *Knobs) { k.PackagesAsObject = true })
		require.Equal(t, "array", c.get("packages?limit=2").kind("data"))
		require.Equal(t, "string", c.get("packages?limit=2&page=2").kind("data.2.slug"))
	})
	t.Run("says which operator cannot be topped up", func(t *testing.T) {
		a := c.get("packages?" + url.Values{"filter[country]": {"GB"}}.Encode())
		require.Equal(t, false, a.at("data.0.operators.0.rechargeability"))
	})
}

func TestSimStates(t *testing.T) {
	t.Parallel()
	iccid := DefaultICCIDs()[0]
	t.Run("recycled", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{})
		require.NoError(t, c.srv.Recycle(iccid))
		require.Equal(t, true, c.get("sims/"+iccid).at("data.recycled"))
		require.Equal(t, "2023-02-27 14:09:55", c.get("sims/"+iccid).at("data.recycled_at"))
		usage := c.get("sims/" + iccid + "/usage")
		require.Equal(t, "RECYCLED", usage.at("data.status"))
		require.Nil(t, usage.at("data.is_unlimited"))
		require.Nil(t, usage.at("data.expired_at"))
		for _, a := range []answer{c.get("sims/" + iccid + "/topups"), c.topup(iccid, "r")} {
			require.Equal(t, 422, a.status)
			require.InDelta(t, 73, a.at("code"), 0)
		}
		require.Empty(t, c.srv.Ledger().Sold)
	})
	t.Run("usage is repeated for 20 minutes", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{})
		require.InDelta(t, 3072-1281, c.get("sims/"+iccid+"/usage").at("data.remaining"), 0)
		require.Equal(t, 200, c.topup(iccid, "r").status)
		require.NoError(t, c.srv.Use(iccid, 1000))
		c.clock.advance(19 * time.Minute)
		require.InDelta(t, 3072, c.get("sims/"+iccid+"/usage").at("data.total"), 0)
		c.clock.advance(time.Minute)
		require.InDelta(t, 6144, c.get("sims/"+iccid+"/usage").at("data.total"), 0)
	})
	t.Run("history counts each top-up and is there once in 15 minutes", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{})
		path := "sims/" + iccid + "/packages"
		require.Len(t, c.get(path).at("data"), 1)
		c.topup(iccid, "r1")
		c.topup(iccid, "r2")
		refused := c.get(path)
		require.Equal(t, 429, refused.status)
		require.Equal(t, "900", refused.header.Get("Retry-After"))
		require.Equal(t, 200, c.get("sims/"+DefaultICCIDs()[1]+"/packages").status)
		c.clock.advance(15 * time.Minute)
		a := c.get(path)
		require.Len(t, a.at("data"), 3)
		require.Equal(t, topupPackage, a.at("data.0.package.id"))
		require.NotEqual(t, a.at("data.0.id"), a.at("data.1.id"))
		require.Equal(t, "2023-02-27T14:09:55+00:00", a.at("data.2.activated_at"))
	})
	t.Run("an unknown ICCID is 404, an empty one is the list", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{})
		for _, path := range []string{"sims/89000", "sims/89000/usage", "sims/89000/topups", "sims/89000/packages", "sims/89000/instructions"} {
			a := c.get(path)
			require.Equal(t, 404, a.status, path)
			require.Equal(t, "array", a.kind("data"))
			require.Equal(t, "messages.resource_not_found", a.at("meta.message"))
		}
		a := c.get("sims/")
		require.Equal(t, 200, a.status)
		require.Len(t, a.at("data"), len(DefaultICCIDs()))
	})
	t.Run("one that was just sold is not active and offers no top-ups", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{})
		sold := c.order("r").string("data.sims.0.iccid")
		usage := c.get("sims/" + sold + "/usage")
		require.Equal(t, "NOT_ACTIVE", usage.at("data.status"))
		require.Nil(t, usage.at("data.expired_at"))
		require.Empty(t, c.get("sims/"+sold+"/topups").at("data"))
		require.NoError(t, c.srv.SetSimStatus(sold, Active))
		require.Len(t, c.get("sims/"+sold+"/topups").at("data"), 1)
	})
}
