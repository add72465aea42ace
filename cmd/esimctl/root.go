package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// cli is what the commands share: where they read and write, and the flags of all.
type cli struct {
	getenv      func(name string) string
	in          io.Reader
	out         io.Writer // data
	err         io.Writer // talk
	interactive bool      // somebody sits at in and can be asked

	json  bool
	actor string
	url   string

	api *client // once it was needed
}

// run executes a command line and returns its exit code. It ends early, with what is done
// by then, when ctx is cancelled.
func run(ctx context.Context, args []string, getenv func(string) string, in io.Reader, out, errOut io.Writer) int {
	c := &cli{getenv: getenv, in: in, out: out, err: errOut}
	if f, ok := in.(*os.File); ok {
		c.interactive = term.IsTerminal(int(f.Fd()))
	}
	return c.run(ctx, args)
}

func (c *cli) run(ctx context.Context, args []string) int {
	root := newRootCommand(c) //nolint:contextcheck // the commands are given it when they are executed
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	bashAlone(root)
	if err := verb(root, args); err != nil {
		c.say("esimctl: %v\nSee 'esimctl --help'.", err)
		return exitUsage
	}
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	// What a command itself returns has passed through ran; anything else is cobra's, about
	// flags, arguments and names of commands.
	code := exitUsage
	if own, ok := errors.AsType[*ranError](err); ok {
		code, err = codeOf(own.err), own.err
	}
	c.say("esimctl: %v", plainly(ctx, err))
	if code == exitUsage {
		c.say("See '%s --help'.", cmd.CommandPath())
	}
	return code
}

func newRootCommand(c *cli) *cobra.Command {
	root := &cobra.Command{
		Use:   "esimctl",
		Short: "Operate esimflow",
		Long: `esimctl operates esimflow: the schema, the streams, requests, sagas and dead letters.
"esimctl dev" runs all of it on this machine, to try it.

What acts on sagas and dead letters asks a worker's API, at ESIMFLOW_URL with OPS_TOKEN.
"migrate" and "keys" use DATABASE_URL; "streams", "order" and "topup" use NATS_URL and its
relatives; "restore" uses all three. Every variable is described in docs/config.md.

Data goes to stdout and talk to stderr; with --json, data is JSON. Whatever changes
something records who did it (--actor) and why (--reason).

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not found, 4 refused (by a
worker, or by whoever was asked), 5 partly done.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	flags := root.PersistentFlags()
	flags.BoolVar(&c.json, "json", false, "print JSON")
	flags.StringVar(&c.actor, "actor", defaultActor(c.getenv), "who acts: recorded with every action")
	flags.Lookup("actor").DefValue = "$USER"
	flags.StringVar(&c.url, "url", "", "the worker's API (default ESIMFLOW_URL)")
	root.AddCommand(
		newMigrateCommand(c), newStreamsCommand(c),
		newOrderCommand(c), newTopupCommand(c),
		newSagaCommand(c), newDLQCommand(c), newReplayCommand(c), newAuditCommand(c),
		newPauseCommand(c), newResumeCommand(c), newGateCommand(c), newTrailCommand(c),
		newKeysCommand(c), newRestoreCommand(c), newPrivacyCommand(c),
		newSimCommand(c), newDevCommand(c), newBenchCommand(c), newVersionCommand(c),
	)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return wrongValue(err) })
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages ", fmt.Sprintf(".FlagUsagesWrapped %d ", tableWidth)))
	noFiles(root)
	markRun(root)
	return root
}

func defaultActor(getenv func(string) string) string {
	if user := getenv("USER"); user != "" {
		return user
	}
	return "unknown"
}

// ranError is what a command's own code returned.
type ranError struct{ err error }

// Error implements error.
func (e *ranError) Error() string { return e.err.Error() }

// markRun tells the errors of the commands from those of cobra.
func markRun(cmd *cobra.Command) {
	if f := cmd.RunE; f != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if err := f(cmd, args); err != nil {
				return &ranError{err}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		markRun(sub)
	}
}

// verb finds out whether args name a command that does something. Cobra would print the
// help of one that does not, and report success.
func verb(root *cobra.Command, args []string) error {
	root.InitDefaultHelpCmd()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return nil //nolint:nilerr // cobra says it, with suggestions
	}
	if cmd.Runnable() || slices.Contains(rest, "--help") || slices.Contains(rest, "-h") {
		return nil
	}
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	for _, arg := range rest {
		if !strings.HasPrefix(arg, "-") {
			return fmt.Errorf("there is no command %q, only: %s", path(cmd)+" "+arg, strings.Join(names, ", "))
		}
	}
	which := fmt.Sprintf("which command of %s? %s", cmd.CommandPath(), strings.Join(names, ", "))
	return errors.New(strings.Join(wrapWords(which, tableWidth-len("esimctl: ")), "\n"))
}

// path is how a command is called, without the program's name.
func path(cmd *cobra.Command) string {
	_, rest, _ := strings.Cut(cmd.CommandPath(), " ")
	return rest
}

// lookup is the environment, with the flags that stand for a variable before it.
func (c *cli) lookup(name string) string {
	if name == "ESIMFLOW_URL" && c.url != "" {
		return c.url
	}
	return c.getenv(name)
}

// say writes a line of talk.
func (c *cli) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.err, format+"\n", args...)
}

// print writes v as JSON if that is wanted, and otherwise what text writes.
func (c *cli) print(v any, text func(w io.Writer) error) error {
	if !c.json {
		return text(c.out)
	}
	return c.printJSON(v)
}

func (c *cli) printJSON(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
