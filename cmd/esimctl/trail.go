package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"esimflow/internal/ops"
)

func newTrailCommand(c *cli) *cobra.Command {
	var actor, what string
	cmd := &cobra.Command{
		Use: "trail", Short: "List what people asked for, the latest first",
		Long: `List what people asked for, in the console and with esimctl, the latest first: who, what, what came
of it; to what, why, and as what and how they had shown who they are. It is appended to and never
changed.

  done      it was done
  refused   nothing was changed; the note says why
  failed    it may have been done: look at what it was about
  -         it goes on, or the worker ended meanwhile`,
		Example: `  esimctl trail --by ann
  esimctl trail --what reveal --limit 20`,
	}
	cmd.Flags().StringVar(&actor, "by", "", "of one person only")
	cmd.Flags().StringVar(&what, "what", "", "one thing only, as the list calls it: reveal, adopt, pause, log_in")
	return listing[ops.Recorded]{
		path: "trail", nothing: "Nobody has asked for that yet.", write: writeTrail,
		filter: func() (url.Values, error) { return query("actor", actor, "what", what), nil },
	}.command(c, cmd)
}

// writeTrail has what may be long in the last column, which is as wide as an id.
func writeTrail(w io.Writer, all []ops.Recorded) error {
	t := table{head: []string{"WHEN", "BY", "DID", "RESULT", "ABOUT"}, cut: 1}
	for _, a := range all {
		about := []string{a.Target, a.Note}
		if a.Reason != "" {
			about = append(about, "why: "+a.Reason)
		}
		about = append(about, fmt.Sprintf("as %s by %s", a.Role, a.How))
		about = slices.DeleteFunc(about, func(s string) bool { return s == "" })
		t.add(instant(a.At), a.Actor, a.What, cmp.Or(a.Result, "-"), strings.Join(about, "; "))
	}
	return t.write(w)
}
