package pressonesim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
)

func TestDropAfterTheEffectSellsOnceAndAnswersNothing(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{})
	c.srv.Inject(Fault{Endpoint: Orders, When: After, Action: Drop, Times: 1})
	_, err := c.try(c.form("orders", orderForm(simPackage, "1", "ref")))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.Len(t, c.srv.Ledger().Orders("ref"), 1)
	require.Equal(t, []int{9666}, ids(t, c.list(url.Values{"filter[description]": {"ref"}})))
	c.order("ref")
	require.Len(t, c.srv.Ledger().Orders("ref"), 2)
}

func TestDropBeforeTheEffectSellsNothing(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{})
	c.srv.Inject(Fault{Endpoint: Topups, When: Before, Action: Drop, Times: 1})
	form := url.Values{"package_id": {topupPackage}, "iccid": {exampleICCID}, "description": {"ref"}}
	_, err := c.try(c.form("orders/topups", form))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.Empty(t, c.srv.Ledger().Sold)
	require.Equal(t, Cents(1_000_000_00), c.srv.Balance())
}

func TestAnswersApartFromEffects(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fault Fault
		check func(t *testing.T, a answer)
	}{
		{"a gateway's page", Fault{Action: Status, Status: 502}, func(t *testing.T, a answer) {
			t.Helper()
			require.Equal(t, 502, a.status)
			require.Contains(t, a.text, "<html>")
		}},
		{"a code with its own status", Fault{Action: Status, Code: 4033, Reason: "later"}, func(t *testing.T, a answer) {
			t.Helper()
			require.Equal(t, 503, a.status)
			require.InDelta(t, 4033, a.at("code"), 0)
			require.Equal(t, "later", a.at("reason"))
		}},
		{"a business code", Fault{Action: Status, Code: 53}, func(t *testing.T, a answer) {
			t.Helper()
			require.Equal(t, 422, a.status)
			require.InDelta(t, 53, a.at("code"), 0)
			require.Equal(t, "string", a.kind("reason"))
		}},
		{"429 with Retry-After", Fault{Action: Status, Status: 429, RetryAfter: 7 * time.Second}, func(t *testing.T, a answer) {
			t.Helper()
			require.Equal(t, 429, a.status)
			require.Equal(t, "7", a.header.Get("Retry-After"))
			require.Equal(t, "Too Many Attempts.", a.at("message"))
		}},
		{"404", Fault{Action: Status, Status: 404}, func(t *testing.T, a answer) {
			t.Helper()
			require.Equal(t, 404, a.status)
			require.Equal(t, "array", a.kind("data"))
		}},
		{"409", Fault{Action: Status, Status: 409}, func(t *testing.T, a answer) {
			t.Helper()
			require.Equal(t, 409, a.status)
		}},
		{"422 on a field", Fault{Action: Status, Status: 422}, func(t *testing.T, a answer) {
			t.Helper()
			require.Equal(t, "string", a.kind("data.package_id"))
		}},
		{"a body of one's own", Fault{Action: Status, Status: 200, Body: "<p>ok</p>", ContentType: "text/html"}, func(t *testing.T, a answer) {
			t.Helper()
			require.Equal(t, 200, a.status)
			require.Equal(t, "<p>ok</p>", a.text)
		}},
		{"JSON that breaks off", Fault{Action: Garbled}, func(t *testing.T, a answer) {
			t.Helper()
			require.Equal(t, 200, a.status)
			require.Contains(t, a.text, `{"data":`)
			require.Nil(t, a.tree)
		}},
		{"no id", Fault{Action: MissingID}, func(t *testing.T, a answer) {
			t.Helper()
			require.Equal(t, 200, a.status)
			require.Equal(t, "object", a.kind("data"))
			require.Equal(t, "absent", a.at("data.id"))
		}},
		{"a redirect to itself", Fault{Action: Redirect}, func(t *testing.T, a answer) {
			t.Helper()
			require.Equal(t, 307, a.status)
			require.Equal(t, "/customer/v2/orders", a.header.Get("Location"))
		}},
	}
	for _, tt := range tests {
		for when, sold := range map[When]int{Before: 0, After: 1} {
			t.Run(tt.name+" "+string(when), func(t *testing.T) {
				t.Parallel()
				c := setup(t, Config{})
				fault := tt.fault
				fault.When, fault.Endpoint, fault.Times = when, Orders, 1
				c.srv.Inject(fault)
				tt.check(t, c.post("orders", orderForm(simPackage, "1", "ref")))
				require.Len(t, c.srv.Ledger().Orders("ref"), sold)
				require.Equal(t, 1, c.srv.Faults()[0].Hits)
				c.order("ref")
				require.Len(t, c.srv.Ledger().Orders("ref"), sold+1)
			})
		}
	}
}

