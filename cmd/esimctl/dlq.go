package main

import (
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"esimflow/internal/deadletter"
	"esimflow/internal/message"
)

func newDLQCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "List, show, replay, edit and discard dead letters",
		Long: `List, show, replay, edit and discard dead letters: requests that stopped, each with the reason and
with whether money was spent, and bytes that could not be understood.`,
	}
	cmd.AddCommand(newDLQListCommand(c), newDLQShowCommand(c), newDLQReplayCommand(c), newDLQResubmitCommand(c),
		newDLQEditCommand(c), newDLQDiscardCommand(c))
	return cmd
}

// letterFlags are the flags that choose dead letters.
type letterFlags struct {
	code, class, kind, packageID, iccid string
	older                               time.Duration
}

func (l *letterFlags) add(c *cli, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&l.code, "code", "", "only with this code: PressOne's (11, 33, …), ours or http_<status>")
	f.StringVar(&l.class, "class", "", "only of this class")
	f.StringVar(&l.kind, "kind", "", "order or topup")
	f.StringVar(&l.packageID, "package", "", "only of this package")
	f.StringVar(&l.iccid, "iccid", "", "only of this eSIM")
	f.DurationVar(&l.older, "older", 0, "only those older than that, like 1h30m")
	completeWith(cmd, "code", letterCodes(c))
	complete(cmd, "class", classes())
	complete(cmd, "kind", kinds())
}

func (l *letterFlags) filter() (deadletter.Filter, error) {
	f := deadletter.Filter{
		Kind: message.Kind(l.kind), Code: l.code, Class: l.class, Package: l.packageID, ICCID: l.iccid, Older: l.older,
	}
	if l.older < 0 {
		return f, usagef("--older %s is negative", l.older)
	}
	if err := oneOf("kind", l.kind, kinds()); err != nil {
		return f, err
	}
	return f, checkICCID(l.iccid)
}

// settled is what the API answers when a dead letter was closed.
type settled struct {
	ID     uuid.UUID `json:"id"`
	Status string    `json:"status"`
}

func newDLQDiscardCommand(c *cli) *cobra.Command {
	return deciding(aLetter, c, &cobra.Command{
		Use:   "discard ID --reason TEXT",
		Short: "Close a dead letter for good, and its saga",
		Long: `Close a dead letter for good, and its saga if it has one. If something was bought, or may have
been, nobody delivers it any more.`,
	}, "discard", func(l settled) string { return fmt.Sprintf("Dead letter %s is %s.", l.ID, l.Status) })
}
