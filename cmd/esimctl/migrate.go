package main

import (
	"context"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"esimflow/internal/config"
	"esimflow/migrations"
)

func newMigrateCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the schema of the database up to date",
		Long:  "Bring the schema of the database at DATABASE_URL up to date, or see how far it is.",
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "up",
			Short: "Apply the migrations that are missing",
			Long: `Apply the migrations that are missing, in order, under a lock: two callers do not race, and
calling it again does nothing. Run it before the programs that need the new schema start.`,
			Args: none,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.migrateUp(cmd.Context()) },
		},
		&cobra.Command{
			Use:   "status",
			Short: "List the migrations and when they were applied",
			Args:  none,
			RunE:  func(cmd *cobra.Command, _ []string) error { return c.migrateStatus(cmd.Context()) },
		},
	)
	return cmd
}

func (c *cli) migrateUp(ctx context.Context) error {
	cfg, err := config.Load(c.lookup, config.Migrate)
	if err != nil {
		return usagef("%w", err)
	}
	applied, err := migrations.Up(ctx, cfg.DatabaseURL.Reveal())
	if err != nil {
		return err
	}
	if len(applied) == 0 {
		applied = []migrations.Migration{} // [] in JSON
		c.say("Nothing to do: the schema is at version %d.", migrations.Latest())
	} else {
		c.say("The schema is at version %d.", migrations.Latest())
	}
	return c.print(applied, func(w io.Writer) error {
		var t table
		for _, m := range applied {
			t.add("applied", strconv.FormatInt(m.Version, 10), m.Name)
		}
		return t.write(w)
	})
}

func (c *cli) migrateStatus(ctx context.Context) error {
	cfg, err := config.Load(c.lookup, config.Migrate)
	if err != nil {
		return usagef("%w", err)
	}
	all, err := migrations.Status(ctx, cfg.DatabaseURL.Reveal())
	if err != nil {
		return err
	}
	pending := 0
	t := table{head: []string{"VERSION", "MIGRATION", "APPLIED"}}
	for _, m := range all {
		applied := instant(m.AppliedAt)
		if applied == "" {
			applied = "pending"
			pending++
		}
		t.add(strconv.FormatInt(m.Version, 10), m.Name, applied)
	}
	if pending > 0 {
		c.say("%d to apply: run esimctl migrate up.", pending)
	}
	return c.print(all, t.write)
}