func TestRefusalsAreNotSpoiltAfterAnEffectThatWasNot(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{Packages: []Package{{ID: "gone", Stock: new(0)}}})
	c.srv.Inject(Fault{Endpoint: Orders, When: After, Action: Status, Status: 500, Times: 1})
	a := c.post("orders", orderForm("gone", "1", "ref"))
	require.Equal(t, 422, a.status)
	require.Zero(t, c.srv.Faults()[0].Hits)
	require.Equal(t, 500, c.post("orders", orderForm(simPackage, "1", "ref")).status)
}

func TestFaultsMatch(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{Packages: []Package{{ID: "cursed"}}})
	spoilt := func(f Fault, a func() answer) bool {
		f.Action, f.Status = Status, 599
		id := c.srv.Inject(f)
		defer c.srv.ClearFault(id)
		return a().status == 599
	}
	buy := func(pkg, description string) func() answer {
		return func() answer { return c.post("orders", orderForm(pkg, "1", description)) }
	}
	require.Equal(t, 200, buy("cursed", "ref")().status)
	iccid := c.srv.Sold("ref")[0].Sims[0].ICCID
	get := func(path string) func() answer { return func() answer { return c.get(path) } }

	require.True(t, spoilt(Fault{PackageID: "cursed"}, buy("cursed", "x")))
	require.False(t, spoilt(Fault{PackageID: "cursed"}, buy(simPackage, "x")))
	require.True(t, spoilt(Fault{Description: "ref"}, buy(simPackage, "ref")))
	require.False(t, spoilt(Fault{Description: "ref"}, buy(simPackage, "reference")))
	require.True(t, spoilt(Fault{ICCID: exampleICCID}, func() answer { return c.topup(exampleICCID, "x") }))
	require.False(t, spoilt(Fault{ICCID: exampleICCID}, func() answer { return c.topup(DefaultICCIDs()[1], "x") }))
	require.True(t, spoilt(Fault{}, get("balance")))
	require.False(t, spoilt(Fault{Endpoint: Orders}, get("orders")))
	require.True(t, spoilt(Fault{Endpoint: OrderList, Description: "ref"}, get("orders?"+url.Values{"filter[description]": {"ref"}}.Encode())))
	require.True(t, spoilt(Fault{Endpoint: OneOrder, PackageID: "cursed"}, get("orders/9666")))
	require.True(t, spoilt(Fault{Endpoint: OneSim, PackageID: "cursed", ICCID: iccid}, get("sims/"+iccid)))
	require.True(t, spoilt(Fault{Endpoint: OneSim, Description: "ref"}, get("sims/"+iccid)))
	require.False(t, spoilt(Fault{Endpoint: OneSim, PackageID: "cursed"}, get("sims/"+exampleICCID)))
	require.True(t, spoilt(Fault{Endpoint: TopupList, ICCID: exampleICCID, When: After}, get("sims/"+exampleICCID+"/topups")))
}

func TestFaultsSkipAndEnd(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{})
	c.srv.Inject(Fault{ID: "f", Endpoint: GetBalance, Action: Status, Status: 503, Skip: 1, Times: 2})
	var got []int
	for range 5 {
		got = append(got, c.get("balance").status)
	}
	require.Equal(t, []int{200, 503, 503, 200, 200}, got)

	c.srv.Inject(Fault{ID: "f", Endpoint: GetBalance, Action: Status, Status: 504})
	require.Len(t, c.srv.Faults(), 1)
	require.Equal(t, 504, c.get("balance").status)
	require.True(t, c.srv.ClearFault("f"))
	require.False(t, c.srv.ClearFault("f"))
	require.Equal(t, 200, c.get("balance").status)
}

func TestCallsWithoutTokenDoNotUseUpFaults(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{})
	c.srv.Inject(Fault{Endpoint: Orders, Action: Status, Status: 500, Times: 1})
	c.srv.ExpireTokens()
	require.Equal(t, 401, c.post("orders", orderForm(simPackage, "1", "ref")).status)
	c.login()
	require.Equal(t, 500, c.post("orders", orderForm(simPackage, "1", "ref")).status)
}

func TestReadsAreSpoiltToo(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{})
	c.order("ref")
	c.srv.Inject(Fault{Endpoint: OneOrder, Action: Garbled, Times: 1})
	a := c.get("orders/9666")
	require.Equal(t, 200, a.status)
	require.Nil(t, a.tree)
	require.Contains(t, a.text, "9666")
	c.srv.Inject(Fault{Endpoint: OrderList, Action: MissingID, Times: 1})
	list := c.get("orders")
	require.Equal(t, "absent", list.at("data.0.id"))
	require.Equal(t, simPackage, list.at("data.0.package_id"))
	c.srv.Inject(Fault{Endpoint: OneSim, Action: Drop, Times: 1})
	_, err := c.try(c.request(http.MethodGet, "sims/"+exampleICCID, "", nil))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

