package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"esimflow/internal/audit"
)

func findingStatuses() []string {
	return []string{string(audit.Open), string(audit.Adopted), string(audit.Settled), string(audit.Dismissed), "any"}
}

func newAuditFindingsCommand(c *cli) *cobra.Command {
	var status string
	var limit int
	cmd := &cobra.Command{
		Use: "findings", Short: "List what audits have found, the latest first", Args: none,
		Long: `List what audits have found, the latest first; open findings unless --status says otherwise.
A finding is adopted when the audit gave the order to its saga, settled when it is no longer
so, and dismissed when an operator says that it is explained.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("status", status, findingStatuses()); err != nil {
				return err
			}
			if err := checkLimit(limit); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			all, err := get[[]audit.Finding](cmd.Context(), cl, "audit-findings", query("status", status, "limit", strconv.Itoa(limit)))
			if err != nil {
				return err
			}
			if len(all) == 0 {
				c.say("No finding matches.")
				if !c.json {
					return nil
				}
			}
			return c.print(all, func(w io.Writer) error { return writeFindings(w, all) })
		},
	}
	cmd.Flags().StringVar(&status, "status", "open", strings.Join(findingStatuses(), ", "))
	cmd.Flags().IntVar(&limit, "limit", defaultRows, "how many at the most")
	complete(cmd, "status", findingStatuses())
	return cmd
}

// writeFindings writes a paragraph for each: they are few, and each asks for something to
// be done.
func writeFindings(w io.Writer, all []audit.Finding) error {
	for _, f := range all {
		var sagaID string
		if f.SagaID != nil {
			sagaID = f.SagaID.String()
		}
		order := fmt.Sprintf("%d (%s)", f.OrderID, f.Order.Code)
		if f.Order.Code == "" {
			order = strconv.FormatInt(f.OrderID, 10)
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
		err := writeFields(w, "finding", f.ID.String(), "what", string(f.Finding), "status", string(f.Status), "why", f.Why, "do", f.Advice,
			"order", order, "package", f.Order.PackageID, "price", strings.TrimSpace(f.Order.Price+" "+f.Order.Currency),
			"bought", instant(f.Order.CreatedAt), "iccid", strings.Join(f.Order.ICCIDs, " "), "description", f.Order.Description,
			"saga", sagaID, "request", f.RequestID, "first seen", instant(f.FirstSeen), "by", f.Actor, "note", f.Note)
		if err != nil {
			return err
		}
	}
	return nil
}

func newAuditDismissCommand(c *cli) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "dismiss ID --reason TEXT", Short: "Close a finding that is explained", Args: exactly("ID"), ValidArgsFunction: findingIDs(c),
		Long: `Close a finding that is explained: somebody bought the order by hand, say, or PressOne has
refunded it. It changes no saga, and the audit does not open the finding again.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := uuid.Parse(args[0])
			if err != nil {
				return usagef("%q is not the id of a finding", args[0])
			}
			by, err := c.by(reason)
			if err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			done, err := post[audit.Finding](cmd.Context(), cl, "audit-findings/"+id.String()+"/dismiss", by)
			if err != nil {
				return err
			}
			return c.print(done, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "Finding %s is %s.\n", done.ID, done.Status)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; recorded (required)")
	return cmd
}
