package main

import (
	"context"
	"fmt"
	"io"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"esimflow/internal/deadletter"
	"esimflow/internal/ops"
)

func newDLQDiscardCommand(c *cli) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "discard ID --reason TEXT",
		Short: "Close a dead letter for good, and its saga",
		Long: `Close a dead letter for good, and its saga if it has one. If something was bought, or may have
been, nobody delivers it any more.`,
		Args: exactly("ID"), ValidArgsFunction: first(letterIDs(c)),
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := uuids(args)
			if err != nil {
				return err
			}
			by, err := c.by(reason)
			if err != nil {
				return err
			}
			return c.dlqDiscard(cmd.Context(), ids[0], by)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; recorded (required)")
	return cmd
}

// discardedLetter is the API's answer.
type discardedLetter struct {
	ID     uuid.UUID `json:"id"`
	Status string    `json:"status"`
}

func (c *cli) dlqDiscard(ctx context.Context, id uuid.UUID, by deadletter.By) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	done, err := post[discardedLetter](ctx, cl, "dead-letters/"+id.String()+"/discard", ops.Action{By: by})
	if err != nil {
		return err
	}
	return c.print(done, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "Dead letter %s is %s.\n", done.ID, done.Status)
		return err
	})
}
