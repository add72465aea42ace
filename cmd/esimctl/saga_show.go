package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"esimflow/internal/message"
	"esimflow/internal/ops"
	"esimflow/internal/saga"
)

func newSagaShowCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID|REQUEST_ID",
		Short: "Show one saga and everything that happened to it",
		Long: `Show one saga and everything that happened to it: when, in which attempt, from which state to
which, with which code of PressOne's, what was seen, and which operator did it and why.`,
		Args: exactly("ID|REQUEST_ID"), ValidArgsFunction: sagaIDs(c, ""),
		RunE: func(cmd *cobra.Command, args []string) error { return c.sagaShow(cmd.Context(), args[0]) },
	}
}

func (c *cli) sagaShow(ctx context.Context, id string) error {
	v, err := get[ops.SagaView](ctx, c, "sagas/"+url.PathEscape(id), nil)
	if err != nil {
		return err
	}
	return c.print(v, func(w io.Writer) error { return writeSaga(w, v) })
}

func writeSaga(w io.Writer, v ops.SagaView) error {
	what := v.PackageID
	if v.Kind == message.Order {
		what = fmt.Sprintf("%d × %s", v.Quantity, v.PackageID)
	}
	order := number(v.OrderID)
	if order != "" && v.Order != "" {
		order += " (" + v.Order + ")"
	}
	letter := ""
	if v.DeadLetter != nil {
		letter = v.DeadLetter.String()
	}
	err := writeFields(w,
		"saga", v.ID.String(), "kind", string(v.Kind), "request", v.RequestID,
		"state", fmt.Sprintf("%s: %s", v.State, moves(v)),
		"package", what, "iccid", v.ICCID, "reference", v.Reference, "dead letter", letter,
		"order", order, "price", v.Price, "eSIMs", strings.Join(v.ICCIDs, " "),
		"attempts", strconv.Itoa(v.Attempts), "requested", instant(v.RequestedAt), "deadline", deadline(v))
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	saga.WriteTimeline(w, v.Timeline, true)
	return nil
}

// moves says who moves the saga next, and when.
func moves(v ops.SagaView) string {
	switch {
	case v.Worker != nil:
		return "a worker has it in hand"
	case v.DueAt != nil && time.Until(*v.DueAt) > time.Second:
		return "a worker moves it next, in " + time.Until(*v.DueAt).Round(time.Second).String()
	}
	switch v.State.Mover() {
	case saga.Worker:
		return "a worker moves it next, as soon as one is free"
	case saga.Publisher:
		return "the publisher moves it next"
	case saga.Operator:
		return "an operator moves it next"
	case saga.Nobody:
	}
	return "nobody moves it"
}

// deadline is when its stage gives up, while that can happen.
func deadline(v ops.SagaView) string {
	if v.State.Mover() != saga.Worker {
		return ""
	}
	return instant(v.DeadlineAt)
}
