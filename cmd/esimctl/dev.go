package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"esimflow/internal/app"
	"esimflow/internal/config"
	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
	"esimflow/migrations"
)

func newDevCommand(c *cli) *cobra.Command {
	var once bool
	var dir string
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine, with sample traffic",
		Long: `Run the main job in one process: an embedded NATS, a private Postgres, the PressOne simulator, a
worker and a publisher, and sample traffic with every kind of trouble in it. It never talks to any
provider but its own simulator.

With --once it ends when every sample request has ended, and exits 0 if each ended as it should and
the simulator has sold exactly what was needed. With --json, what became of the samples is printed
as JSON, and nothing else.

Without --once an order is published every two seconds until Ctrl-C. Several may run on one machine:
the first has ports 8080 and 9464, others find ports of their own and say which.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &dev{cli: c, dir: dir}
			err := d.start(cmd.Context(), once)
			switch {
			case err == nil && !once && dir == "":
				c.say("\nStopped; nothing is left of it.")
			case err == nil && !once:
				c.say("\nStopped; esimctl dev --data %s goes on with it.", dir)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "end when the sample traffic has ended")
	cmd.Flags().StringVar(&dir, "data", "", "keep the state in this directory (default: a temporary one, removed at the end)")
	return cmd
}

// dev is everything in one process.
type dev struct {
	*cli

	dir    string
	prefix string // of request ids

	sim     *pressonesim.Server
	nc      *nats.Conn
	js      jetstream.JetStream
	log     *os.File
	apiURL  string
	metrics string
}

// apiAddr is where the worker's API is by default, and where esimctl looks for it.
const apiAddr = "127.0.0.1:8080"

// devEnv makes seconds of what takes minutes with the real PressOne. The attempts are fewer than the outages in a row that close a
// lane: what is left last would be its probe, which costs no attempt, and never run out of them.
func devEnv() map[string]string {
	return map[string]string{
		"SUBMIT_TIMEOUT": "4s", "READ_TIMEOUT": "4s", "LIST_LAG": "400ms", "SETTLE_DELAY": "800ms",
		"RETRY_INITIAL": "100ms", "RETRY_MAX": "500ms", "RETRY_MAX_ATTEMPTS": "4",
		"POLL_INITIAL": "200ms", "POLL_MAX": "1s", "LEASE_TTL": "15s", "LOG_FORMAT": "text",
	}
}

func (d *dev) start(ctx context.Context, once bool) (err error) {
	temporary := d.dir == ""
	if temporary {
		if d.dir, err = os.MkdirTemp("", "esimflow-dev-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	}
	// Postgres may run as another user, who has to get to its directory.
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(d.dir, 0o755); err != nil {
		return err
	}
	if d.log, err = os.Create(filepath.Join(d.dir, "log.txt")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.log.Close()) }()

	d.say("Starting Postgres, NATS and the PressOne simulator …")
	slow := time.AfterFunc(longStart, func() {
		d.say("The first start takes longest: where no Postgres is installed, one is downloaded, once.")
	})
	defer slow.Stop()
	pg, err := devstack.StartPostgres(ctx, devstack.PostgresConfig{Dir: filepath.Join(d.dir, "postgres"), Durable: true, Log: d.log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pg.Stop()) }()
	if _, err := migrations.Up(ctx, pg.URL()); err != nil {
		return err
	}
	ns, err := devstack.StartNATS(devstack.NATSConfig{Dir: filepath.Join(d.dir, "nats")})
	if err != nil {
		return err
	}
	defer ns.Stop()
	if err := d.connect(ctx, ns.URL()); err != nil {
		return err
	}
	defer d.nc.Close()
	if err := d.simulate(temporary); err != nil { //nolint:contextcheck // it runs until it is closed
		return err
	}
	defer d.sim.Close()

	stop, err := d.startProcesses(ctx, pg.URL(), ns.URL())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	slow.Stop()
	d.introduce(pg.URL(), ns.URL(), temporary)
	return d.show(ctx, once)
}

// show runs the samples, and without once goes on until ctx is cancelled, which is how it ends.
func (d *dev) show(ctx context.Context, once bool) error {
	t := newTraffic(d, samples(d.prefix))
	switch err := t.run(ctx); {
	case ctx.Err() != nil && !once:
		return nil
	case ctx.Err() != nil:
		return errors.New("interrupted: not all samples had ended")
	case err != nil:
		return err
	}
	if err := t.summarize(); err != nil || once {
		return err
	}
	d.invite()
	return t.trickle(ctx)
}

// longStart is when somebody who waits wants to know what for.
const longStart = 5 * time.Second

// startTimeout is how long its own NATS is waited for, on a machine that has other things to do.
const startTimeout = time.Minute

func (d *dev) connect(ctx context.Context, url string) (err error) {
	if d.nc, err = nats.Connect(url, nats.Timeout(startTimeout)); err != nil {
		return err
	}
	if d.js, err = jetstream.New(d.nc, jetstream.WithDefaultTimeout(startTimeout)); err != nil {
		return err
	}
	for _, s := range message.Streams(1) {
		if _, err := d.js.CreateOrUpdateStream(ctx, s); err != nil {
			return fmt.Errorf("stream %s: %w", s.Name, err)
		}
	}
	for _, c := range message.Consumers() {
		if _, err := d.js.CreateOrUpdateConsumer(ctx, message.RequestsStream, c); err != nil {
			return fmt.Errorf("consumer %s: %w", c.Durable, err)
		}
	}
	return nil
}

// simulate starts PressOne. Where the state is kept, Postgres remembers the orders of
// earlier runs and the simulator does not: it goes on with other ids, and so do we.
func (d *dev) simulate(temporary bool) (err error) {
	first := 0 // the simulator's own
	if !temporary {
		d.prefix = time.Now().Format("0102-150405-")
		first = int(time.Now().UnixMilli()) // it does not sell a thousand a second
	}
	d.sim, err = pressonesim.Start(pressonesim.Config{FirstOrderID: first, Knobs: pressonesim.Knobs{
		TopupDescription: pressonesim.Replaced, Latency: 30 * time.Millisecond,
		Limits: map[pressonesim.Endpoint]pressonesim.Limit{pressonesim.Token: {}},
	}})
	return err
}

// startProcesses runs a worker and a publisher in this process, exactly as their programs
// would. The returned function stops them.
func (d *dev) startProcesses(ctx context.Context, database, natsURL string) (stop func() error, err error) {
	env := devEnv()
	env["DATABASE_URL"], env["NATS_URL"] = database, natsURL
	env["PRESSONE_BASE_URL"], env["PRESSONE_CLIENT_ID"], env["PRESSONE_CLIENT_SECRET"] = d.sim.URL(), "client", "secret"
	log := slog.New(slog.NewTextHandler(d.log, nil))
	load := func(need config.Need, api, telemetry string) (config.Config, error) {
		env["HTTP_ADDR"], env["TELEMETRY_ADDR"] = api, telemetry
		return config.Load(func(name string) string { return env[name] }, need)
	}
	cfg, err := load(config.Worker, freeOr(apiAddr), freeOr("127.0.0.1:9464"))
	if err != nil {
		return nil, err
	}
	worker, err := app.NewWorker(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	d.apiURL, d.metrics = "http://"+worker.APIAddr(), "http://"+worker.TelemetryAddr()+"/metrics"
	if cfg, err = load(config.Publisher, "127.0.0.1:0", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	publisher, err := app.NewPublisher(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	var workerErr, publisherErr error
	wg.Go(func() { workerErr = worker.Run(running) })
	wg.Go(func() { publisherErr = publisher.Run(running) })
	return func() error {
		cancel()
		wg.Wait()
		return errors.Join(workerErr, publisherErr)
	}, nil
}

// freeOr is addr if nobody listens there, and otherwise any free port.
func freeOr(addr string) string {
	l, err := net.Listen("tcp", addr) //nolint:noctx // it is closed at once
	if err != nil {
		return "127.0.0.1:0"
	}
	_ = l.Close()
	return addr
}

func (d *dev) introduce(database, natsURL string, temporary bool) {
	kept := "kept"
	if temporary {
		kept = "removed at the end"
	}
	d.say(`
  console      %s
  worker API   %s
  metrics      %s
  NATS         %s
  Postgres     %s
  PressOne     %s (the simulator)
  its books    %s/ledger
  data         %s (%s; the log is log.txt)
`, d.apiURL+"/", d.apiURL, d.metrics, natsURL, database, d.sim.URL(), d.sim.AdminURL(), d.dir, kept)
}

// invite says what there is to see, and what to type in another terminal.
func (d *dev) invite() {
	program := os.Args[0]
	if strings.Contains(program, "go-build") {
		program = "go run ./cmd/esimctl"
	}
	if d.apiURL != "http://"+apiAddr {
		program += " --url " + d.apiURL
	}
	d.say("\nRunning on, with an order every two seconds.\nThe console is at %s/. In another terminal:\n", d.apiURL)
	for _, line := range [][2]string{
		{"saga show " + d.prefix + "order-drop-after", "an answer was lost, and the order found"},
		{"dlq list --group", "what has stopped, and why"},
		{"dlq replay --code 11 --dry-run", "what a replay would do and cost"},
	} {
		d.say("  %s %-*s   %s", program, len("saga show order-drop-after")+max(len(d.prefix), 4), line[0], line[1])
	}
	d.say("\nCtrl-C ends it.")
}
