package main

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"esimflow/internal/audit"
	"esimflow/internal/pressone"
	"esimflow/internal/pressonesim"
	"esimflow/internal/saga"
)

// buyByHand buys at PressOne without asking anybody.
func buyByHand(s *stack, description string) pressone.Order {
	s.t.Helper()
	c, err := pressone.New(pressone.Config{BaseURL: s.env["PRESSONE_BASE_URL"], ClientID: "client", ClientSecret: "secret"})
	require.NoError(s.t, err)
	defer c.Close()
	r, err := c.SubmitOrder(context.Background(), func() error { return nil }, pressone.OrderRequest{
		PackageID: aPackage, Quantity: 1, Description: description,
	})
	require.NoError(s.t, err)
	return r.Order
}

// An operator audits: first the books agree; then an order appears that PressOne had sold
// without listing it, and one that somebody bought by hand.
func TestAudits(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	require.Contains(t, s.exits(exitOK, "audit", "findings").err, "No finding")
	s.ok("order", "submit", "--package", aPackage, "--request-id", "plain", "--wait")
	s.awaitState("plain", saga.Completed)
	clean := s.exits(exitOK, "audit")
	require.Contains(t, clean.out, "1: 1 with their saga")
	require.Contains(t, clean.err, "a worker does it", "whoever is impatient may go")
	require.NotContains(t, clean.err, " days, ", "a bar is for terminals")

	const hidden = "sold-and-hidden"
	s.sim.AddPackage(pressonesim.Package{ID: hidden, Price: 450, AmountMB: 1000, Days: 7})
	s.sim.Tune(func(k *pressonesim.Knobs) { k.ListLag = time.Hour })
	s.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, PackageID: hidden, When: pressonesim.After, Action: pressonesim.Drop, Times: 1})
	s.ok("order", "submit", "--package", hidden, "--request-id", hidden)
	s.awaitState(hidden, saga.DeadLettered)
	s.sim.Tune(func(k *pressonesim.Knobs) { k.ListLag = 0 })
	byHand := buyByHand(s, "for the trade fair")

	r := s.exits(exitFailed, "audit", "--json")
	report := fromJSON[audit.Report](t, r.out)
	require.Len(t, report.Findings, 2)
	require.Equal(t, audit.Adopted, report.Findings[0].Status)
	require.Equal(t, hidden, report.Findings[0].RequestID)
	require.Equal(t, byHand.ID, report.Findings[1].OrderID)
	require.Contains(t, r.err, "1 finding is open")
	require.NotContains(t, r.out, "LPA:")
	s.awaitState(hidden, saga.Completed)
	require.Len(t, s.sim.Ledger().Package(hidden), 1)
	require.Contains(t, s.ok("saga", "show", hidden), "by audit")

	shown := s.exits(exitFailed, "audit", "show", report.ID.String()).out
	require.Contains(t, shown, "nobody here has asked for it")
	require.Contains(t, s.ok("audit", "findings"), "for the trade fair")
	finding := report.Findings[1].ID.String()
	require.Contains(t, s.exits(exitUsage, "audit", "dismiss", finding).err, "--reason")
	require.Contains(t, s.ok("audit", "dismiss", finding, "--reason", "marketing"), "dismissed")
	require.Contains(t, s.exits(exitRefused, "audit", "dismiss", finding, "--reason", "marketing").err, "dismissed already")
	require.Contains(t, s.ok("audit", "findings", "--status", "dismissed"), "marketing")
	s.ok("audit")
	require.Contains(t, s.ok("audit", "list"), "done")

	detached := okJSON[audit.Run](s, "audit", "--detach", "--from", "2026-01-01", "--to", "2026-01-02")
	require.Equal(t, "maria", detached.RequestedBy)
	require.Contains(t, s.exits(exitRefused, "audit", "--from", "2026-01-02", "--to", "2026-01-01").err, "before the first")
	require.Contains(t, s.exits(exitUsage, "audit", "--from", "yesterday").err, "is not a day")
	s.exits(exitNotFound, "audit", "show", uuid.NewString())
	s.exits(exitNotFound, "audit", "dismiss", uuid.NewString(), "--reason", "x")
	s.exits(exitUsage, "audit", "show", "nonsense")
}
