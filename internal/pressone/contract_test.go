package pressone

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/pressonesim"
)

// simulated starts a PressOne that keeps the truth, and a client of it.
func simulated(tb testing.TB, cfg pressonesim.Config) (*pressonesim.Server, *Client) {
	tb.Helper()
	cfg.ClientID, cfg.ClientSecret = "client", canarySecret
	s, err := pressonesim.Start(cfg)
	require.NoError(tb, err)
	tb.Cleanup(s.Close)
	c := newClient(tb, s.URL(), func(c *Config) { c.ClientID, c.Tokens = "client", nil })
	return s, c
}

// TestContract makes every call against the simulator, which was written from PressOne's documentation apart from this
// package, in every rendering of types.
func TestContract(t *testing.T) {
	t.Parallel()
	const sim = "8934000000000008728"
	for _, rendering := range []pressonesim.Rendering{pressonesim.Documented, pressonesim.Numbers, pressonesim.Strings, pressonesim.Mixed} {
		t.Run(string(rendering), func(t *testing.T) {
			t.Parallel()
			_, c := simulated(t, pressonesim.Config{Knobs: pressonesim.Knobs{
				Rendering: rendering, PackagesAsObject: true, MaxPageSize: 3, UsageAge: -1,
			}})
			ctx := t.Context()

			packages, err := c.Packages(ctx)
			require.NoError(t, err)
			var id string
			for _, p := range packages {
				require.NotEmpty(t, p.Price)
				if !strings.Contains(p.ID, "-topup") {
					id = p.ID
				}
			}
			require.NotEmpty(t, id)

			var bought []Receipt
			for i := range 8 {
				r, err := c.SubmitOrder(ctx, goAhead, OrderRequest{PackageID: id, Quantity: 2, Description: fmt.Sprintf("ref%07d", i)})
				require.NoError(t, err)
				require.Equal(t, 2, r.Order.Quantity)
				require.Len(t, r.Order.Sims, 2)
				require.True(t, r.Order.Sims[0].Installable())
				require.NotEmpty(t, r.Order.Price)
				require.False(t, r.Order.CreatedAt.IsZero())
				bought = append(bought, r)
			}
			one := bought[3].Order

			got, err := c.Order(ctx, one.ID)
			require.NoError(t, err)
			require.Equal(t, "completed", got.Status)
			require.Equal(t, one.Price, got.Price, "a number here, text there, the same amount")
			require.Len(t, got.Sims, 2)

			found, err := c.Orders(ctx, OrderFilter{Description: "ref0000003", Details: true})
			require.NoError(t, err)
			require.Len(t, found, 1)
			require.Equal(t, "ref0000003", *found[0].Description)
			require.Equal(t, one.ID, found[0].ID)

			all, err := c.Orders(ctx, OrderFilter{CreatedFrom: time.Now().Add(-24 * time.Hour), CreatedTo: time.Now().Add(24 * time.Hour)})
			require.NoError(t, err)
			require.Len(t, all, 8, "three on a page")

			esim, err := c.Sim(ctx, one.Sims[0].ICCID)
			require.NoError(t, err)
			require.True(t, esim.Installable())
			require.Equal(t, one.Sims[0].MatchingID, esim.MatchingID)

			offered, err := c.Topups(ctx, sim)
			require.NoError(t, err)
			require.NotEmpty(t, offered)
			topup, err := c.SubmitTopup(ctx, goAhead, TopupRequest{PackageID: offered[0].ID, ICCID: sim, Description: "top0000001"})
			require.NoError(t, err)
			require.Equal(t, "topup", topup.Order.Type)

			balance, err := c.Balance(ctx)
			require.NoError(t, err)
			require.True(t, balance.Known)
			require.NotEmpty(t, balance.Amount)
		})
	}
}

