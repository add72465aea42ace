package pressonesim

import (
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestChaosRepeatsItself(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) (story []string, sold int) {
		c := setup(t, Config{Chaos: Chaos{Rate: 0.4, Seed: seed, SlowFor: time.Millisecond}})
		for i := range 120 {
			a, err := c.try(c.form("orders", orderForm(simPackage, "1", fmt.Sprint("r", i))))
			what := fmt.Sprint(a.status, len(a.text))
			if err != nil {
				what = "dropped"
			}
			story = append(story, fmt.Sprint(what, " ", c.srv.SoldCount()))
		}
		return story, c.srv.SoldCount()
	}
	first, sold := run(7)
	second, _ := run(7)
	other, _ := run(8)
	require.Equal(t, first, second)
	require.NotEqual(t, first, other)
	require.Greater(t, sold, 60)
	require.Less(t, sold, 120)
}

// Under chaos the books and the answers may differ in one direction each: an
// order that was answered properly exists, and an answer that says nothing was
// done is true.
func TestChaosNeverLiesAboutEffects(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{Chaos: Chaos{Rate: 0.8, Seed: 3, SlowFor: time.Millisecond, Reads: true}})
	seen := map[int]bool{}
	lost, harmless := 0, 0
	for i := range 300 {
		ref := fmt.Sprint("r", i, ".")
		a, err := c.try(c.form("orders", orderForm(simPackage, "1", ref)))
		sold := len(c.srv.Sold(ref))
		require.LessOrEqual(t, sold, 1)
		seen[a.status] = true
		code, _ := a.at("code").(float64)
		switch {
		case err == nil && a.status == 200 && a.kind("data.id") == "number":
			require.Equal(t, 1, sold)
		case a.status == 429 || code == 13:
			harmless++
			require.Zero(t, sold)
		case sold == 1:
			lost++
		}
	}
	require.Positive(t, lost)
	require.Positive(t, harmless)
	for _, status := range []int{0, 200, 307, 409, 422, 429, 500, 502, 503, 504} {
		require.True(t, seen[status], status)
	}
}

// A fault that only slows a call down does not carry chaos over to after its effect.
func TestChaosBesideAFaultNeverLies(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{
		Chaos:  Chaos{Rate: 1, Seed: 3, Actions: []Action{Status}},
		Faults: []Fault{{Endpoint: Orders, Action: Slow, Delay: time.Millisecond}},
	})
	for i := range 60 {
		ref := fmt.Sprint("r", i, ".")
		a, err := c.try(c.form("orders", orderForm(simPackage, "1", ref)))
		require.NoError(t, err)
		if code, _ := a.at("code").(float64); a.status == 429 || code == 13 {
			require.Empty(t, c.srv.Sold(ref), "it said that nothing was done")
		}
	}
}

func TestChaosLeavesReadsAlone(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{Chaos: Chaos{Rate: 1, Actions: []Action{Status}}})
	require.Equal(t, 200, c.get("balance").status)
	require.NotEqual(t, 200, c.post("orders", orderForm(simPackage, "1", "r")).status)
	c.srv.SetChaos(Chaos{Rate: 1, Actions: []Action{Status}, Reads: true})
	require.NotEqual(t, 200, c.get("balance").status)
	c.login()
	c.srv.SetChaos(Chaos{})
	require.Equal(t, 200, c.get("balance").status)
	require.Panics(t, func() { c.srv.SetChaos(Chaos{Rate: 2}) })
	require.Panics(t, func() { c.srv.SetChaos(Chaos{Actions: []Action{"x"}}) })
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	const workers, each = 16, 25
	c := setup(t, Config{Packages: []Package{{ID: "rare", Stock: new(100)}}})
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				ref := fmt.Sprintf("w%02d-%03d", w, i)
				_, err := c.try(c.form("orders", orderForm("rare", "1", ref)))
				if err == nil {
					_, err = c.try(c.request("GET", "orders?"+url.Values{"filter[description]": {ref}, "include": {"sims,status"}}.Encode(), "", nil))
				}
				if err == nil {
					_, err = c.try(c.request("GET", "sims?include=order.status", "", nil))
				}
				if err != nil {
					t.Error(err)
				}
				c.srv.Tune(func(k *Knobs) { k.Rendering = Mixed })
				c.srv.Inject(Fault{ID: "f", Endpoint: Devices, Action: Drop})
				c.srv.Sold(ref)
				c.srv.SetOrderStatus(9666, Refunded)
			}
		})
	}
	wg.Wait()
	l := c.srv.Ledger()
	require.Equal(t, 100, l.Count())
	require.Empty(t, l.Doubles())
	require.Equal(t, 1_000_000_00-l.Revenue(), c.srv.Balance())
	require.Equal(t, workers*each, c.srv.Requests(Orders))
	cards := map[string]bool{}
	for _, o := range l.Sold {
		cards[o.Sims[0].ICCID] = true
	}
	require.Len(t, cards, 100)
}
