package main

import (
	"context"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"esimflow/internal/saga"
)

// How many rows are listed, and the most that the API gives at once.
const (
	defaultRows = 100
	mostRows    = 10_000
)

func newSagaListCommand(c *cli) *cobra.Command {
	var state, kind, requestID, iccid string
	var orderID int64
	var limit int
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List sagas, the youngest first",
		Long:    "List sagas, the youngest first. With several filters, those that match all of them.",
		Example: `  esimctl saga list --state unknown`,
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("state", state, states()); err != nil {
				return err
			}
			if err := oneOf("kind", kind, kinds()); err != nil {
				return err
			}
			if err := checkICCID(iccid); err != nil {
				return err
			}
			if err := checkLimit(limit); err != nil {
				return err
			}
			if cmd.Flags().Changed("order-id") && orderID <= 0 {
				return usagef("--order-id %d is not the id of an order", orderID)
			}
			return c.sagaList(cmd.Context(), query(
				"state", state, "kind", kind, "request_id", requestID, "iccid", iccid,
				"order_id", number(orderID), "limit", strconv.Itoa(limit)), !cmd.Flags().Changed("limit"))
		},
	}
	f := cmd.Flags()
	f.StringVar(&state, "state", "", "only those in this state")
	f.StringVar(&kind, "kind", "", "order or topup")
	f.StringVar(&requestID, "request-id", "", "only those of this request")
	f.StringVar(&iccid, "iccid", "", "only top-ups of this eSIM")
	f.Int64Var(&orderID, "order-id", 0, "only the one that owns this PressOne order")
	f.IntVar(&limit, "limit", defaultRows, "how many at the most")
	complete(cmd, "state", states())
	complete(cmd, "kind", kinds())
	return cmd
}

// sagaList lists what q chooses; hint says how to see more if there may be more.
func (c *cli) sagaList(ctx context.Context, q url.Values, hint bool) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	all, err := get[[]saga.Summary](ctx, cl, "sagas", q)
	if err != nil {
		return err
	}
	t := table{head: []string{"SAGA", "KIND", "REQUEST", "STATE", "TRIES", "ORDER", "AGE"}, cut: 2}
	for _, s := range all {
		t.add(s.ID.String(), string(s.Kind), s.RequestID, string(s.State), strconv.Itoa(s.Attempts), number(s.OrderID), age(s.CreatedAt))
	}
	switch {
	case len(all) == 0:
		c.say("No saga matches.")
		if !c.json {
			return nil
		}
	case hint && len(all) == defaultRows:
		c.say("These are the youngest %d; there may be more: --limit.", defaultRows)
	}
	return c.print(all, t.write)
}

func checkLimit(n int) error {
	if n < 1 || n > mostRows {
		return usagef("--limit %d is not 1 to %d", n, mostRows)
	}
	return nil
}

// query is names and values without the empty ones.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}
