package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"esimflow/internal/message"
	"esimflow/internal/ops"
	"esimflow/internal/pressone"
)

func laneNames() []string { return texts(pressone.Lanes()) }

func newPauseCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pause (--lane LANE | --kind KIND) --reason TEXT",
		Short: "Keep all workers from submitting, or from using a lane to PressOne",
		Long: `Keep all workers from submitting requests of a kind, or from using a lane to PressOne, until it
is resumed. Requests are taken in and wait; waiting costs them no attempt, but SAGA_DEADLINE goes
on. What is in flight is not stopped. Other workers know at once, or with their next heartbeat.

  --kind order|topup  no submissions of that kind; what was bought is still polled and announced
  --lane write        no submissions at all
  --lane read         no look-ups, no polls, no lists: top-ups wait too
  --lane token        no new access token; the one in use is used until it runs out

"esimctl gate show" shows what is paused, by whom and why.`,
		Example: `  esimctl pause --kind topup --reason "wrong prices, ticket 4711"
  esimctl resume --kind topup --reason "prices are right again" --yes`,
	}
	return c.gateCommand(cmd, "pause")
}

func newResumeCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume (--lane LANE | --kind KIND) --reason TEXT",
		Short: "End a pause",
		Long: `End a pause. What has waited is submitted, the oldest first; the account's rate still holds. A
lane that was closed for another reason as well stays closed for that. It asks, unless --yes says
not to: what has waited is bought.`,
	}
	return c.gateCommand(cmd, "resume")
}

// gateCommand makes cmd do something to a lane or a kind.
func (c *cli) gateCommand(cmd *cobra.Command, verb string) *cobra.Command {
	var in ops.GateAction
	var lane, kind, reason string
	var yes bool
	cmd.Args = none
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := oneOf("lane", lane, laneNames()); err != nil {
			return err
		}
		if err := oneOf("kind", kind, kinds()); err != nil {
			return err
		}
		in.Target = pressone.Target{Lane: pressone.Lane(lane), Kind: message.Kind(kind)}
		if (lane == "") == (kind == "") {
			return usagef("which one? either --lane %s or --kind %s", strings.Join(laneNames(), "|"), strings.Join(kinds(), "|"))
		}
		var err error
		if in.By, err = c.by(reason); err != nil {
			return err
		}
		if verb == "resume" && !yes {
			if err := c.confirmResume(cmd.Context(), in.Target); err != nil {
				return err
			}
		}
		return c.actOnGate(cmd.Context(), verb, in)
	}
	cmd.Flags().StringVar(&lane, "lane", "", strings.Join(laneNames(), ", "))
	cmd.Flags().StringVar(&kind, "kind", "", strings.Join(kinds(), ", "))
	cmd.Flags().StringVar(&reason, "reason", "", "why; recorded (required)")
	if verb == "resume" {
		cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	}
	complete(cmd, "lane", laneNames())
	complete(cmd, "kind", kinds())
	return cmd
}

// confirmResume says how much waits, and asks.
func (c *cli) confirmResume(ctx context.Context, t pressone.Target) error {
	if c.interactive {
		v, err := get[ops.GateView](ctx, c, "gate", nil)
		if err != nil {
			return err
		}
		for _, k := range v.Waiting {
			if t.Kind == "" || t.Kind == k.Kind {
				c.say("Waiting, of kind %s: %d.", k.Kind, k.Count)
			}
		}
	}
	return c.confirm(ctx, false, question{
		ask: fmt.Sprintf("Resume %s?", t), left: "nothing was resumed", would: fmt.Sprintf("%s would be resumed", t), look: "esimctl gate show",
	})
}

func (c *cli) actOnGate(ctx context.Context, verb string, in ops.GateAction) error {
	v, err := post[ops.GateView](ctx, c, "gate/"+verb, in)
	if err != nil {
		return err
	}
	c.say("%s is %sd.", in.Target, verb)
	return c.print(v, func(w io.Writer) error { return writeGate(w, v) })
}

func newGateCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "gate", Short: "Show what stands between the workers and PressOne",
		Long: `Show what stands between the workers and PressOne: three lanes, each open or closed, and what
operators have paused. "esimctl pause" and "esimctl resume" change it.`,
	}
	cmd.AddCommand(newGateShowCommand(c), newGateTrailCommand(c))
	return cmd
}

func newGateShowCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show lanes and pauses", Args: none,
		Long: `Show the lanes and what is paused: by whom, why, and since when. A lane is

  open      nobody counts
  limited   closed for as long as PressOne has asked for
  account   closed because PressOne refuses the account: credentials, or the allow-list
  outage    closed because PressOne is away: one worker probes now and then
  ramp      open again after an outage, for so many calls at once of all workers together
  paused    closed by an operator`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := get[ops.GateView](cmd.Context(), c, "gate", nil)
			if err != nil {
				return err
			}
			return c.print(v, func(w io.Writer) error { return writeGate(w, v) })
		},
	}
}

func writeGate(w io.Writer, v ops.GateView) error {
	lanes := table{head: []string{"LANE", "IS", "UNTIL", "NOTE"}}
	for _, l := range v.Lanes {
		is, until, note := "open", "", ""
		switch {
		case !l.Open:
			is = l.Reason
		case l.Phase == "ramp":
			is, note = "ramp", fmt.Sprintf("%d calls at once, of all workers together", l.Ramp)
		}
		if l.Until != nil {
			until = instant(*l.Until)
		}
		if l.Phase == "down" && l.Reason != "paused" {
			note = fmt.Sprintf("PressOne is away: %d probes in vain", max(l.Failures-1, 0))
			if l.ProbeBy != "" {
				note += "; " + l.ProbeBy + " probes"
			}
		}
		lanes.add(string(l.Lane), is, until, note)
	}
	if err := lanes.write(w); err != nil {
		return err
	}
	if len(v.Pauses) > 0 {
		pauses := table{head: []string{"PAUSED", "BY", "SINCE", "WHY"}, cut: 1}
		for _, p := range v.Pauses {
			pauses.add(p.String(), p.Actor, instant(p.Since), p.Reason)
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
		if err := pauses.write(w); err != nil {
			return err
		}
	}
	if len(v.Waiting) == 0 {
		return nil
	}
	waiting := table{head: []string{"KIND", "WAITING"}}
	for _, k := range v.Waiting {
		waiting.add(string(k.Kind), strconv.Itoa(k.Count))
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return waiting.write(w)
}

func newGateTrailCommand(c *cli) *cobra.Command {
	return listing[pressone.Trail]{
		path: "gate/trail", nothing: "Nobody has paused anything yet.",
		write: func(w io.Writer, all []pressone.Trail) error {
			t := table{head: []string{"WHEN", "DID", "WHAT", "BY", "WHY"}, cut: 3}
			for _, e := range all {
				t.add(instant(e.At), e.Action, e.String(), e.Actor, e.Reason)
			}
			return t.write(w)
		},
	}.command(c, &cobra.Command{Use: "trail", Short: "List who paused and resumed what, the latest first"})
}
