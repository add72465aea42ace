package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"esimflow/internal/audit"
	"esimflow/internal/config"
	"esimflow/internal/ops"
	"esimflow/internal/pressone"
	"esimflow/internal/restore"
)

func newRestoreFinishCommand(c *cli) *cobra.Command {
	var reason string
	var settle time.Duration
	var auditOnly bool
	cmd := &cobra.Command{
		Use:   "finish --reason TEXT",
		Short: "Audit a restored database, and resume if no order is left over",
		Long: `Audit a restored database, and resume if no order is left over. It waits until every request was
taken and until what was sent before has settled, and audits from the day before the copy on.
Each order is given to the saga with its reference. While an order is left without an owner, or
one was bought twice, it ends with 4 and nothing is resumed: adopt it for its saga, or deliver it
by hand and dismiss the finding, and call it again. Otherwise ordering is resumed.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			by, err := c.by(reason)
			if err != nil {
				return err
			}
			copiedAt, pauses, err := c.restoring(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.awaitRequests(cmd.Context()); err != nil {
				return err
			}
			if err := c.awaitSettled(cmd.Context(), pauses, settle); err != nil {
				return err
			}
			if err := c.auditRestored(cmd.Context(), copiedAt, by.Actor); err != nil || auditOnly {
				return err
			}
			for _, p := range pauses {
				if _, err := post[ops.GateView](cmd.Context(), c, "gate/resume", ops.GateAction{Target: p.Target, By: by}); err != nil {
					return err
				}
				c.say("%s is resumed.", p.Target)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; recorded (required)")
	cmd.Flags().DurationVar(&settle, "settle", 2*time.Minute, "SUBMIT_TIMEOUT and SETTLE_DELAY together, at least: what was sent last may be listed as late")
	cmd.Flags().BoolVar(&auditOnly, "audit-only", false, "resume nothing")
	return cmd
}

var errNotResumed = errors.New("interrupted: nothing was resumed")

var errNotBegun = exitf(exitRefused, "orders and top-ups are not paused by esimctl restore begin: see esimctl gate show")

// restoring finds the pauses that a restored database is under, and to when it was restored.
func (c *cli) restoring(ctx context.Context) (copiedAt time.Time, pauses []pressone.Pause, _ error) {
	v, err := get[ops.GateView](ctx, c, "gate", nil)
	if err != nil {
		return copiedAt, nil, err
	}
	for _, p := range v.Pauses {
		if at, ours := restore.CopiedAt(p.Reason); ours {
			copiedAt, pauses = at, append(pauses, p)
		}
	}
	if len(pauses) < 2 {
		return copiedAt, nil, errNotBegun
	}
	return copiedAt, pauses, nil
}

// awaitRequests waits until every request on the stream was taken.
func (c *cli) awaitRequests(ctx context.Context) error {
	return c.withNATS(ctx, func(ctx context.Context, _ config.Config, js jetstream.JetStream) error {
		said := -1
		for {
			left, err := restore.Left(ctx, js)
			if err != nil || left == 0 {
				return err
			}
			if left != said {
				said = left
				c.say("%d requests are yet to be taken", left)
			}
			if !sleep(ctx, auditPause) {
				return errNotResumed
			}
		}
	})
}

// awaitSettled waits until what was sent before the pause is listed if it was bought.
func (c *cli) awaitSettled(ctx context.Context, pauses []pressone.Pause, settle time.Duration) error {
	for _, p := range pauses {
		if d := time.Until(p.Since.Add(settle)); d > 0 {
			c.say("waiting %s for what was sent before to settle", d.Round(time.Second))
			if !sleep(ctx, d) {
				return errNotResumed
			}
		}
	}
	return nil
}

// auditRestored runs an audit that begins now, and refuses if orders are left over.
func (c *cli) auditRestored(ctx context.Context, copiedAt time.Time, actor string) error {
	runs, err := get[[]audit.Run](ctx, c, "audits", query("limit", "20"))
	if err != nil {
		return err
	}
	for _, r := range runs {
		if r.State != "running" {
			continue
		}
		// It has read a part of the books before.
		if _, err := c.awaitAudit(ctx, r); err != nil {
			return err
		}
	}
	from := copiedAt.AddDate(0, 0, -1).Format(time.DateOnly)
	run, err := post[audit.Run](ctx, c, "audits", ops.AuditRequest{From: from, Actor: actor})
	if err != nil {
		return err
	}
	report, err := c.awaitAudit(ctx, run)
	if err != nil {
		return err
	}
	if err := c.print(report, func(w io.Writer) error { return writeReport(w, report) }); err != nil {
		return err
	}
	left := 0
	for _, f := range report.Findings {
		if f.Status == audit.Open && f.Finding != audit.Phantom {
			left++
		}
	}
	switch {
	case report.State != "done":
		return fmt.Errorf("the audit failed: %s", plain(report.Trouble))
	case report.Unsettled > 0:
		return exitf(exitRefused, "%d orders are of sagas that are about to find them: wait a moment, and call it again", report.Unsettled)
	case left > 0:
		return exitf(exitRefused, "%d orders have no owner, and nothing is resumed: esimctl saga adopt REQUEST_ID --order ID, "+
			"or deliver by hand, then esimctl audit dismiss; and call it again", left)
	}
	return nil
}
