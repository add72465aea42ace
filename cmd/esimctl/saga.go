package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"esimflow/internal/ops"
	"esimflow/internal/saga"
)

func newSagaCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "saga",
		Short: "List and show sagas, and decide about those that stopped",
		Long: `List and show sagas, and decide about those that stopped. A saga is a request on its way; it
is named by its id, or by its request id where an order and a top-up do not share it.

The last three verbs are for sagas that are dead_lettered. They record --actor and --reason.`,
	}
	cmd.AddCommand(newSagaListCommand(c), newSagaShowCommand(c),
		newSagaAdoptCommand(c), newSagaConfirmAbsentCommand(c), newSagaDiscardCommand(c))
	return cmd
}

func newSagaAdoptCommand(c *cli) *cobra.Command {
	var order int64
	cmd := &cobra.Command{
		Use:   "adopt ID|REQUEST_ID --order N --reason TEXT",
		Short: "Say which PressOne order is the saga's purchase",
		Long: `Say which PressOne order is the purchase of a saga of which that is not known. The worker
asks PressOne for the order, refuses one that does not fit or that another saga owns, and goes
on with the saga where an answered submission would have led.`,
		Example: `  esimctl saga adopt ord-7f3a --order 9666 --reason "seen in PressOne's console"`,
	}
	cmd.Flags().Int64Var(&order, "order", 0, "id of the PressOne order (required)")
	return c.acting(cmd, "adopt", func() (ops.Action, error) {
		if order <= 0 {
			return ops.Action{}, usagef("--order is missing: the id of the PressOne order")
		}
		return ops.Action{OrderID: order}, nil
	})
}

func newSagaConfirmAbsentCommand(c *cli) *cobra.Command {
	return c.acting(&cobra.Command{
		Use:   "confirm-absent ID|REQUEST_ID --reason TEXT",
		Short: "Say that nothing was bought, so that it is submitted again",
		Long: `Say that nothing was bought for a saga of which that is not known (code outcome_unknown). It
is then submitted to PressOne again: be sure, by PressOne's own books, or it is bought twice.`,
	}, "confirm-absent", nil)
}

func newSagaDiscardCommand(c *cli) *cobra.Command {
	return c.acting(&cobra.Command{
		Use:   "discard ID|REQUEST_ID --reason TEXT",
		Short: "Close a saga for good",
		Long: `Close a saga for good, and its dead letter with it. If something was bought, or may have
been, nobody delivers it any more.`,
	}, "discard", nil)
}

// acting makes cmd do something to a saga. fill gives what the action needs beside who
// and why; nil is nothing.
func (c *cli) acting(cmd *cobra.Command, verb string, fill func() (ops.Action, error)) *cobra.Command {
	var reason, letter string
	cmd.Flags().StringVar(&reason, "reason", "", "why; recorded (required)")
	cmd.Flags().StringVar(&letter, "letter", "", "id of the dead letter that this is about; needed once the saga has stopped more than once")
	cmd.Args, cmd.ValidArgsFunction = exactly("ID|REQUEST_ID"), sagaIDs(c, saga.DeadLettered)
	completeWith(cmd, "letter", letterIDs(c))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var action ops.Action
		var err error
		if fill != nil {
			if action, err = fill(); err != nil {
				return err
			}
		}
		if action.By, err = c.by(reason); err != nil {
			return err
		}
		if letter != "" {
			if action.DeadLetter, err = uuid.Parse(letter); err != nil {
				return usagef("--letter: %q is not the id of a dead letter", letter)
			}
		}
		return c.act(cmd.Context(), args[0], verb, action)
	}
	return cmd
}

func (c *cli) act(ctx context.Context, id, verb string, action ops.Action) error {
	moved, err := post[ops.Moved](ctx, c, "sagas/"+url.PathEscape(id)+"/"+verb, action)
	if err != nil {
		return err
	}
	return c.print(moved, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "Saga %s is %s.\n", moved.ID, moved.State)
		return err
	})
}

// number is n, or nothing.
func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
