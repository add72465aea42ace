package main

import (
	"io"
	"strconv"

	"github.com/spf13/cobra"
)

// listing is a command that prints a list of the API's, the latest first.
type listing[T any] struct {
	use, short string
	path       string // of the API
	limit      int    // how many, unless --limit says otherwise
	nothing    string // what is said when the list is empty
	write      func(w io.Writer, all []T) error
}

func (l listing[T]) command(c *cli) *cobra.Command {
	limit := l.limit
	cmd := &cobra.Command{
		Use: l.use, Short: l.short, Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(limit); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			all, err := get[[]T](cmd.Context(), cl, l.path, query("limit", strconv.Itoa(limit)))
			if err != nil {
				return err
			}
			if len(all) == 0 {
				c.say("%s", l.nothing)
				if !c.json {
					return nil
				}
			}
			return c.print(all, func(w io.Writer) error { return l.write(w, all) })
		},
	}
	cmd.Flags().IntVar(&limit, "limit", l.limit, "how many at the most")
	return cmd
}