// TestFaults asserts on what PressOne really did: whatever is not Unknown must be true.
func TestFaults(t *testing.T) {
	t.Parallel()
	order := OrderRequest{PackageID: "change-7days-1gb", Quantity: 1, Description: "ref0000001"}
	for _, action := range []pressonesim.Action{
		pressonesim.Drop, pressonesim.Status, pressonesim.Garbled, pressonesim.MissingID, pressonesim.Redirect, pressonesim.Hang,
	} {
		for _, when := range []pressonesim.When{pressonesim.Before, pressonesim.After} {
			t.Run(string(action)+" "+string(when), func(t *testing.T) {
				t.Parallel()
				s, c := simulated(t, pressonesim.Config{Faults: []pressonesim.Fault{
					{Endpoint: pressonesim.Orders, Action: action, When: when, Status: 502, Times: 1},
				}})
				want := 0
				if when == pressonesim.After {
					want = 1
				}
				ctx := newOverdue()
				defer ctx.expire()
				go func() { // who hangs is not waited for any longer when it has done what it does
					for tick := time.NewTicker(time.Millisecond); ; {
						select {
						case <-ctx.Done():
							tick.Stop()
							return
						case <-tick.C:
						}
						if action == pressonesim.Hang && s.Faults()[0].Hits == 1 && s.SoldCount() == want {
							ctx.expire()
						}
					}
				}()
				_, err := c.SubmitOrder(ctx, goAhead, order)
				e := requireError(t, err)
				require.Equal(t, Unknown, e.Disposition)
				require.False(t, e.NotSent)
				require.Len(t, s.Ledger().Orders(order.Description), want, "once at most")
				found, err := c.Orders(t.Context(), OrderFilter{Description: order.Description})
				require.NoError(t, err)
				require.Len(t, found, want)
			})
		}
	}
	for name, tt := range map[string]struct {
		knobs pressonesim.Knobs
		fault pressonesim.Fault
		order OrderRequest
		want  Disposition
		class string
	}{
		"422 with 11":        {fault: pressonesim.Fault{Action: pressonesim.Status, Status: 422, Code: 11}, want: Refused, class: ClassInsufficientCredit},
		"402":                {fault: pressonesim.Fault{Action: pressonesim.Status, Status: 402, Code: 4007}, want: Refused, class: ClassInsufficientCredit},
		"out of stock":       {fault: pressonesim.Fault{Action: pressonesim.Status, Status: 422, Code: 33}, want: Refused, class: ClassOutOfStock},
		"maintenance":        {fault: pressonesim.Fault{Action: pressonesim.Status, Status: 422, Code: 13}, want: NotApplied, class: ClassRejected},
		"limited":            {fault: pressonesim.Fault{Action: pressonesim.Status, Status: 429, RetryAfter: 7 * time.Second}, want: NotApplied, class: ClassRejected},
		"unavailable":        {fault: pressonesim.Fault{Action: pressonesim.Status, Status: 503, Code: 4033}, want: Unknown, class: ClassRejected},
		"unknown package":    {order: OrderRequest{PackageID: "nothing", Quantity: 1, Description: "d"}, want: Refused, class: ClassRejected},
		"the same, by field": {knobs: pressonesim.Knobs{BadPackage: pressonesim.E2, ValidationStatus: 400}, order: OrderRequest{PackageID: "nothing", Quantity: 1, Description: "d"}, want: Refused, class: ClassRejected},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := pressonesim.Config{Knobs: tt.knobs}
			if tt.fault.Action != "" {
				tt.fault.Endpoint = pressonesim.Orders
				cfg.Faults = []pressonesim.Fault{tt.fault}
			}
			s, c := simulated(t, cfg)
			if tt.order.PackageID == "" {
				tt.order = order
			}
			_, err := c.SubmitOrder(t.Context(), goAhead, tt.order)
			e := requireError(t, err)
			require.Equal(t, tt.want, e.Disposition)
			require.Equal(t, tt.class, e.Class())
			require.Equal(t, tt.fault.RetryAfter, e.RetryAfter)
			require.Zero(t, s.Ledger().Count())
		})
	}
}
