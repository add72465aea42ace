package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"esimflow/internal/config"
	"esimflow/internal/deadletter"
	"esimflow/internal/monitor"
	"esimflow/internal/ops"
	"esimflow/internal/outbox"
	"esimflow/internal/saga"
)

// Publisher is the outbox's relay as a process.
type Publisher struct {
	cfg       config.Config
	log       *slog.Logger
	reg       *prometheus.Registry
	telemetry *ops.Server
	problem   atomic.Pointer[error]
	watching  watching
	tracing   trace.TracerProvider // nil: no spans
}

// NewPublisher takes the telemetry address; nothing else happens until Run.
func NewPublisher(ctx context.Context, cfg config.Config, log *slog.Logger, more ...Option) (*Publisher, error) {
	telemetry, err := ops.Listen(ctx, cfg.TelemetryAddr)
	if err != nil {
		return nil, err
	}
	return &Publisher{
		cfg: cfg, log: log, reg: newRegistry(PublisherProgram), telemetry: telemetry, tracing: optionsOf(more).tracing,
	}, nil
}

// TelemetryAddr is where /metrics is served.
func (p *Publisher) TelemetryAddr() string { return p.telemetry.Addr() }

// Run relays the outbox until ctx is cancelled.
func (p *Publisher) Run(ctx context.Context) error {
	name := processName("publisher") + "-" + uuid.NewString()[:8]
	keys, err := keysOf(p.cfg)
	if err != nil {
		return err
	}
	db, err := openPool(ctx, p.cfg, name, publisherPoolSize, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	nc, err := connectNATS(p.cfg, name, p.reg, p.log, func(Denial) {})
	if err != nil {
		return err
	}
	defer nc.Close()

	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	var wg sync.WaitGroup
	var serveErr error
	wg.Go(func() {
		serveErr = p.telemetry.Serve(serving, ops.Telemetry(p.reg, func() error { return p.ready(ctx, nc) }))
	})

	awaitSchema(ctx, db, p.log, func(err error) { p.problem.Store(&err) })
	if ctx.Err() == nil {
		warnUnsealed(ctx, keys, p.log)
		store := saga.NewStore(db, saga.NewMetrics(p.reg)).Sealed(keys)
		relay := outbox.NewRelay(outbox.Config{
			DB: db, NATS: nc, Name: name, Hooks: hooks(db, store), Keys: keys, Log: p.log, Reg: p.reg, Tracing: p.tracing,
		})
		p.reg.MustRegister(monitor.Pools{"main": db})
		collector := monitor.NewCollector(p.reg, p.log, p.watching.every, shared(db, store, policyOf(p.cfg), p.cfg)...)
		wg.Go(func() { collector.Run(ctx) })
		p.log.InfoContext(ctx, "publisher started", "name", name)
		err = relay.Run(ctx)
	}
	stopServing()
	wg.Wait()
	return errors.Join(err, serveErr)
}

func (p *Publisher) ready(ctx context.Context, nc *nats.Conn) error {
	if ctx.Err() != nil {
		return errors.New("app: stopping")
	}
	if problem := p.problem.Load(); problem == nil {
		return errors.New("app: starting")
	} else if *problem != nil {
		return *problem
	}
	return natsProblem(nc)
}

// hooks is what JetStream's acknowledgement of a message means: a result completes its
// saga, a dead letter's copy is noted on the letter.
func hooks(db *pgxpool.Pool, sagas *saga.Store) outbox.Hooks {
	return outbox.Hooks{
		Copies: deadletter.Copies(db),
		Published: func(b *pgx.Batch, acked []outbox.Acked) (committed func()) {
			var completed []uuid.UUID
			for _, a := range acked {
				if a.Saga != uuid.Nil {
					completed = append(completed, a.Saga)
				}
				if a.DeadLetter != uuid.Nil {
					deadletter.Copied(b, a.DeadLetter, a.Sequence)
				}
			}
			return sagas.Announce(b, completed)
		},
	}
}
