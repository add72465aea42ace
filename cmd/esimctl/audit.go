package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"esimflow/internal/audit"
	"esimflow/internal/ops"
)

func newAuditCommand(c *cli) *cobra.Command {
	var from, to string
	var detach bool
	cmd := &cobra.Command{
		Use:   "audit [--from DAY] [--to DAY]",
		Short: "Compare PressOne's books with ours",
		Long: `Compare PressOne's books with ours: every order that PressOne lists for these days is paired
with the saga that owns it. What cannot be paired is a finding:

  orphan   bought, and no saga owns it
  double   bought, and its saga owns another order
  phantom  a saga owns it, and PressOne does not know it

An order with the reference of a saga that owns none is given to that saga. For everything
else it says what to do. A worker does the reading, a day at a time and within PressOne's
limits, and goes on where it was interrupted; workers audit by themselves, too
(AUDIT_INTERVAL, AUDIT_WINDOW).

It fails (1) when findings are open at the end.`,
		Example: `  esimctl audit
  esimctl audit --from 2026-11-01 --to 2026-11-14 --json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for flag, value := range map[string]string{"from": from, "to": to} {
				if _, err := time.Parse(time.DateOnly, value); value != "" && err != nil {
					return usagef("--%s %q is not a day, like 2026-11-22", flag, value)
				}
			}
			return c.audit(cmd.Context(), from, to, detach)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "first day, in UTC (default AUDIT_WINDOW ago)")
	cmd.Flags().StringVar(&to, "to", "", "last day, included (default today)")
	cmd.Flags().BoolVar(&detach, "detach", false, "ask for it, and do not wait for its end")
	cmd.AddCommand(newAuditListCommand(c), newAuditShowCommand(c), newAuditFindingsCommand(c), newAuditDismissCommand(c))
	return cmd
}

// auditPause is between two questions about how far an audit is.
const auditPause = 500 * time.Millisecond

func (c *cli) audit(ctx context.Context, from, to string, detach bool) error {
	if c.actor == "" {
		return usagef("--actor is empty: who acts is recorded")
	}
	run, err := post[audit.Run](ctx, c, "audits", ops.AuditRequest{From: from, To: to, Actor: c.actor})
	if err != nil {
		return err
	}
	if detach {
		c.say("The audit goes on in a worker: esimctl audit show %s", run.ID)
		return c.print(run, func(w io.Writer) error { return writeRun(w, run) })
	}
	c.say("Audit %s: a worker does it, and goes on if this is interrupted.", run.ID)
	report, err := c.awaitAudit(ctx, run)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted; the audit goes on in a worker: esimctl audit show %s", run.ID)
	}
	if err != nil {
		return err
	}
	return c.auditReport(report)
}

// awaitAudit waits until a run has ended.
func (c *cli) awaitAudit(ctx context.Context, run audit.Run) (report audit.Report, err error) {
	bar := newBar(c.err)
	defer bar.done()
	for {
		if report, err = get[audit.Report](ctx, c, "audits/"+run.ID.String(), nil); err != nil || report.State != "running" {
			return report, err
		}
		drawAudit(bar, report.Run)
		if !sleep(ctx, auditPause) {
			return report, errNotResumed
		}
	}
}

// drawAudit shows how many of its days an audit has read.
func drawAudit(b *bar, r audit.Run) {
	days, done := int(r.To.Sub(r.From).Hours()/24)+1, int(r.Next.Sub(r.From).Hours()/24)
	done = min(max(done, 0), days)
	text := fmt.Sprintf("%d of %d days, %d orders", done, days, r.Orders)
	if r.Trouble != "" {
		text += "; waiting: " + r.Trouble
	}
	b.draw(done, days, text)
}

// auditReport prints what an audit has found, and fails while some of it is open.
func (c *cli) auditReport(report audit.Report) error {
	if err := c.print(report, func(w io.Writer) error { return writeReport(w, report) }); err != nil {
		return err
	}
	switch open := report.Open(); {
	case report.State == "failed":
		return fmt.Errorf("the audit failed: %s", plain(report.Trouble))
	case open == 1:
		return errors.New("1 finding is open; when it is explained: esimctl audit dismiss ID --reason TEXT")
	case open > 1:
		return fmt.Errorf("%d findings are open; when one is explained: esimctl audit dismiss ID --reason TEXT", open)
	}
	return nil
}

func newAuditListCommand(c *cli) *cobra.Command {
	return listing[audit.Run]{
		path: "audits", limit: 20, nothing: "There was no audit yet.",
		write: func(w io.Writer, all []audit.Run) error {
			t := table{head: []string{"AUDIT", "DAYS", "STATE", "ORDERS", "BY", "AGE"}, cut: 4}
			for _, r := range all {
				t.add(r.ID.String(), r.From.Format(time.DateOnly)+" to "+r.To.Format(time.DateOnly), r.State,
					strconv.FormatInt(r.Orders, 10), orDash(r.RequestedBy), age(r.StartedAt))
			}
			return t.write(w)
		},
	}.command(c, &cobra.Command{Use: "list", Short: "List audits, the latest first"})
}

func newAuditShowCommand(c *cli) *cobra.Command {
	return anAudit.takes(c, &cobra.Command{Use: "show ID", Short: "Show an audit and what it found"}, func(cmd *cobra.Command, id uuid.UUID) error {
		report, err := get[audit.Report](cmd.Context(), c, "audits/"+id.String(), nil)
		if err != nil {
			return err
		}
		return c.auditReport(report)
	})
}

func writeRun(w io.Writer, r audit.Run) error {
	finished := ""
	if r.FinishedAt != nil {
		finished = instant(*r.FinishedAt)
	}
	return writeFields(w, "audit", r.ID.String(), "days", r.From.Format(time.DateOnly)+" to "+r.To.Format(time.DateOnly),
		"state", r.State, "trouble", r.Trouble, "by", r.RequestedBy, "orders", fmt.Sprintf("%d: %d with their saga, %d failed or refunded, %d on their way",
			r.Orders, r.Paired, r.Free, r.Unsettled),
		"started", instant(r.StartedAt), "finished", finished)
}

func writeReport(w io.Writer, r audit.Report) error {
	if err := writeRun(w, r.Run); err != nil {
		return err
	}
	if len(r.Findings) == 0 {
		return nil
	}
	return writeFindings(w, r.Findings)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
