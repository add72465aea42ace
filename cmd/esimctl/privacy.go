package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"esimflow/internal/ops"
	"esimflow/internal/saga"
)

func newPrivacyCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "privacy",
		Short: "Hand out or erase what is on record about somebody's request",
		Long: `Hand out or erase what is on record about somebody's requests, by request id, by a saga's id, or by
an ICCID: that of a top-up, or of an eSIM that was bought, for which PressOne is asked. Who did it
and why stays on record; docs/data.md says what is where, and for how long.`,
	}
	cmd.AddCommand(newPrivacyExportCommand(c), newPrivacyEraseCommand(c))
	return cmd
}

func newPrivacyExportCommand(c *cli) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "export ID|REQUEST_ID|ICCID --reason TEXT", Short: "Print what is on record, as JSON",
		Long: `Print what is on record as JSON: the request as it arrived, what was bought, and what happened.
Activation codes are not in it.`,
		Args: exactly("ID|REQUEST_ID|ICCID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := askPrivacy[[]saga.PersonalData](cmd.Context(), c, "export", args[0], reason)
			if err != nil {
				return err
			}
			return c.printJSON(all)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; recorded, so without the customer's name (required)")
	return cmd
}

func newPrivacyEraseCommand(c *cli) *cobra.Command {
	var reason string
	var yes bool
	cmd := &cobra.Command{
		Use: "erase ID|REQUEST_ID|ICCID --reason TEXT", Short: "Erase what is on record, for good",
		Long: `Erase what is on record but the accounting skeleton: the saga's id, PressOne's order and price,
states and times. It cannot be undone. The request stays recognisable by a keyed digest, so that it
is not bought again. What has not ended, or has an open dead letter, is refused.

It asks, unless --yes says not to. The streams and backups are not touched: docs/data.md says when
what is in them goes. Exit code 5 says that some of several sagas were refused.`,
		Args: exactly("ID|REQUEST_ID|ICCID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := c.by(reason); err != nil {
				return err
			}
			err := c.confirm(cmd.Context(), yes, question{
				ask: "Erase it for good?", want: args[0], left: "nothing was erased", would: args[0] + " would be erased for good",
				look: "esimctl privacy export",
			})
			if err != nil {
				return err
			}
			all, err := askPrivacy[[]ops.Erasure](cmd.Context(), c, "erase", args[0], reason)
			if err != nil {
				return err
			}
			refused := 0
			t := table{head: []string{"SAGA", "IS", "WHY"}}
			for _, e := range all {
				is := "erased"
				if !e.Erased {
					is = "refused"
					refused++
				}
				of := e.SagaID.String()
				if e.Remains > 0 {
					of = fmt.Sprintf("%d records of none", e.Remains)
				}
				t.add(of, is, e.Why)
			}
			if err := c.print(all, t.write); err != nil {
				return err
			}
			switch {
			case refused == len(all):
				return exitf(exitRefused, "nothing was erased")
			case refused > 0:
				return exitf(exitPartly, "%d of %d were refused", refused, len(all))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; recorded, so without the customer's name (required)")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func askPrivacy[T any](ctx context.Context, c *cli, verb, id, reason string) (T, error) {
	var none T
	by, err := c.by(reason)
	if err != nil {
		return none, err
	}
	return post[T](ctx, c, "privacy/"+verb, ops.PrivacyAction{ID: id, By: by})
}
