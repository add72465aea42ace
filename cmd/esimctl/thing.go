package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
)

// thing is what a command may be about: the API keeps it at path, by an id.
type thing struct {
	name, path string // "a dead letter"
	ids        func(*cli) cobra.CompletionFunc
}

var (
	aLetter  = thing{"a dead letter", "dead-letters", letterIDs}
	aReplay  = thing{"a replay", "replays", replayIDs}
	anAudit  = thing{"an audit", "audits", auditIDs}
	aFinding = thing{"a finding", "audit-findings", findingIDs}
)

// id reads an argument.
func (t thing) id(arg string) (uuid.UUID, error) {
	id, err := uuid.Parse(arg)
	if err != nil {
		return id, usagef("%q is not the id of %s", arg, t.name)
	}
	return id, nil
}

// missing says what it is that err did not find.
func (t thing) missing(id uuid.UUID, err error) error {
	if codeOf(err) == exitNotFound {
		_, noun, _ := strings.Cut(t.name, " ")
		return exitf(exitNotFound, "there is no %s %s", noun, id)
	}
	return err
}

// takes makes cmd take the id of one of them, and do run with it.
func (t thing) takes(c *cli, cmd *cobra.Command, run func(cmd *cobra.Command, id uuid.UUID) error) *cobra.Command {
	cmd.Args, cmd.ValidArgsFunction = exactly("ID"), first(t.ids(c))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := t.id(args[0])
		if err != nil {
			return err
		}
		return t.missing(id, run(cmd, id))
	}
	return cmd
}

// showing makes cmd print one of them.
func showing[T any](t thing, c *cli, cmd *cobra.Command, write func(io.Writer, T) error) *cobra.Command {
	return t.takes(c, cmd, func(cmd *cobra.Command, id uuid.UUID) error {
		v, err := get[T](cmd.Context(), c, t.path+"/"+id.String(), nil)
		if err != nil {
			return err
		}
		return c.print(v, func(w io.Writer) error { return write(w, v) })
	})
}

// deciding makes cmd do verb to one of them, by somebody and for a reason, and print what said makes of the answer.
func deciding[T any](t thing, c *cli, cmd *cobra.Command, verb string, said func(T) string) *cobra.Command {
	var reason string
	cmd.Flags().StringVar(&reason, "reason", "", "why; recorded (required)")
	return t.takes(c, cmd, func(cmd *cobra.Command, id uuid.UUID) error {
		by, err := c.by(reason)
		if err != nil {
			return err
		}
		done, err := post[T](cmd.Context(), c, t.path+"/"+id.String()+"/"+verb, by)
		if err != nil {
			return err
		}
		return c.print(done, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, said(done))
			return err
		})
	})
}
