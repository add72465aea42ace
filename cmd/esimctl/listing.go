package main

import (
	"context"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

// How many rows are listed unless --limit says otherwise, and the most that the API gives at once.
const (
	defaultRows = 100
	mostRows    = 10_000
)

// listing is a command that prints what the API lists.
type listing[T any] struct {
	path    string                     // of the API
	limit   int                        // defaultRows if it is 0
	which   string                     // they are: the latest, unless it says otherwise
	nothing string                     // what is said when there are none
	filter  func() (url.Values, error) // reads and checks the flags of cmd's own, if it has any
	write   func(io.Writer, []T) error // for people
}

// command makes cmd such a command, with --limit.
func (l listing[T]) command(c *cli, cmd *cobra.Command) *cobra.Command {
	if l.limit == 0 {
		l.limit = defaultRows
	}
	if l.which == "" {
		l.which = "latest"
	}
	var limit int
	cmd.Flags().IntVar(&limit, "limit", l.limit, "how many at the most")
	cmd.Args = none
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		q := url.Values{}
		if l.filter != nil {
			var err error
			if q, err = l.filter(); err != nil {
				return err
			}
		}
		if limit < 1 || limit > mostRows {
			return usagef("--limit %d is not 1 to %d", limit, mostRows)
		}
		q.Set("limit", strconv.Itoa(limit))
		n, err := list(cmd.Context(), c, l.path, q, l.nothing, l.write)
		if err == nil && n == limit && !cmd.Flags().Changed("limit") {
			c.say("These are the %s %d; there may be more: --limit.", l.which, n)
		}
		return err
	}
	return cmd
}

// list prints what the API lists at path, and returns how many there are.
func list[T any](ctx context.Context, c *cli, path string, q url.Values, nothing string, write func(io.Writer, []T) error) (int, error) {
	all, err := get[[]T](ctx, c, path, q)
	if err != nil {
		return 0, err
	}
	if len(all) == 0 {
		c.say("%s", nothing)
		if !c.json {
			return 0, nil
		}
	}
	return len(all), c.print(all, func(w io.Writer) error { return write(w, all) })
}

// query is names and values without the empty ones.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}
