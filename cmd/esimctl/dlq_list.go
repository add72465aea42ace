package main

import (
	"cmp"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"esimflow/internal/deadletter"
)

func newDLQListCommand(c *cli) *cobra.Command {
	var flags letterFlags
	var status string
	var group bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the oldest first",
		Long:  "List dead letters, the oldest first; open ones unless --status says otherwise.",
		Example: `  esimctl dlq list --group
  esimctl dlq list --class insufficient_credit`,
	}
	flags.add(c, cmd)
	cmd.Flags().StringVar(&status, "status", "open", "open, replayed, adopted, confirmed_absent, discarded or any")
	cmd.Flags().BoolVar(&group, "group", false, "count the open ones by code and class, with the first and the last seen")
	complete(cmd, "status", statuses())
	l := listing[deadletter.Letter]{
		path: "dead-letters", which: "oldest", nothing: "No dead letter matches.",
		filter: func() (url.Values, error) {
			q, err := flags.query()
			if status != "" {
				q.Set("status", status)
			}
			return q, cmp.Or(err, oneOf("status", status, statuses()))
		},
		write: func(w io.Writer, all []deadletter.Letter) error { return writeLetters(w, all, status != "open") },
	}
	l.command(c, cmd)
	each := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !group {
			return each(cmd, args)
		}
		if cmd.Flags().Changed("status") || cmd.Flags().Changed("limit") {
			return usagef("--group counts all open ones: it goes with neither --status nor --limit")
		}
		q, err := flags.query()
		if err != nil {
			return err
		}
		_, err = list(cmd.Context(), c, "dead-letter-groups", q, l.nothing, writeGroups)
		return err
	}
	return cmd
}

// query is the flags as the API has them.
func (l *letterFlags) query() (url.Values, error) {
	f, err := l.filter()
	older := ""
	if f.Older > 0 {
		older = f.Older.String()
	}
	return query("kind", string(f.Kind), "code", f.Code, "class", f.Class, "package", f.Package, "iccid", f.ICCID, "older", older), err
}

// writeLetters has no room for both the kind and the status.
func writeLetters(w io.Writer, all []deadletter.Letter, withStatus bool) error {
	t := table{head: []string{"DEAD LETTER", "KIND", "REQUEST", "CODE", "BOUGHT", "AGE"}, cut: 2}
	if withStatus {
		t.head[1] = "STATUS"
	}
	for _, l := range all {
		is := string(l.Kind)
		if withStatus {
			is = l.Status
		}
		t.add(l.ID.String(), is, l.RequestID, l.Code, string(l.Purchased), age(l.CreatedAt))
	}
	return t.write(w)
}

// writeGroups counts by code and class.
func writeGroups(w io.Writer, all []deadletter.Group) error {
	t := table{head: []string{"CODE", "CLASS", "LETTERS", "FIRST SEEN", "LAST SEEN"}}
	for _, g := range all {
		t.add(g.Code, g.Class, strconv.Itoa(g.Count), instant(g.FirstSeen), instant(g.LastSeen))
	}
	return t.write(w)
}
