package pressonesim

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ids are those of the orders in a list.
func ids(t *testing.T, a answer) []int {
	t.Helper()
	require.Equal(t, 200, a.status, a.text)
	data, ok := a.at("data").([]any)
	require.True(t, ok, a.text)
	list := []int{}
	for _, v := range data {
		list = append(list, answer{tree: v}.int("id"))
	}
	return list
}

func TestOrderListPages(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{})
	for i := range 7 {
		c.order(fmt.Sprint("r", i))
	}
	first := c.get("orders?limit=3")
	require.Equal(t, []int{9672, 9671, 9670}, ids(t, first))
	require.Equal(t, "3", first.at("meta.per_page"))
	require.InDelta(t, 7, first.at("meta.total"), 0)
	require.InDelta(t, 3, first.at("meta.last_page"), 0)
	require.Nil(t, first.at("links.prev"))
	require.Equal(t, c.srv.URL()+"/orders?page=2", first.at("links.next"))

	last := c.get("orders?limit=3&page=3")
	require.Equal(t, []int{9666}, ids(t, last))
	require.Nil(t, last.at("links.next"))
	require.InDelta(t, 7, last.at("meta.from"), 0)
	require.InDelta(t, 7, last.at("meta.to"), 0)

	beyond := c.get("orders?limit=3&page=9")
	require.Empty(t, ids(t, beyond))
	require.Nil(t, beyond.at("meta.from"))

	for _, status := range []int{422, 400} {
		c.srv.Tune(func(k *Knobs) { k.ValidationStatus = status })
		bad := c.get("orders?limit=x&page=y")
		require.Equal(t, status, bad.status)
		require.Equal(t, "The limit must be an integer.", bad.at("data.limit"))
		require.Equal(t, "The page must be an integer.", bad.at("data.page"))
		require.Equal(t, "the parameter is invalid", bad.at("meta.message"))
	}
}

func TestOrderListFilters(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{})
	c.order("Reference-AB12")       // 9666
	c.order("reference-ab123")      // 9667
	c.order("100% sure_1")          // 9668
	c.clock.advance(24 * time.Hour) // 28 February
	c.login()
	require.Equal(t, 200, c.topup(exampleICCID, "T").status) // 9669
	c.order("100 percent sure-1")                            // 9670
	require.True(t, c.srv.SetOrderStatus(9667, Refunded))
	iccid := c.srv.Sold("100% sure_1")[0].Sims[0].ICCID

	tests := []struct {
		name  string
		knobs Knobs
		query url.Values
		want  []int
	}{
		{"none", Knobs{}, url.Values{}, []int{9670, 9669, 9668, 9667, 9666}},
		{"an empty value", Knobs{}, url.Values{"filter[description]": {""}}, []int{9670, 9669, 9668, 9667, 9666}},
		{"part of a description, any case", Knobs{}, url.Values{"filter[description]": {"ence-ab12"}}, []int{9667, 9666}},
		{"part of a description, this case", Knobs{LikeCaseSensitive: true}, url.Values{"filter[description]": {"ence-AB12"}}, []int{9666}},
		{"wildcards", Knobs{}, url.Values{"filter[description]": {"100%sure_1"}}, []int{9670, 9668}},
		{"wildcards escaped", Knobs{LikeEscaped: true}, url.Values{"filter[description]": {"100% sure_1"}}, []int{9668}},
		{"code", Knobs{}, url.Values{"filter[code]": {"20230228-"}}, []int{9670, 9669}},
		{"iccid", Knobs{}, url.Values{"filter[iccid]": {iccid[5:]}}, []int{9668}},
		{"status", Knobs{}, url.Values{"filter[order_status]": {"refunded"}}, []int{9667}},
		{"a status nobody has", Knobs{}, url.Values{"filter[order_status]": {"nope"}}, []int{}},
		{"days", Knobs{}, url.Values{"filter[created_at]": {"2023-02-27 - 2023-02-27"}}, []int{9668, 9667, 9666}},
		{"two at once", Knobs{}, url.Values{"filter[created_at]": {"2023-02-28 - 2023-03-01"}, "filter[description]": {"100"}}, []int{9670}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c.srv.SetKnobs(tt.knobs)
			require.Equal(t, tt.want, ids(t, c.list(tt.query)))
		})
	}
	t.Run("days written otherwise", func(t *testing.T) {
		require.Equal(t, 422, c.list(url.Values{"filter[created_at]": {"2023-02-27"}}).status)
	})
}

