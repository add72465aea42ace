package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"esimflow/internal/audit"
	"esimflow/internal/deadletter"
	"esimflow/internal/saga"
)

// completeTimeout is how long a shell that completes waits for the worker. Whoever has
// pressed Tab is typing: no answer is an answer.
const completeTimeout = 2 * time.Second

// mostOffered is how many ids are offered.
const mostOffered = "50"

// offer is what is offered to the shell: a word, and what it is.
type offer struct{ word, what string }

// safe words need no quoting in any shell. What upstream has written may be anything.
var safe = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:@/+-]*$`)

// offering makes what ask finds at the worker a completion. Nothing is said when the worker
// is not there: the line that is being typed would be spoilt.
func offering(c *cli, ask func(context.Context, *cli) ([]offer, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		found, err := ask(ctx, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var all []cobra.Completion
		for _, o := range found {
			if safe.MatchString(o.word) && !slices.Contains(args, o.word) {
				all = append(all, cobra.CompletionWithDesc(o.word, shorten(plain(o.what), 60)))
			}
		}
		return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// first offers only the first argument.
func first(f cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f(cmd, args, word)
	}
}

// asking is an ask that lists something of the API's and offers what each of it makes.
func asking[T any](path string, q url.Values, of func(T) offer) func(context.Context, *cli) ([]offer, error) {
	return func(ctx context.Context, c *cli) ([]offer, error) {
		all, err := get[[]T](ctx, c, path, q)
		var found []offer
		for _, v := range all {
			found = append(found, of(v))
		}
		return found, err
	}
}

// sagaIDs offers the request ids of the youngest sagas, in a state unless it is empty.
func sagaIDs(c *cli, state saga.State) cobra.CompletionFunc {
	return first(offering(c, asking("sagas", query("state", string(state), "limit", mostOffered), func(s saga.Summary) offer {
		return offer{s.RequestID, fmt.Sprintf("%s, %s", s.Kind, s.State)}
	})))
}

// letterIDs offers the oldest open dead letters.
func letterIDs(c *cli) cobra.CompletionFunc {
	return offering(c, asking("dead-letters", query("status", "open", "limit", mostOffered), func(l deadletter.Letter) offer {
		return offer{l.ID.String(), fmt.Sprintf("%s, %s", l.Code, l.RequestID)}
	}))
}

// replayIDs offers the latest replays.
func replayIDs(c *cli) cobra.CompletionFunc {
	return first(offering(c, asking("replays", query("limit", mostOffered), func(r deadletter.Replay) offer {
		return offer{r.ID.String(), fmt.Sprintf("%s, %s", r.State, r.Reason)}
	})))
}

// auditIDs offers the latest audits.
func auditIDs(c *cli) cobra.CompletionFunc {
	return first(offering(c, asking("audits", query("limit", mostOffered), func(r audit.Run) offer {
		return offer{r.ID.String(), fmt.Sprintf("%s, %s to %s", r.State, r.From.Format(time.DateOnly), r.To.Format(time.DateOnly))}
	})))
}

// findingIDs offers the latest open findings.
func findingIDs(c *cli) cobra.CompletionFunc {
	return first(offering(c, asking("audit-findings", query("status", string(audit.Open), "limit", mostOffered), func(f audit.Finding) offer {
		return offer{f.ID.String(), fmt.Sprintf("%s, order %d", f.Finding, f.OrderID)}
	})))
}

// letterCodes offers the codes of open dead letters, most common first, with how many there are.
func letterCodes(c *cli) cobra.CompletionFunc {
	return offering(c, asking("dead-letter-groups", nil, func(g deadletter.Group) offer {
		return offer{g.Code, fmt.Sprintf("%s, %s", letters(g.Count), g.Class)}
	}))
}

// files are the flags whose values are names of files.
var files = []string{"file", "data", "profile"}

// noFiles keeps the shell from offering files where nothing else is offered: almost nothing
// here is the name of one.
func noFiles(cmd *cobra.Command) {
	if cmd.ValidArgsFunction == nil && cmd.Runnable() {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, flag := range flagsOf(cmd) {
		if _, found := cmd.GetFlagCompletionFunc(flag); !found && !slices.Contains(files, flag) {
			completeWith(cmd, flag, cobra.NoFileCompletions)
		}
	}
	for _, sub := range cmd.Commands() {
		noFiles(sub)
	}
}

// bashWords is what the script for bash needs of the package bash-completion, for where that
// is not installed: the words up to the cursor, as far as blanks tell them apart.
const bashWords = `if ! declare -F _get_comp_words_by_ref >/dev/null 2>&1; then
    _get_comp_words_by_ref() {
        local line=${COMP_LINE:0:COMP_POINT}
        read -ra words <<<"$line"
        [[ $line == *" " ]] && words+=("")
        cword=$((${#words[@]} - 1)) cur=${words[${#words[@]} - 1]} prev=${words[${#words[@]} - 2]}
    }
fi

`

// bashAlone has the script for bash bring bashWords.
func bashAlone(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	cmd, _, err := root.Find([]string{"completion", "bash"})
	if err != nil {
		panic(err) // cobra has no such command any more
	}
	script := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := io.WriteString(root.OutOrStdout(), bashWords); err != nil {
			return err
		}
		return script(cmd, args)
	}
}