// leave sends a request, breaks it off when the simulator has received it, and reports whether that was before the answer.
func (c *client) leave(req *http.Request, arrived func() bool) (left bool) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan error, 1)
	go func() {
		resp, err := c.http.Do(req.WithContext(ctx))
		if err == nil {
			_ = resp.Body.Close()
		}
		done <- err
	}()
	require.Eventually(c.t, arrived, 60*time.Second, time.Millisecond)
	cancel()
	err := <-done
	require.True(c.t, err == nil || errors.Is(err, context.Canceled), "%v", err)
	return err != nil
}

func TestSlowCalls(t *testing.T) {
	t.Parallel()
	t.Run("before the effect, a client that leaves buys nothing", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{})
		c.srv.Inject(Fault{Endpoint: Orders, Action: Slow, Delay: time.Hour})
		require.True(t, c.leave(c.form("orders", orderForm(simPackage, "1", "ref")), func() bool { return c.srv.Requests(Orders) == 1 }))
		c.srv.Close()
		require.Empty(t, c.srv.Ledger().Sold)
	})
	t.Run("detached, it has bought all the same", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{})
		ref, left, n := "", false, 0
		for delay := 50 * time.Millisecond; !left; delay *= 2 { // on a busy machine the answer may come before it leaves
			n++
			ref = fmt.Sprint("ref-", n)
			c.srv.Inject(Fault{ID: "slow", Endpoint: Orders, Action: Slow, Delay: delay, Detached: true})
			left = c.leave(c.form("orders", orderForm(simPackage, "1", ref)), func() bool { return c.srv.Requests(Orders) == n })
		}
		require.Eventually(t, func() bool { return len(c.srv.Sold(ref)) == 1 }, 60*time.Second, time.Millisecond)
	})
	t.Run("after the effect, the order is there before the answer", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{})
		c.srv.Inject(Fault{Endpoint: Orders, When: After, Action: Slow, Delay: time.Hour})
		require.True(t, c.leave(c.form("orders", orderForm(simPackage, "1", "ref")), func() bool { return c.srv.SoldCount() == 1 }))
		require.Len(t, c.srv.Sold("ref"), 1)
	})
	t.Run("they do answer in the end", func(t *testing.T) {
		t.Parallel()
		c := setup(t, Config{Knobs: Knobs{Latency: 10 * time.Millisecond, Latencies: map[Endpoint]time.Duration{Token: 0}}})
		c.srv.Inject(Fault{Endpoint: Orders, Action: Slow, Delay: 30 * time.Millisecond})
		start := time.Now()
		c.order("ref")
		require.GreaterOrEqual(t, time.Since(start), 40*time.Millisecond)
	})
}

func TestHangingCallsEndWithTheServer(t *testing.T) {
	t.Parallel()
	for when, sold := range map[When]int{Before: 0, After: 1} {
		t.Run(string(when), func(t *testing.T) {
			t.Parallel()
			c := setup(t, Config{})
			c.srv.Inject(Fault{Endpoint: Orders, When: when, Action: Hang})
			done := make(chan error, 1)
			req := c.form("orders", orderForm(simPackage, "1", "ref"))
			go func() {
				_, err := c.try(req)
				done <- err
			}()
			require.Eventually(t, func() bool { return c.srv.Faults()[0].Hits == 1 }, 60*time.Second, time.Millisecond)
			c.srv.Close()
			err := <-done
			require.True(t, errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET), "%v", err)
			require.Equal(t, sold, c.srv.SoldCount())
		})
	}
}

func TestAnOutageKeepsTheBooks(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{})
	c.order("ref")
	c.srv.Close()
	port, err := devstack.FreePort() // nobody else is given it while it is away
	require.NoError(t, err)
	c.srv, err = c.srv.Serve(fmt.Sprint("127.0.0.1:", port))
	require.NoError(t, err)
	require.Equal(t, []int{9666}, ids(t, c.get("orders")))
	c.srv.Close()
	_, err = c.try(c.request(http.MethodGet, "orders", "", nil))
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	again, err := c.srv.Serve(c.srv.Addr())
	require.NoError(t, err)
	t.Cleanup(again.Close)
	require.Equal(t, []int{9666}, ids(t, c.get("orders")))
}

func TestInjectRefusesNonsense(t *testing.T) {
	t.Parallel()
	s := New(Config{})
	for name, f := range map[string]Fault{
		"no action":  {},
		"action":     {Action: "explode"},
		"endpoint":   {Action: Drop, Endpoint: "order-list"},
		"moment":     {Action: Drop, When: "during"},
		"no status":  {Action: Status},
		"bad status": {Action: Status, Status: 99},
		"no delay":   {Action: Slow},
		"negative":   {Action: Drop, Times: -1},
	} {
		require.Panics(t, func() { s.Inject(f) }, name)
	}
	require.Empty(t, s.Faults())
}
