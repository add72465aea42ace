package outbox

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"esimflow/internal/message"
	"esimflow/internal/seal"
)

// Hooks is what the acknowledgement of a message means to others.
type Hooks struct {
	// Published adds what the acknowledgement of these messages means to the commit that
	// deletes their rows. What it returns is called after that.
	Published func(b *pgx.Batch, acked []Acked) (committed func())
	// Copies tells where on ESIM_DLQ the copies of dead letters are.
	Copies func(ctx context.Context, letters []uuid.UUID) (map[uuid.UUID]uint64, error)
}

// Acked is a message that its stream has acknowledged.
type Acked struct {
	Message
	Sequence uint64
}

// Config is what a Relay works with.
type Config struct {
	DB    *pgxpool.Pool
	NATS  *nats.Conn
	Name  string // of this relay, unique: for the leadership
	Hooks Hooks
	Keys  *seal.Keys // that results are sealed under; nil: none
	Log   *slog.Logger
	Reg   prometheus.Registerer

	Tracing trace.TracerProvider // gets a span of every batch; nil: there are none
}

// Relay moves the outbox to JetStream.
type Relay struct {
	Config
	lead    Leadership
	tracer  trace.Tracer // nil: no spans
	metrics *metrics
	place   place
	wake    chan struct{}
}

// Timing. A relay that dies is replaced within leadTTL and one poll.
const (
	leadTTL   = 3 * time.Second
	pollEvery = time.Second
	ackWait   = 2 * time.Second

	batchSize  = 512
	batchBytes = 8 << 20 // and one message more; for they are in memory several times
)

// NewRelay returns a relay; nothing happens until Run.
func NewRelay(cfg Config) *Relay {
	var tracer trace.Tracer
	if cfg.Tracing != nil {
		tracer = cfg.Tracing.Tracer(scope)
	}
	return &Relay{
		Config: cfg, tracer: tracer, metrics: newMetrics(cfg.Reg), wake: make(chan struct{}, 1),
		lead: Leadership{DB: cfg.DB, Name: "outbox", Holder: cfg.Name, TTL: leadTTL},
	}
}

// Run publishes while it leads, and otherwise stands by, until ctx is cancelled. A batch
// in hand is finished. It returns nil when stopped by ctx.
func (r *Relay) Run(ctx context.Context) error {
	js, err := jetstream.New(r.NATS, jetstream.WithPublishAsyncMaxPending(2*batchSize),
		jetstream.WithPublishAsyncTimeout(ackWait)) // an ack that never comes must not take up room for ever
	if err != nil {
		return err
	}
	hints, err := r.NATS.Subscribe(message.OutboxHint, func(*nats.Msg) {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer func() { _ = hints.Unsubscribe() }()

	work := context.WithoutCancel(ctx)
	leading := false
	var renewed time.Time
	for ctx.Err() == nil {
		wait := pollEvery
		var err error
		if time.Since(renewed) >= leadTTL/3 {
			renewed = time.Now()
			leading, err = r.vie(ctx, leading)
		}
		if err == nil && leading && r.NATS.IsConnected() {
			var more bool
			if more, err = r.runOnce(work, js); more {
				wait = 0
			}
		}
		if err != nil && ctx.Err() == nil {
			r.Log.WarnContext(ctx, "outbox was not relayed", "err", err)
		}
		r.sleep(ctx, wait)
	}
	stop, cancel := context.WithTimeout(work, ackWait)
	defer cancel()
	if err := r.lead.Resign(stop); err != nil {
		r.Log.WarnContext(stop, "the leadership was not given up; it will run out", "err", err)
	}
	return nil
}

// vie takes, renews or awaits the leadership.
func (r *Relay) vie(ctx context.Context, leading bool) (bool, error) {
	leads, err := r.lead.Acquire(ctx)
	if err != nil {
		return false, err
	}
	if leads != leading {
		r.Log.InfoContext(ctx, "leadership of the outbox", "leads", leads)
	}
	return leads, nil
}

// sleep waits for a hint, or d.
func (r *Relay) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-r.wake:
	case <-t.C:
	}
}

// runOnce moves one batch and reports whether there may be more.
func (r *Relay) runOnce(ctx context.Context, js jetstream.JetStream) (more bool, _ error) {
	rows, err := r.due(ctx)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	var b batch
	ctx, span := r.begin(ctx, rows)
	r.publish(ctx, js, rows, &b)
	forgetErr := r.forget(ctx, js, rows, &b)
	err = errors.Join(forgetErr, r.settle(ctx, &b))
	r.end(span, &b, err)
	return full(rows), err
}
