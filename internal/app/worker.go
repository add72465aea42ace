package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"esimflow/internal/config"
	"esimflow/internal/intake"
	"esimflow/internal/ops"
	"esimflow/internal/restore"
	"esimflow/internal/saga"
)

// Worker is intake, the sagas' runner and the API as a process.
type Worker struct {
	cfg       config.Config
	log       *slog.Logger
	reg       *prometheus.Registry
	api       *ops.Server
	telemetry *ops.Server
	ready     atomic.Pointer[func() error]
	watching  watching
	tracing   trace.TracerProvider // nil: no spans
}

// NewWorker takes the addresses; nothing else happens until Run.
func NewWorker(ctx context.Context, cfg config.Config, log *slog.Logger, more ...Option) (*Worker, error) {
	api, err := ops.Listen(ctx, cfg.HTTPAddr)
	if err != nil {
		return nil, err
	}
	telemetry, err := ops.Listen(ctx, cfg.TelemetryAddr)
	if err != nil {
		api.Close()
		return nil, err
	}
	w := &Worker{cfg: cfg, log: log, reg: newRegistry(WorkerProgram), api: api, telemetry: telemetry, tracing: optionsOf(more).tracing}
	w.notReady(nil)
	return w, nil
}

// APIAddr is where the API is served, TelemetryAddr where /metrics is.
func (w *Worker) APIAddr() string { return w.api.Addr() }

// TelemetryAddr is where /metrics, /healthz and /readyz are served.
func (w *Worker) TelemetryAddr() string { return w.telemetry.Addr() }

// Ready returns why the worker does not do its work, or nil.
func (w *Worker) Ready() error { return (*w.ready.Load())() }

// notReady says why the worker does not do its work yet; nil: that is over, and it is
// still starting.
func (w *Worker) notReady(err error) {
	if err == nil {
		err = errors.New("app: starting")
	}
	f := func() error { return err }
	w.ready.Store(&f)
}

// shutdownMargin is what stopping takes beside the submissions in flight: committing
// their outcomes, draining intake and the API.
const shutdownMargin = 5 * time.Second

// Run takes requests and drives sagas until ctx is cancelled, then finishes what is in
// flight within SUBMIT_TIMEOUT and a margin.
func (w *Worker) Run(ctx context.Context) error {
	name := processName("worker")
	witness := restore.NewWitness()
	db, err := openPool(ctx, w.cfg, name, poolSize, witness.Greet)
	if err != nil {
		return err
	}
	defer db.Close()
	nc, err := connectNATS(w.cfg, name, w.reg, w.log, func(d Denial) { witness.Denied(d.Subject) })
	if err != nil {
		return err
	}
	defer nc.Close()

	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	var servers sync.WaitGroup
	var telemetryErr error
	servers.Go(func() { telemetryErr = w.telemetry.Serve(serving, ops.Telemetry(w.reg, w.Ready)) })

	awaitSchema(ctx, db, w.log, w.notReady)
	if ctx.Err() == nil {
		err = w.work(ctx, db, nc, witness, name)
	}
	stopServing()
	servers.Wait()
	return errors.Join(err, telemetryErr)
}

// work runs the parts, in the order in which they have to stop.
func (w *Worker) work(ctx context.Context, db *pgxpool.Pool, nc *nats.Conn, witness *restore.Witness, name string) error {
	// Renewing must not wait behind the sagas' commits: the lease has a connection of its own.
	vital, err := openPool(ctx, w.cfg, name+"-lease", 1, nil)
	if err != nil {
		return err
	}
	defer vital.Close()
	p, err := w.assemble(ctx, db, vital, nc, witness, name)
	if err != nil {
		return err
	}
	defer p.provider.client.Close()

	var watchers sync.WaitGroup
	watchers.Go(func() { p.collector.Run(ctx) })
	defer watchers.Wait()
	if firstBeat(ctx, p.lease, p.provider, w.log, w.notReady); ctx.Err() != nil {
		return nil
	}
	if loadDigestKey(ctx, p.store, w.log); ctx.Err() != nil {
		return nil
	}
	if witness.First(ctx); ctx.Err() != nil {
		return nil
	}
	ready := func() error { return errors.Join(readiness(ctx, nc, p.lease, p.consumers), witness.Problem()) }
	w.ready.Store(&ready)
	w.log.InfoContext(ctx, "worker started", "name", name, "api", w.APIAddr(), "telemetry", w.TelemetryAddr())

	// Each of these outlives the one before: intake stops first, then the runner, then
	// the API, so that the last seconds can be watched.
	running, stopRunner := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRunner()
	serving, stopAPI := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAPI()
	var intakes, runners, apis, jobs sync.WaitGroup
	var runErr, apiErr error
	apis.Go(func() { apiErr = w.api.Serve(serving, ops.Handler(p.console)) })
	runners.Go(func() { runErr = p.runner.Run(running) })
	for _, j := range p.jobs {
		jobs.Go(func() { j.Run(ctx) })
	}
	<-p.runner.Started() // there is room for requests from the first on
	for _, c := range p.consumers {
		intakes.Go(func() { c.Run(ctx) })
	}
	intakes.Wait()
	jobs.Wait()
	w.log.InfoContext(ctx, "worker stopping", "cause", context.Cause(ctx))
	stopRunner()
	runners.Wait()
	stopAPI()
	apis.Wait()
	return errors.Join(runErr, apiErr)
}

// firstBeat takes the lease; until then nothing can be claimed or accepted.
func firstBeat(ctx context.Context, lease *saga.Lease, p *provider, log *slog.Logger, note func(error)) {
	for ctx.Err() == nil {
		err := errors.Join(lease.Renew(ctx), p.gate.Refresh(ctx))
		if err == nil {
			return
		}
		note(err)
		log.WarnContext(ctx, "waiting for the database", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// readiness says why the worker takes no requests, or nil. PressOne is not asked: when it
// is away, requests are accepted and wait.
func readiness(ctx context.Context, nc *nats.Conn, lease *saga.Lease, consumers []*intake.Consumer) error {
	if ctx.Err() != nil {
		return errors.New("app: stopping")
	}
	var errs []error
	errs = append(errs, natsProblem(nc))
	if !lease.Runs(lease.ID()) {
		errs = append(errs, saga.ErrLeaseLost)
	}
	for _, c := range consumers {
		errs = append(errs, c.Ready())
	}
	return errors.Join(errs...)
}

func policyOf(cfg config.Config) saga.Policy {
	return saga.Policy{
		SubmitTimeout: cfg.SubmitTimeout, ListLag: cfg.ListLag, SettleDelay: cfg.SettleDelay,
		AbsenceLooks: cfg.AbsenceLooks, Hold: cfg.UnknownPolicy == config.Hold,
		RetryInitial: cfg.RetryInitial, RetryMax: cfg.RetryMax, MaxTries: cfg.RetryMaxAttempts, Deadline: cfg.SagaDeadline,
		PollInitial: cfg.PollInitial, PollMax: cfg.PollMax, PollDeadline: cfg.PollDeadline,
	}
}
