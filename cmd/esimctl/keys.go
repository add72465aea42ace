package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"esimflow/internal/config"
	"esimflow/internal/saga"
	"esimflow/internal/seal"
)

func newKeysCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Show and rotate the keys that secrets rest under",
		Long: `Show and rotate the keys of ENCRYPTION_KEY, under which activation codes and the access token
rest in the database at DATABASE_URL. To rotate without downtime:

  1. give publishers, then workers, the new key as the second one:  ENCRYPTION_KEY=old,new
  2. then as the first one, which encrypts:                         ENCRYPTION_KEY=new,old
  3. esimctl keys rewrap, with the same ENCRYPTION_KEY
  4. esimctl keys status: nothing is under the old key any more
  5. take the old key away:                                         ENCRYPTION_KEY=new

Backups from before still need the old key.`,
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "status", Short: "Count what is encrypted, by key", Args: none,
			Long: `Count what is encrypted under which key, and what is not encrypted. It reads whole tables. A key
is named by an id that tells nothing about it. ENCRYPTION_KEY may be left out: then no id is said
to be in it.`,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.keysStatus(cmd.Context()) },
		},
		&cobra.Command{
			Use: "rewrap", Short: "Encrypt everything under the first key", Args: none,
			Long: `Encrypt under the first key of ENCRYPTION_KEY whatever rests under another one, or under none: in
small commits, while workers and publishers go on. It may be interrupted, and run again: it passes
by what is done. The stored access token is forgotten rather than encrypted anew: the next process
fetches another.

Exit code 5 says that something could not be opened, its key not being in ENCRYPTION_KEY, and is
as it was.`,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.keysRewrap(cmd.Context()) },
		},
	)
	return cmd
}

// keyStore opens the database, with the keys of ENCRYPTION_KEY.
func (c *cli) keyStore(ctx context.Context) (*saga.Store, *seal.Keys, func(), error) {
	cfg, err := config.Load(c.lookup, config.Migrate)
	if err != nil {
		return nil, nil, nil, usagef("%w", err)
	}
	var raw [][]byte
	for _, k := range cfg.EncryptionKeys {
		raw = append(raw, []byte(k.Reveal()))
	}
	keys, err := seal.New(raw)
	if err != nil {
		return nil, nil, nil, err
	}
	db, err := pgxpool.New(ctx, cfg.DatabaseURL.Reveal())
	if err != nil {
		return nil, nil, nil, errors.New("DATABASE_URL cannot be used") // err may hold the password
	}
	return saga.NewStore(db, saga.NewMetrics(prometheus.NewRegistry())).Sealed(keys), keys, db.Close, nil
}

// keyRow is a line of `keys status`.
type keyRow struct {
	saga.KeyCount

	Is string `json:"is"` // first, other, missing or none
}

func (c *cli) keysStatus(ctx context.Context) error {
	store, keys, closeDB, err := c.keyStore(ctx)
	if err != nil {
		return err
	}
	defer closeDB()
	counts, err := store.KeyCounts(ctx)
	if err != nil {
		return err
	}
	known := map[string]string{"": "not encrypted"}
	for i, id := range keys.IDs() {
		if known[id.String()] = "other"; i == 0 {
			known[id.String()] = "first"
		}
	}
	rows := []keyRow{}
	t := table{head: []string{"COLUMN", "KEY", "IS", "VALUES"}}
	for _, n := range counts {
		is, ok := known[n.Key]
		if !ok {
			is = "not in ENCRYPTION_KEY"
		}
		rows = append(rows, keyRow{n, is})
		t.add(n.Column, n.Key, is, strconv.FormatInt(n.Count, 10))
	}
	return c.print(rows, t.write)
}

func (c *cli) keysRewrap(ctx context.Context) error {
	store, keys, closeDB, err := c.keyStore(ctx)
	if err != nil {
		return err
	}
	defer closeDB()
	if !keys.On() {
		return usagef("ENCRYPTION_KEY is not set: its first key is what everything is to be encrypted under")
	}
	bar := newBar(c.err)
	all, err := store.Rewrap(ctx, func(r saga.Rewrapped) { bar.tell(fmt.Sprintf("%s: %d so far", r.Column, r.Done)) })
	bar.done()
	if err != nil {
		return err
	}
	var left int64
	t := table{head: []string{"COLUMN", "DONE", "KEY MISSING", "BROKEN"}}
	for _, r := range all {
		left += r.Missing + r.Broken
		t.add(r.Column, strconv.FormatInt(r.Done, 10), strconv.FormatInt(r.Missing, 10), strconv.FormatInt(r.Broken, 10))
	}
	if err := c.print(all, func(w io.Writer) error { return t.write(w) }); err != nil {
		return err
	}
	if left > 0 {
		return exitf(exitPartly, "%d values could not be opened, and are as they were", left)
	}
	return nil
}
