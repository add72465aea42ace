package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"esimflow/internal/bench"
)

func newBenchCommand(c *cli) *cobra.Command {
	var cfg bench.Config
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure what a saga costs, from request to result",
		Long: `Measure what a saga costs, from the request on JetStream to the result on JetStream: with a
private Postgres that syncs, a NATS server, the PressOne simulator, workers and a publisher, each
in a process of its own on this machine. It talks to nothing else, and needs Linux.

Without --rate all requests are on the stream before the workers may take them. With it, they
are published evenly, and the time from each one to its result is measured. Every run is checked:
each request must have ended once, and been bought once. The tables grow from run to run.

docs/performance.md says what the figures mean.`,
		Example: `  esimctl bench --n 20000 --latency 50ms
  esimctl bench --rate 100 --n 2000 --json
  esimctl bench --data /var/tmp/bench --preload 1000000 --statements`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("preload-waiting") {
				cfg.PreloadWaiting = cfg.Preload
			}
			if err := cfg.Validate(); err != nil {
				return usagef("%w", err)
			}
			bar := newBar(c.err)
			cfg.Progress = func(done, of int) {
				if bar.draw(done, of, fmt.Sprintf("%d of %d results", done, of)); done >= of {
					bar.done()
				}
			}
			report, err := bench.Measure(cmd.Context(), cfg, c.getenv, c.err)
			bar.done()
			if len(report.Runs) > 0 {
				err = errors.Join(err, c.print(report, report.Write))
			}
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&cfg.N, "n", 20_000, "sagas of a run")
	f.IntVar(&cfg.Runs, "runs", 3, "runs; the figures are medians over them")
	f.Float64Var(&cfg.Rate, "rate", 0, "requests a second; 0: all at once")
	f.DurationVar(&cfg.Latency, "latency", 0, "of the provider, before each of its answers")
	f.IntVar(&cfg.Workers, "workers", 1, "worker processes, 1 to 4")
	f.IntVar(&cfg.InFlight, "in-flight", 512, "MAX_IN_FLIGHT of a worker")
	f.IntVar(&cfg.WarmUp, "warm-up", 2_000, "sagas before each run that are not counted")
	f.Float64Var(&cfg.Topups, "topups", 0, "share of top-ups among the requests, 0 to 1")
	f.DurationVar(&cfg.Quiet, "quiet", 30*time.Second, "wait before each run, at most this long, for other programs to be quiet")
	f.IntVar(&cfg.Preload, "preload", 0, "finished sagas, and waiting ones, that the tables hold before")
	f.IntVar(&cfg.PreloadWaiting, "preload-waiting", 0, "how many are waiting (default as many as --preload)")
	f.BoolVar(&cfg.Snapshot, "snapshot", false, "hold a snapshot open during each run, so that nothing can be vacuumed")
	f.StringVar(&cfg.Data, "data", "", "keep Postgres's data and the logs in this directory; a preload that is there is used again")
	f.StringVar(&cfg.Profile, "profile", "", "write profiles of CPU and allocations of workers and publisher to this directory")
	f.BoolVar(&cfg.Statements, "statements", false, "list the costliest statements (needs the extension pg_stat_statements)")
	f.StringVar(&cfg.LogLevel, "log-level", "warn", "LOG_LEVEL of workers and publisher")
	f.StringArrayVar(&cfg.Env, "env", nil, "NAME=VALUE for workers and publisher, as often as needed")
	cmd.AddCommand(newBenchProcessCommand(c))
	return cmd
}

// newBenchProcessCommand is what bench starts its processes with.
func newBenchProcessCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:    "process NAME",
		Short:  "Be one of the processes of a bench",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return bench.Process(cmd.Context(), args[0], c.in, c.out, c.err)
		},
	}
}
