package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"esimflow/internal/deadletter"
	"esimflow/internal/message"
	"esimflow/internal/ops"
)

// resubmitOptions are the flags of dlq resubmit and dlq edit.
type resubmitOptions struct {
	file   string
	reason string
	force  bool
	yes    bool
}

func (o *resubmitOptions) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.reason, "reason", "", "why; recorded (required)")
	f.BoolVar(&o.force, "force", false, "even if it cannot be understood: it will become a dead letter again")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
}

func newDLQResubmitCommand(c *cli) *cobra.Command {
	var o resubmitOptions
	cmd := &cobra.Command{
		Use:   "resubmit ID --reason TEXT",
		Short: "Publish a request that was never accepted again, corrected if need be",
		Long: `Publish a request that was never accepted again: the bytes of --file, or those that arrived. It
becomes a new message with an id of its own and the sender's headers, and the letter is closed.
A letter with a saga is for "dlq replay": what was accepted cannot be changed.`,
		Example: `  esimctl dlq resubmit 0199a1c2-… --file corrected.json --reason "quantity was text"`,
		Args:    exactly("ID"), ValidArgsFunction: first(letterIDs(c)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.dlqResubmit(cmd.Context(), args[0], o, func(l deadletter.Letter) ([]byte, error) {
				switch o.file {
				case "":
					return l.Body, nil
				case "-":
					return io.ReadAll(io.LimitReader(c.in, message.MaxRequestSize+1))
				}
				body, err := os.ReadFile(o.file)
				if err != nil {
					return nil, usagef("--file: %w", err)
				}
				return body, nil
			})
		},
	}
	o.add(cmd)
	cmd.Flags().StringVar(&o.file, "file", "", "the corrected request; - reads it from the input")
	return cmd
}

func newDLQEditCommand(c *cli) *cobra.Command {
	var o resubmitOptions
	cmd := &cobra.Command{
		Use:   "edit ID --reason TEXT",
		Short: "Correct a request that was never accepted in an editor, and publish it again",
		Long: `Correct a request that was never accepted in VISUAL or EDITOR, and publish it again, as "dlq
resubmit" does. What is not changed, or emptied, is not published.`,
		Args: exactly("ID"), ValidArgsFunction: first(letterIDs(c)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.dlqResubmit(cmd.Context(), args[0], o, func(l deadletter.Letter) ([]byte, error) {
				edited, err := c.edit(cmd.Context(), l.Body)
				if err == nil && (bytes.Equal(edited, l.Body) || len(bytes.TrimSpace(edited)) == 0) {
					err = errors.New("nothing was changed: nothing was published")
				}
				return edited, err
			})
		},
	}
	o.add(cmd)
	return cmd
}

// dlqResubmit publishes what body makes of a letter.
func (c *cli) dlqResubmit(ctx context.Context, arg string, o resubmitOptions, body func(deadletter.Letter) ([]byte, error)) error {
	id, err := aLetter.id(arg)
	if err != nil {
		return err
	}
	by, err := c.by(o.reason)
	if err != nil {
		return err
	}
	l, err := get[deadletter.Letter](ctx, c, "dead-letters/"+id.String(), nil)
	if err != nil {
		return aLetter.missing(id, err)
	}
	if l.SagaID != nil {
		return exitf(exitRefused, "refused: it was accepted as saga %s, which cannot be changed:\nesimctl dlq replay %s", *l.SagaID, l.ID)
	}
	text, err := body(l)
	if err != nil {
		return err
	}
	if _, err := message.DecodeRequest(l.Kind, message.SenderHeaders(l.Headers), text); err != nil && !o.force {
		return exitf(exitRefused, "refused: it cannot be understood: %w\nCorrect it, or say --force", err)
	}
	q := question{
		ask: "Publish it as a new request?", left: "nothing was published", would: "it would be published as a new request",
		look: "esimctl dlq show",
	}
	if err := c.confirm(ctx, o.yes, q); err != nil {
		return err
	}
	done, err := post[settled](ctx, c, "dead-letters/"+l.ID.String()+"/resubmit", ops.Resubmission{By: by, Body: text})
	if err != nil {
		return err
	}
	return c.print(done, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "Dead letter %s is %s: published as a new request.\n", done.ID, done.Status)
		return err
	})
}

// edit lets the user change text in an editor.
func (c *cli) edit(ctx context.Context, text []byte) (_ []byte, err error) {
	editor := strings.Fields(c.getenv("VISUAL"))
	if len(editor) == 0 {
		editor = strings.Fields(c.getenv("EDITOR"))
	}
	if len(editor) == 0 {
		return nil, usagef("neither VISUAL nor EDITOR is set: use dlq resubmit --file")
	}
	f, err := os.CreateTemp("", "esimctl-*.json")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, editor[0], append(editor[1:], f.Name())...) //nolint:gosec // the user's own
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.in, c.err, c.err
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("the editor: %w", err)
	}
	return os.ReadFile(f.Name())
}
