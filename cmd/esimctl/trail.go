package main

import (
	"cmp"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"esimflow/internal/ops"
)

func newTrailCommand(c *cli) *cobra.Command {
	var actor, what string
	var limit int
	cmd := &cobra.Command{
		Use: "trail", Short: "List what people asked for, the latest first", Args: none,
		Long: `List what people asked for, in the console and with esimctl, the latest first: who, as what and how
they had shown who they are, what, why, and what came of it. It is appended to and never changed.

  done      it was done
  refused   nothing was changed; the note says why
  failed    it may have been done: look at what it was about
  -         it goes on, or the worker ended meanwhile`,
		Example: `  esimctl trail --by ann
  esimctl trail --what reveal --limit 20`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			all, err := get[[]ops.Recorded](cmd.Context(), cl, "trail",
				query("limit", strconv.Itoa(limit), "actor", actor, "what", what))
			if err != nil {
				return err
			}
			if len(all) == 0 {
				c.say("Nobody has asked for that yet.")
				if !c.json {
					return nil
				}
			}
			return c.print(all, func(w io.Writer) error {
				t := table{head: []string{"WHEN", "BY", "ROLE", "HOW", "DID", "TO", "RESULT", "NOTE", "WHY"}}
				for _, a := range all {
					t.add(instant(a.At), a.Actor, string(a.Role), a.How, a.What, a.Target, cmp.Or(a.Result, "-"), a.Note, a.Reason)
				}
				return t.write(w)
			})
		},
	}
	cmd.Flags().StringVar(&actor, "by", "", "of one person only")
	cmd.Flags().StringVar(&what, "what", "", "one thing only, as the list calls it: reveal, adopt, pause, log_in")
	cmd.Flags().IntVar(&limit, "limit", defaultRows, "how many at the most")
	return cmd
}