func TestOrdersBecomeVisibleLate(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{
		Knobs:    Knobs{ListLag: 5 * time.Second, OrderLag: 2 * time.Second},
		Packages: []Package{{ID: "hidden-long", ListLag: time.Hour}},
	})
	c.order("r")
	require.Equal(t, 200, c.post("orders", orderForm("hidden-long", "1", "r")).status)
	require.Empty(t, ids(t, c.get("orders")))
	require.Equal(t, 401, c.get("orders/9666").status)
	c.clock.advance(2 * time.Second)
	require.Empty(t, ids(t, c.get("orders")))
	require.Equal(t, 200, c.get("orders/9666").status)
	c.clock.advance(3 * time.Second)
	require.Equal(t, []int{9666}, ids(t, c.get("orders")))
	c.clock.advance(time.Hour)
	require.Equal(t, []int{9667, 9666}, ids(t, c.get("orders")))
	c.srv.Tune(func(k *Knobs) { k.ListLag = 24 * time.Hour })
	require.Empty(t, ids(t, c.get("orders")))
	require.Equal(t, 2, c.srv.SoldCount())
}

func TestUnknownOrder(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{})
	a := c.get("orders/9666")
	require.Equal(t, 401, a.status)
	require.Equal(t, "This action is unauthorized.", a.at("meta.message"))
	require.Equal(t, "array", a.kind("data"))
	require.Equal(t, 404, c.get("orders/20230227-009666").status)
	c.srv.Tune(func(k *Knobs) { k.UnknownOrder = 404 })
	require.Equal(t, 404, c.get("orders/9666").status)
}

func TestFailedRows(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{Knobs: Knobs{FailedRows: true}, Packages: []Package{{ID: "gone", Stock: new(0)}}})
	require.Equal(t, 422, c.post("orders", orderForm("gone", "1", "r1")).status)
	c.srv.Inject(Fault{Endpoint: Orders, Action: Status, Status: 500, Code: 5001, Times: 1})
	require.Equal(t, 500, c.post("orders", orderForm(simPackage, "1", "r2")).status)
	c.srv.Inject(Fault{Endpoint: Orders, Action: Status, Status: 429, Times: 1})
	require.Equal(t, 429, c.post("orders", orderForm(simPackage, "1", "r3")).status)
	c.order("r2")

	require.Equal(t, []int{9668, 9667, 9666}, ids(t, c.get("orders")))
	failed := c.list(url.Values{"filter[order_status]": {"failed"}, "include": {"sims,status"}})
	require.Equal(t, []int{9667, 9666}, ids(t, failed))
	require.Equal(t, "Failed", failed.at("data.0.status.name"))
	require.Empty(t, failed.at("data.0.sims"))
	require.Equal(t, []int{9668, 9667}, ids(t, c.list(url.Values{"filter[description]": {"r2"}})))
	l := c.srv.Ledger()
	require.Len(t, l.Sold, 1)
	require.Len(t, l.Failed, 2)
	require.Equal(t, Cents(9_50), l.Revenue())
	require.Len(t, c.srv.Sold("r2"), 1)
}

func TestSimList(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{})
	c.clock.advance(24 * time.Hour)
	c.login()
	c.order("r")
	a := c.get("sims?limit=5&page=2")
	require.Len(t, a.at("data"), 5)
	require.InDelta(t, len(DefaultICCIDs())+1, a.at("meta.total"), 0)
	sold := c.srv.Sold("r")[0].Sims[0].ICCID
	require.Equal(t, sold, c.get("sims?"+url.Values{"filter[iccid]": {sold[3:]}}.Encode()).at("data.0.iccid"))
	require.Len(t, c.get("sims?"+url.Values{"filter[created_at]": {"2023-02-28 - 2023-02-28"}}.Encode()).at("data"), 1)
}

func TestLike(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pattern, value string
		want           bool
	}{
		{"%", "", true},
		{"%a%", "bab", true},
		{"%a_c%", "xabcx", true},
		{"%a_c%", "xacx", false},
		{"%a%b%c", "a1b2c", true},
		{"%a%b%c", "a1b2cd", false},
		{`%\%%`, "50%", true},
		{`%\%%`, "50", false},
		{`%\_%`, "a_b", true},
		{`%\_%`, "ab", false},
		{"%aaab%", "aaaaaab", true},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, like(tt.pattern, tt.value), "%q in %q", tt.pattern, tt.value)
	}
}
