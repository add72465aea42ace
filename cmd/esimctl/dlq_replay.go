package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"esimflow/internal/deadletter"
	"esimflow/internal/ops"
)

// replayOptions are the flags of dlq replay.
type replayOptions struct {
	letters letterFlags
	ids     []string
	reason  string
	dryRun  bool
	rate    float64
	yes     bool
	wait    bool
	timeout time.Duration
}

func newDLQReplayCommand(c *cli) *cobra.Command {
	var o replayOptions
	cmd := &cobra.Command{
		Use:   "replay [ID...] --reason TEXT",
		Short: "Let dead letters go on where they stopped",
		Long: `Let dead letters go on where they stopped. What was not bought is submitted again, what was
bought is polled, and what may have been bought is looked up first: replaying cannot buy
twice. A request that was never accepted is published again, as a new one.

The letters are named, or chosen by filters; choosing all of them is refused. --dry-run prints
the exact set, what it costs and what is refused. Otherwise the set is confirmed at the
terminal, by its number above 100, unless --yes. Then it is frozen as a replay, which a worker
works on, slowly at first: its id is printed, and "replay show" and "replay abort" take it.
Interrupting esimctl does not stop it.

What lacked credit is released as far as PressOne's balance covers it, and no further when
PressOne says again that it does not. Of a package that was out of stock one order goes first,
and the others when it has completed. A letter with code outcome_unknown is replayed only by
itself, named by its id; see also "saga adopt" and "saga confirm-absent".

Exit codes: 0 all of them, 3 none matched, 4 all were refused, 5 some were. With --wait it is
4 if none was replayed, 5 if some were not or did not end completed, and 1 if none did.`,
		Example: `  esimctl dlq replay --code 11 --dry-run
  esimctl dlq replay --code 11 --reason "account credited" --rate 5 --wait`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.ids = append(o.ids, args...)
			return c.dlqReplay(cmd.Context(), o, cmd.Flags().Changed("rate"))
		},
	}
	f := cmd.Flags()
	o.letters.add(c, cmd)
	cmd.ValidArgsFunction = letterIDs(c)
	f.StringSliceVar(&o.ids, "id", nil, "ids of dead letters, as arguments are")
	completeWith(cmd, "id", letterIDs(c))
	f.StringVar(&o.reason, "reason", "", "why; recorded (required unless --dry-run)")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would be replayed, where it would go and what it costs, and do nothing")
	f.Float64Var(&o.rate, "rate", 0, "how many a second, at the most (default 50)")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
	f.BoolVar(&o.wait, "wait", false, "follow it until the replayed sagas have ended, and print how")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long to wait for that")
	return cmd
}

func (c *cli) dlqReplay(ctx context.Context, o replayOptions, rated bool) error {
	filter, by, err := c.replayRequest(o, rated)
	if err != nil {
		return err
	}
	preview, err := post[deadletter.Preview](ctx, c, "replays/preview", ops.ReplayPreview{Filter: filter})
	switch {
	case err != nil:
		return err
	case preview.Letters == 0:
		return exitf(exitNotFound, "no open dead letter matches")
	case preview.Willing == 0:
		return c.replayRefused(preview)
	case o.dryRun:
		return c.printPreview(preview)
	}
	if err := c.confirmReplay(ctx, o.yes, preview.Willing, preview.Refused); err != nil {
		return err
	}
	n := deadletter.NewReplay{Filter: filter, By: by, Rate: o.rate}
	if !o.yes {
		n.Expect = preview.Willing
	}
	job, err := post[deadletter.Replay](ctx, c, "replays", n)
	if err != nil {
		return err
	}
	if o.wait {
		return c.followReplay(ctx, job, o.timeout)
	}
	c.say("%s, at up to %g a second: esimctl replay show %s", letters(job.Letters-job.Refused), job.Rate, job.ID)
	if err := c.print(job, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, job.ID)
		return err
	}); err != nil {
		return err
	}
	if job.Refused > 0 {
		return exitf(exitPartly, "%d are refused", job.Refused)
	}
	return nil
}

// replayRequest checks the flags.
func (c *cli) replayRequest(o replayOptions, rated bool) (f deadletter.Filter, by deadletter.By, err error) {
	if f, err = o.letters.filter(); err != nil {
		return f, by, err
	}
	if f.IDs, err = uuids(o.ids); err != nil {
		return f, by, err
	}
	if f.Empty() {
		return f, by, usagef("which dead letters? Name ids, --code, --class, --kind, --package, --iccid or --older")
	}
	if rated && !(o.rate > 0) || math.IsInf(o.rate, 0) {
		return f, by, usagef("--rate %g is not a rate", o.rate)
	}
	if o.wait && o.timeout <= 0 {
		return f, by, usagef("--timeout %s is not more than zero", o.timeout)
	}
	if o.dryRun {
		return f, by, nil
	}
	by, err = c.by(o.reason)
	return f, by, err
}

func (c *cli) replayRefused(p deadletter.Preview) error {
	if err := c.printPreview(p); err != nil {
		return err
	}
	if p.Letters == 1 {
		return exitf(exitRefused, "refused: %s", p.Set[0].Why)
	}
	return exitf(exitRefused, "all %d are refused", p.Letters)
}

// typeAbove is how many letters may be replayed with a mere yes.
const typeAbove = 100

// confirmReplay asks whether n letters are to be replayed.
func (c *cli) confirmReplay(ctx context.Context, yes bool, n, refused int) error {
	if !yes && refused > 0 {
		c.say("%s match and are refused.", letters(refused))
	}
	q := question{
		ask: "Replay " + letters(n) + "?", left: "nothing was replayed", would: letters(n) + " would be replayed", look: "--dry-run",
	}
	if n > typeAbove {
		q.want = strconv.Itoa(n)
	}
	return c.confirm(ctx, yes, q)
}

func letters(n int) string {
	if n == 1 {
		return "1 dead letter"
	}
	return fmt.Sprintf("%d dead letters", n)
}
