package pressonesim

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRequestsAreTakenInThreeEncodings(t *testing.T) {
	t.Parallel()
	fields := url.Values{"package_id": {simPackage}, "quantity": {"2"}, "description": {"ref 100%"}, "to_email": {"a@b.example"}, "sharing_option[]": {"link", "pdf"}}
	tests := map[string]func(t *testing.T) (string, io.Reader){
		"multipart": func(t *testing.T) (string, io.Reader) {
			t.Helper()
			return multipartForm(t, fields)
		},
		"urlencoded": func(*testing.T) (string, io.Reader) {
			return "application/x-www-form-urlencoded", strings.NewReader(fields.Encode())
		},
		"json": func(*testing.T) (string, io.Reader) {
			return "application/json", strings.NewReader(`{"package_id":"` + simPackage + `","quantity":2,"description":"ref 100%","to_email":"a@b.example","sharing_option":["link","pdf"]}`)
		},
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := setup(t, Config{})
			contentType, r := body(t)
			a := c.do(c.request(http.MethodPost, "orders", contentType, r))
			require.Equal(t, 200, a.status, a.text)
			require.Len(t, a.at("data.sims"), 2)
			sold := c.srv.Ledger().Orders("ref 100%")
			require.Len(t, sold, 1)
			require.Equal(t, 2, sold[0].Quantity)
		})
	}
	t.Run("a body that cannot be read is 400 with 4001", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{})
		for contentType, body := range map[string]string{"application/json": `{"package_id":`, "multipart/form-data; boundary=x": "--x\r\nbroken", "text/xml": "<a/>"} {
			a := c.do(c.request(http.MethodPost, "orders", contentType, strings.NewReader(body)))
			require.Equal(t, 400, a.status, contentType)
			require.InDelta(t, 4001, a.at("code"), 0)
		}
	})
	t.Run("a body that is too large is 413", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{})
		a := c.do(c.form("orders", orderForm(simPackage, "1", strings.Repeat("x", 2<<20))))
		require.Equal(t, 413, a.status)
		require.Empty(t, c.srv.Ledger().Sold)
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	const iccid = exampleICCID
	notRechargeable := "8934000000000070001"
	sleeping := "8934000000000070002"
	tests := []struct {
		name     string
		knobs    Knobs
		path     string
		form     url.Values
		status   int
		code     any
		dataKeys []string
	}{
		{name: "no fields at all", path: "orders", status: 422, code: 34.0},
		{name: "unknown package", path: "orders", form: orderForm("nope", "1", ""), status: 422, code: 34.0},
		{name: "unknown package as E2", knobs: Knobs{BadPackage: E2}, path: "orders", form: orderForm("nope", "1", ""), status: 422, dataKeys: []string{"package_id"}},
		{name: "a top-up package ordered as a sim", path: "orders", form: orderForm(topupPackage, "1", ""), status: 422, code: 34.0},
		{name: "string codes", knobs: Knobs{CodesAsStrings: true}, path: "orders", form: orderForm("nope", "1", ""), status: 422, code: "34"},
		{name: "quantity 51", path: "orders", form: orderForm(simPackage, "51", ""), status: 422, dataKeys: []string{"quantity"}},
		{name: "quantity 0 with status 400", knobs: Knobs{ValidationStatus: 400}, path: "orders", form: orderForm(simPackage, "0", ""), status: 400, dataKeys: []string{"quantity"}},
		{name: "quantity words", path: "orders", form: orderForm(simPackage, "two", ""), status: 422, dataKeys: []string{"quantity"}},
		{name: "package and quantity missing", path: "orders", form: url.Values{"description": {"d"}}, status: 422, dataKeys: []string{"package_id", "quantity"}},
		{name: "unknown brand", path: "orders", form: url.Values{"package_id": {simPackage}, "quantity": {"1"}, "brand_settings_name": {"b"}}, status: 422, dataKeys: []string{"brand_settings_name"}},
		{name: "e-mail without sharing option", path: "orders", form: url.Values{"package_id": {simPackage}, "quantity": {"1"}, "to_email": {"a@b.example"}}, status: 422, dataKeys: []string{"sharing_option"}},
		{name: "stock", path: "orders", form: orderForm("rare", "3", ""), status: 422, code: 33.0},
		{name: "stock as E2", knobs: Knobs{OutOfStock: E2}, path: "orders", form: orderForm("rare", "3", ""), status: 422, dataKeys: []string{"quantity"}},
		{name: "credit", path: "orders", form: orderForm("dear", "1", ""), status: 422, code: 11.0},
		{name: "credit as 402", knobs: Knobs{OutOfCredit: 402}, path: "orders", form: orderForm("dear", "1", ""), status: 402, code: 4007.0},
		{name: "top-up without fields", path: "orders/topups", status: 422, dataKeys: []string{"iccid", "package_id"}},
		{name: "top-up of an unknown eSIM", path: "orders/topups", form: url.Values{"package_id": {topupPackage}, "iccid": {"8900000000000000000"}}, status: 422, dataKeys: []string{"iccid"}},
		{name: "top-up with a sim package", path: "orders/topups", form: url.Values{"package_id": {simPackage}, "iccid": {iccid}}, status: 422, dataKeys: []string{"package_id"}},
		{name: "top-up of another operator", path: "orders/topups", form: url.Values{"package_id": {"kallur-digital-7days-1gb-topup"}, "iccid": {iccid}}, status: 422, dataKeys: []string{"package_id"}},
		{name: "top-up where the operator has none", path: "orders/topups", form: url.Values{"package_id": {topupPackage}, "iccid": {notRechargeable}}, status: 422, code: 23.0},
		{name: "top-up of an eSIM that is not active", path: "orders/topups", form: url.Values{"package_id": {topupPackage}, "iccid": {sleeping}}, status: 422, dataKeys: []string{"package_id"}},
		{name: "top-up out of stock", path: "orders/topups", form: url.Values{"package_id": {"rare-topup"}, "iccid": {iccid}}, status: 422, code: 33.0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := setup(t, Config{
				Knobs: tt.knobs,
				Packages: []Package{
					{ID: "rare", Stock: new(2)},
					{ID: "rare-topup", Kind: KindTopup, Stock: new(0)},
					{ID: "dear", Price: 2_000_000_00},
				},
				Sims: []ESIM{
					{ICCID: notRechargeable, PackageID: "orbit-mobile-7days-1gb"},
					{ICCID: sleeping, Status: NotActive},
				},
			})
			a := c.post(tt.path, tt.form)
			require.Equal(t, tt.status, a.status, a.text)
			if tt.code != nil {
				require.Equal(t, tt.code, a.at("code"))
				require.Equal(t, "string", a.kind("reason"))
			}
			for _, key := range tt.dataKeys {
				require.Equal(t, "string", a.kind("data."+key), a.text)
			}
			l := c.srv.Ledger()
			require.Empty(t, l.Sold)
			require.Empty(t, l.Failed)
			require.Equal(t, Cents(1_000_000_00), c.srv.Balance())
		})
	}
}

