package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"esimflow/internal/audit"
)

func findingStatuses() []string {
	return []string{string(audit.Open), string(audit.Adopted), string(audit.Settled), string(audit.Dismissed), "any"}
}

func newAuditFindingsCommand(c *cli) *cobra.Command {
	var status string
	cmd := &cobra.Command{
		Use: "findings", Short: "List what audits have found, the latest first",
		Long: `List what audits have found, the latest first; open findings unless --status says otherwise.
A finding is adopted when the audit gave the order to its saga, settled when it is no longer
so, and dismissed when an operator says that it is explained.`,
	}
	cmd.Flags().StringVar(&status, "status", "open", strings.Join(findingStatuses(), ", "))
	complete(cmd, "status", findingStatuses())
	return listing[audit.Finding]{
		path: "audit-findings", nothing: "No finding matches.", write: writeFindings,
		filter: func() (url.Values, error) { return query("status", status), oneOf("status", status, findingStatuses()) },
	}.command(c, cmd)
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
	return deciding(aFinding, c, &cobra.Command{
		Use: "dismiss ID --reason TEXT", Short: "Close a finding that is explained",
		Long: `Close a finding that is explained: somebody bought the order by hand, say, or PressOne has
refunded it. It changes no saga, and the audit does not open the finding again.`,
	}, "dismiss", func(f audit.Finding) string { return fmt.Sprintf("Finding %s is %s.", f.ID, f.Status) })
}
