package app

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"esimflow/internal/audit"
	"esimflow/internal/deadletter"
	"esimflow/internal/intake"
	"esimflow/internal/message"
	"esimflow/internal/monitor"
	"esimflow/internal/ops"
	"esimflow/internal/outbox"
	"esimflow/internal/restore"
	"esimflow/internal/retention"
	"esimflow/internal/saga"
)

// witnessTurn and witnessAsk bound what a witness does; 0 is as it says itself. Tests set them: on a busy machine
// a worker would begin with a wait for its second look.
var witnessTurn, witnessAsk time.Duration

// parts are what a worker is made of: nothing of it runs yet.
type parts struct {
	store     *saga.Store
	lease     *saga.Lease
	provider  *provider
	runner    *saga.Runner
	consumers []*intake.Consumer // a kind of request each
	jobs      []job
	collector *monitor.Collector
	console   ops.ConsoleConfig
}

// job is something that goes on beside the sagas until ctx is cancelled.
type job interface{ Run(ctx context.Context) }

// assemble makes the parts. vital is for the lease alone.
func (w *Worker) assemble(ctx context.Context, db, vital *pgxpool.Pool, nc *nats.Conn, witness *restore.Witness, name string) (*parts, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("app: %w", err)
	}
	hint := func(subject string) func() {
		return func() { _ = nc.Publish(subject, nil) } // it saves a wait; nothing depends on it
	}
	sagas := saga.NewMetrics(w.reg)
	keys, err := keysOf(w.cfg)
	if err != nil {
		return nil, err
	}
	warnUnsealed(ctx, keys, w.log)
	warnGuessable(ctx, w.cfg, w.log)
	store := saga.NewStore(db, sagas).Sealed(keys)
	lease := saga.NewLease(vital, name, w.cfg.LeaseTTL, sagas)
	policy := policyOf(w.cfg)
	provider, err := newProvider(w.cfg, db, name, w.reg, w.tracing, witness.Held, hint(message.GateHint))
	if err != nil {
		return nil, err
	}
	runner := saga.NewRunner(saga.RunnerConfig{
		Policy: policy, MaxInFlight: w.cfg.MaxInFlight, LeaseTTL: w.cfg.LeaseTTL, Eager: w.cfg.PressOneRate == 0,
		Budget: w.cfg.SubmitTimeout + shutdownMargin,
		Store:  store, Lease: lease, Provider: provider.client, Gate: provider.gate, Limiter: provider.limiter,
		Published: hint(message.OutboxHint), Log: w.log, Tracing: w.tracing,
		Beat: func(ctx context.Context, workers int) error {
			provider.limiter.SetWorkers(workers)
			provider.gate.SetWorkers(workers)
			return provider.gate.Refresh(ctx)
		},
	})
	if err := provider.followHints(ctx, nc, runner.Wake); err != nil {
		provider.client.Close()
		return nil, err
	}
	runner.Show(w.reg)
	witness.Use(restore.Config{
		DB: db, JetStream: js, Connected: nc.IsConnected, Refresh: provider.gate.Refresh, Forsake: lease.Forsake, Wake: runner.Wake,
		Metrics: restore.NewMetrics(w.reg), Log: w.log, TurnTimeout: witnessTurn, AskTimeout: witnessAsk,
	})
	intakeMetrics := intake.NewMetrics(w.reg, sagas)
	var consumers []*intake.Consumer
	for _, kind := range message.Kinds() {
		consumers = append(consumers, intake.NewConsumer(intake.Config{
			JetStream: js, DB: db, Store: store, Kind: kind, Policy: policy, Lease: lease, Runner: runner,
			Published: hint(message.OutboxHint), Metrics: intakeMetrics, Log: w.log, Tracing: w.tracing, Young: min(time.Hour, w.cfg.Retention/2),
		}))
	}
	desk := deadletter.NewDesk(deadletter.Config{
		DB: db, Store: store, Policy: policy, Provider: provider.client, Gate: provider.gate, Wake: runner.Wake,
		Published: hint(message.OutboxHint), Metrics: deadletter.NewMetrics(w.reg), Log: w.log,
	})
	replayer := deadletter.NewReplayer(deadletter.ReplayerConfig{Desk: desk, Holder: name})
	auditor := audit.New(audit.Config{
		DB: db, Store: store, Policy: policy, Provider: provider.client, Gate: provider.gate, Holder: name,
		Interval: w.cfg.AuditInterval, Window: w.cfg.AuditWindow, Wake: runner.Wake, Published: hint(message.OutboxHint),
		Metrics: audit.NewMetrics(w.reg), Log: w.log,
	})
	retained := retention.NewMetrics(w.reg)
	sweeper := retention.New(retention.Config{
		DB: db, Holder: name, Keep: w.cfg.Retention, Metrics: retained, Log: w.log,
	})
	wiper := retention.NewWiper(retention.WiperConfig{
		DB: db, Store: store, Holder: name, Keep: w.cfg.CodesKeep, Metrics: retained, Log: w.log,
	})
	doors := ops.NewMetrics(w.reg)
	w.reg.MustRegister(monitor.Pools{"main": db, "lease": vital})
	collector := monitor.NewCollector(w.reg, w.log, w.watching.every, append(shared(db, store, policy, w.cfg),
		monitor.Intake(js),
		monitor.Balance(monitor.BalanceConfig{
			Provider: provider.client, Gate: provider.gate, Lease: outbox.Leadership{DB: db, Holder: name + w.watching.holder},
			First: cmp.Or(w.watching.first, firstBalance), Every: w.watching.balance,
		}))...)
	return &parts{
		store: store, lease: lease, provider: provider, runner: runner, consumers: consumers,
		jobs: []job{witness, auditor, sweeper, wiper, replayer}, collector: collector,
		console: ops.ConsoleConfig{
			APIConfig: ops.APIConfig{
				Access: accessOf(w.cfg, doors), DB: db, Desk: desk, Auditor: auditor, Store: store, Gate: provider.gate, Log: w.log,
			},
			Lag: intakeLag(js), Gather: w.reg, Now: lease.Now,
		},
	}, nil
}