func TestMissingAcceptTurnsAValidationErrorIntoAPage(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{})
	send := func(form url.Values) answer {
		req := c.form("orders", form)
		req.Header.Del("Accept")
		return c.do(req)
	}
	a := send(orderForm(simPackage, "51", ""))
	require.Equal(t, 500, a.status)
	require.Contains(t, a.header.Get("Content-Type"), "text/html")
	require.Contains(t, a.text, "<html>")
	require.Equal(t, 200, send(orderForm(simPackage, "1", "")).status)
}

func TestBooks(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{Balance: 100_00})
	c.order("a")
	c.order("a")
	require.Equal(t, 200, c.post("orders", orderForm("change-7days-1gb", "3", "b")).status)
	require.Equal(t, 200, c.topup(exampleICCID, "c").status)
	require.Equal(t, 200, c.post("orders", url.Values{"package_id": {simPackage}, "quantity": {"1"}}).status)

	l := c.srv.Ledger()
	require.Equal(t, 5, l.Count())
	require.Equal(t, 5, c.srv.SoldCount())
	require.Equal(t, 7, l.Units())
	require.Equal(t, Cents(9_50*3+4_50*3+10_00), l.Revenue())
	require.Equal(t, 100_00-l.Revenue(), c.srv.Balance())
	require.Equal(t, map[string]int{"a": 2}, l.Doubles())
	require.Len(t, c.srv.Sold("a"), 2)
	require.Len(t, l.Topups(exampleICCID), 1)
	require.Len(t, l.Package("change-7days-1gb"), 1)
	require.Equal(t, "1 sim "+simPackage, *l.Sold[4].Stored)
	require.Empty(t, l.Sold[4].Sent)

	seen := map[string]bool{}
	for i, o := range l.Sold {
		require.Equal(t, 9666+i, o.ID)
		for _, sim := range o.Sims {
			require.Regexp(t, `^\d{19,20}$`, sim.ICCID)
			require.False(t, seen[sim.ICCID])
			require.False(t, seen[sim.MatchingID])
			seen[sim.ICCID], seen[sim.MatchingID] = true, true
		}
	}
	require.Len(t, seen, 12)

	l.Sold[0].Sims[0].ICCID = "changed"
	*l.Sold[0].Stored = "changed"
	again := c.srv.Ledger().Sold[0]
	require.NotEqual(t, "changed", again.Sims[0].ICCID)
	require.Equal(t, "a", *again.Stored)
}

