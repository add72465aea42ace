package main

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"esimflow/internal/config"
	"esimflow/internal/restore"
)

func newRestoreCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Open a database that was restored from an older point",
		Long: `Open a database that was restored from an older point than NATS and PressOne are at. What was
bought since is not in it, and workers that ran on it as it is would buy it again. In this order:

  stop every worker and publisher, restore the database
  esimctl restore begin --copied-at TIME --reason TEXT   before the first of them starts
  esimctl restore redeliver --reason TEXT                what was taken since is taken again
  start one worker and the publisher
  esimctl restore finish --reason TEXT                   audits, and resumes if no order is left

docs/operations.md says what is lost, and why nothing is bought twice.`,
	}
	cmd.AddCommand(newRestoreBeginCommand(c), newRestoreRedeliverCommand(c), newRestoreFinishCommand(c))
	return cmd
}

func newRestoreBeginCommand(c *cli) *cobra.Command {
	var at, reason string
	cmd := &cobra.Command{
		Use:   "begin --copied-at TIME --reason TEXT",
		Short: "Keep a restored database from buying, before workers start on it",
		Long: `Keep a restored database from buying, before workers start on it: orders and top-ups are paused,
replays that were running are aborted, nobody gives up for a day. It works on DATABASE_URL, and is
refused while a worker's lease runs. It may be repeated.

TIME is the moment that the database shows, or any earlier one: the audit looks at all since the
day before it.`,
		Example: `  esimctl restore begin --copied-at 2026-11-22T14:30:00Z --reason "disk lost, ticket 4711"`,
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			copiedAt, err := time.Parse(time.RFC3339, at)
			if err != nil {
				return usagef("--copied-at %q is not a time, like 2026-11-22T14:30:00Z", at)
			}
			by, err := c.by(reason)
			if err != nil {
				return err
			}
			return c.restoreBegin(cmd.Context(), copiedAt, restore.By(by))
		},
	}
	cmd.Flags().StringVar(&at, "copied-at", "", "the moment that the database shows (required)")
	cmd.Flags().StringVar(&reason, "reason", "", "why; recorded (required)")
	return cmd
}

func (c *cli) restoreBegin(ctx context.Context, copiedAt time.Time, by restore.By) error {
	conn, err := c.database(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	begun, err := restore.Begin(ctx, conn, copiedAt, by)
	if refused, is := errors.AsType[*restore.RefusedError](err); is {
		return exitf(exitRefused, "refused: %s", refused.Why)
	}
	if err != nil {
		return err
	}
	c.say("Nothing is bought on this database now. Next: esimctl restore redeliver")
	return c.print(begun, func(w io.Writer) error {
		return writeFields(w, "copied at", instant(begun.CopiedAt), "paused", strings.Join(begun.Paused, ", "),
			"replays aborted", strconv.FormatInt(begun.Replays, 10), "audits ended", strconv.FormatInt(begun.Audits, 10),
			"deadlines moved", strconv.FormatInt(begun.Extended, 10), "open dead letters", strconv.FormatInt(begun.OpenDead, 10))
	})
}

// database connects to the database itself: no worker runs.
func (c *cli) database(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := config.Load(c.lookup, config.Migrate)
	if err != nil {
		return nil, usagef("%w", err)
	}
	return pgx.Connect(ctx, cfg.DatabaseURL.Reveal())
}

func newRestoreRedeliverCommand(c *cli) *cobra.Command {
	var reason string
	var yes bool
	cmd := &cobra.Command{
		Use:   "redeliver --reason TEXT",
		Short: "Have every request on the stream delivered again",
		Long: `Have every request on the stream delivered again, by making the consumers anew. What the database
knows changes nothing; what was taken since the copy is taken again, under the reference that it
had. Nothing is bought: "esimctl restore begin" has to have paused the database at DATABASE_URL,
which is looked at first. It works on NATS_URL as whoever may delete and make consumers. Do it
before the first worker starts, so that what upstream sends again comes after what it repeats.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := c.by(reason); err != nil {
				return err
			}
			err := c.confirm(cmd.Context(), yes, question{
				ask: "Have every request on the stream delivered again?", left: "nothing is delivered again",
				would: "every request on the stream would be delivered again",
			})
			if err != nil {
				return err
			}
			conn, err := c.database(cmd.Context())
			if err != nil {
				return err
			}
			opening, err := restore.Opening(cmd.Context(), conn)
			if err = errors.Join(err, conn.Close(cmd.Context())); err != nil {
				return err
			}
			if !opening {
				return errNotBegun
			}
			return c.withNATS(cmd.Context(), func(ctx context.Context, _ config.Config, js jetstream.JetStream) error {
				left, err := restore.Redeliver(ctx, js)
				if err != nil {
					return err
				}
				c.say("%d requests are delivered again. Start one worker and the publisher, then: esimctl restore finish", left)
				return c.print(map[string]int{"left": left}, func(io.Writer) error { return nil })
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}
