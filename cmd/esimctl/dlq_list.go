package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"esimflow/internal/deadletter"
)

func newDLQListCommand(c *cli) *cobra.Command {
	var flags letterFlags
	var status string
	var limit int
	var group bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the oldest first",
		Long:  "List dead letters, the oldest first; open ones unless --status says otherwise.",
		Example: `  esimctl dlq list --group
  esimctl dlq list --class insufficient_credit`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := flags.filter()
			if err != nil {
				return err
			}
			if err := oneOf("status", status, statuses()); err != nil {
				return err
			}
			if err := checkLimit(limit); err != nil {
				return err
			}
			older := ""
			if f.Older > 0 {
				older = f.Older.String()
			}
			q := query("kind", string(f.Kind), "code", f.Code, "class", f.Class, "package", f.Package, "iccid", f.ICCID, "older", older)
			if group {
				if cmd.Flags().Changed("status") || cmd.Flags().Changed("limit") {
					return usagef("--group counts all open ones: it goes with neither --status nor --limit")
				}
				return c.dlqGroups(cmd.Context(), q)
			}
			q.Set("status", status)
			q.Set("limit", strconv.Itoa(limit))
			return c.dlqList(cmd.Context(), q, status != "open", !cmd.Flags().Changed("limit"))
		},
	}
	flags.add(c, cmd)
	cmd.Flags().StringVar(&status, "status", "open", "open, replayed, adopted, confirmed_absent, discarded or any")
	cmd.Flags().BoolVar(&group, "group", false, "count the open ones by code and class, with the first and the last seen")
	cmd.Flags().IntVar(&limit, "limit", defaultRows, "how many at the most")
	complete(cmd, "status", statuses())
	return cmd
}

// dlqList lists what q chooses; hint says how to see more if there may be more.
func (c *cli) dlqList(ctx context.Context, q url.Values, withStatus, hint bool) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	all, err := get[[]deadletter.Letter](ctx, cl, "dead-letters", q)
	if err != nil {
		return err
	}
	t := table{head: []string{"DEAD LETTER", "KIND", "REQUEST", "CODE", "BOUGHT", "AGE"}, cut: 2}
	if withStatus {
		t.head = append(t.head, "STATUS")
	}
	codes := map[string]int{}
	for _, l := range all {
		codes[l.Code]++
		row := []string{l.ID.String(), string(l.Kind), l.RequestID, l.Code, string(l.Purchased), age(l.CreatedAt)}
		if withStatus {
			row = append(row, l.Status)
		}
		t.add(row...)
	}
	switch {
	case len(all) == 0:
		c.say("No dead letter matches.")
		if !c.json {
			return nil
		}
	case hint && len(all) == defaultRows:
		c.say("These are the oldest %d; there may be more: --limit.", defaultRows)
	}
	if err := c.print(all, t.write); err != nil {
		return err
	}
	if len(codes) > 1 && !c.json {
		c.say("%s.", counts(codes))
	}
	return nil
}

// dlqGroups counts what q chooses by code and class.
func (c *cli) dlqGroups(ctx context.Context, q url.Values) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	all, err := get[[]deadletter.Group](ctx, cl, "dead-letter-groups", q)
	if err != nil {
		return err
	}
	t := table{head: []string{"CODE", "CLASS", "LETTERS", "FIRST SEEN", "LAST SEEN"}}
	for _, g := range all {
		t.add(g.Code, g.Class, strconv.Itoa(g.Count), instant(g.FirstSeen), instant(g.LastSeen))
	}
	if len(all) == 0 {
		c.say("No dead letter matches.")
		if !c.json {
			return nil
		}
	}
	return c.print(all, t.write)
}

// counts says how many there are of each code, most first.
func counts(codes map[string]int) string {
	var names []string
	for code := range codes {
		names = append(names, code)
	}
	slices.SortFunc(names, func(a, b string) int {
		if n := codes[b] - codes[a]; n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	for i, code := range names {
		names[i] = fmt.Sprintf("%d with code %s", codes[code], plain(code))
	}
	return strings.Join(names, ", ")
}