func TestStockAndCreditRunOut(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{Packages: []Package{{ID: "rare", Stock: new(2)}}})
	buy := func() int { return c.post("orders", orderForm("rare", "1", "")).status }
	require.Equal(t, []int{200, 200, 422}, []int{buy(), buy(), buy()})
	require.True(t, c.srv.SetStock("rare", 1))
	require.Equal(t, []int{200, 422}, []int{buy(), buy()})
	require.True(t, c.srv.SetStock("rare", -1))
	c.srv.SetBalance(9_00)
	require.Equal(t, []int{200, 200, 422}, []int{buy(), buy(), buy()})
	require.Zero(t, c.srv.Balance())
	require.Equal(t, 5, c.srv.SoldCount())
}

func TestTopupDescription(t *testing.T) {
	t.Parallel()
	overwritten := "Topup (" + exampleICCID + ")"
	tests := []struct {
		keeping Keeping
		sent    string
		want    any
	}{
		{Kept, "ref", "ref"},
		{Kept, "", overwritten},
		{Replaced, "ref", overwritten},
		{Nulled, "ref", nil},
	}
	for _, tt := range tests {
		t.Run(string(tt.keeping)+" "+tt.sent, func(t *testing.T) {
			t.Parallel()
			c := setup(t, Config{Knobs: Knobs{TopupDescription: tt.keeping}})
			a := c.topup(exampleICCID, tt.sent)
			require.Equal(t, 200, a.status, a.text)
			require.Equal(t, tt.want, a.at("data.description"))
			require.Equal(t, tt.want, c.get("orders").at("data.0.description"))
			require.Equal(t, "topup", a.at("data.type"))
			require.Len(t, c.srv.Ledger().Orders(tt.sent), 1)
		})
	}
}

func TestTopupOrdersMayShowTheirSim(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{})
	byICCID := url.Values{"filter[iccid]": {exampleICCID}, "include": {"sims"}}
	require.Equal(t, 200, c.topup(exampleICCID, "r").status)
	require.Empty(t, c.list(byICCID).at("data"))
	c.srv.Tune(func(k *Knobs) { k.TopupMatchesICCID = true })
	require.Len(t, c.list(byICCID).at("data"), 1)
	require.Equal(t, "absent", c.list(byICCID).at("data.0.sims"))
	c.srv.Tune(func(k *Knobs) { k.TopupSims = true })
	require.Equal(t, exampleICCID, c.list(byICCID).at("data.0.sims.0.iccid"))
}

func TestSimsThatAreReadyLate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		as                       NotReady
		submitted, early, status int
	}{
		{NotFound, 0, 0, 404},
		{NoQRCode, 2, 2, 200},
		{Partial, 1, 1, 404},
	}
	for _, tt := range tests {
		t.Run(string(tt.as), func(t *testing.T) {
			t.Parallel()
			c := setup(t, Config{Knobs: Knobs{NotReadyAs: tt.as}, Packages: []Package{{ID: "late", ReadyAfter: time.Minute}}})
			a := c.post("orders", orderForm("late", "2", "r"))
			require.Equal(t, 200, a.status)
			require.Len(t, a.at("data.sims"), tt.submitted)
			last := c.srv.Sold("r")[0].Sims[1].ICCID
			order := "orders/9666?include=sims,status"
			require.Len(t, c.get(order).at("data.sims"), tt.early)
			require.Equal(t, "pending", c.get(order).at("data.status.slug"))
			require.Equal(t, tt.status, c.get("sims/"+last).status)
			require.NotContains(t, c.get("sims/"+last).text, "LPA:1$")

			c.clock.advance(time.Minute)
			require.Len(t, c.get(order).at("data.sims"), 2)
			require.Equal(t, "completed", c.get(order).at("data.status.slug"))
			require.Contains(t, c.get("sims/"+last).at("data.qrcode"), "LPA:1$")
		})
	}
	t.Run("an answer may lack sims that are ready", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{Knobs: Knobs{AnswerWithoutSims: true}})
		require.Equal(t, "absent", c.order("r").at("data.sims"))
		require.Len(t, c.get("orders/9666?include=sims").at("data.sims"), 1)
	})
	t.Run("a top-up is pending too", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{Knobs: Knobs{ReadyAfter: time.Minute, Limits: map[Endpoint]Limit{History: {}}}})
		c.topup(exampleICCID, "r")
		require.Equal(t, "pending", c.get("orders/9666?include=status").at("data.status.slug"))
		require.Len(t, c.get("sims/"+exampleICCID+"/packages").at("data"), 1)
		c.clock.advance(time.Minute)
		require.Equal(t, "completed", c.get("orders/9666?include=status").at("data.status.slug"))
		require.Len(t, c.get("sims/"+exampleICCID+"/packages").at("data"), 2)
	})
}
