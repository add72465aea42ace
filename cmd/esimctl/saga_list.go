package main

import (
	"cmp"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"esimflow/internal/saga"
)

func newSagaListCommand(c *cli) *cobra.Command {
	var state, kind, requestID, iccid string
	var orderID int64
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List sagas, the youngest first",
		Long:    "List sagas, the youngest first. With several filters, those that match all of them.",
		Example: `  esimctl saga list --state unknown`,
	}
	f := cmd.Flags()
	f.StringVar(&state, "state", "", "only those in this state")
	f.StringVar(&kind, "kind", "", "order or topup")
	f.StringVar(&requestID, "request-id", "", "only those of this request")
	f.StringVar(&iccid, "iccid", "", "only top-ups of this eSIM")
	f.Int64Var(&orderID, "order-id", 0, "only the one that owns this PressOne order")
	complete(cmd, "state", states())
	complete(cmd, "kind", kinds())
	return listing[saga.Summary]{
		path: "sagas", which: "youngest", nothing: "No saga matches.", write: writeSagas,
		filter: func() (url.Values, error) {
			if f.Changed("order-id") && orderID <= 0 {
				return nil, usagef("--order-id %d is not the id of an order", orderID)
			}
			q := query("state", state, "kind", kind, "request_id", requestID, "iccid", iccid, "order_id", number(orderID))
			return q, cmp.Or(oneOf("state", state, states()), oneOf("kind", kind, kinds()), checkICCID(iccid))
		},
	}.command(c, cmd)
}

func writeSagas(w io.Writer, all []saga.Summary) error {
	t := table{head: []string{"SAGA", "KIND", "REQUEST", "STATE", "TRIES", "ORDER", "AGE"}, cut: 2}
	for _, s := range all {
		t.add(s.ID.String(), string(s.Kind), s.RequestID, string(s.State), strconv.Itoa(s.Attempts), number(s.OrderID), age(s.CreatedAt))
	}
	return t.write(w)
}
