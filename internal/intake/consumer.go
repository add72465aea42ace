package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"

	"esimflow/internal/message"
	"esimflow/internal/saga"
)

// Config is what a Consumer works with.
type Config struct {
	JetStream jetstream.JetStream
	DB        *pgxpool.Pool
	Kind      message.Kind
	Store     *saga.Store
	Policy    saga.Policy
	Lease     *saga.Lease
	Runner    *saga.Runner
	Published func() // called when the outbox has got something to publish
	Metrics   *Metrics
	Log       *slog.Logger
	Young     time.Duration        // nothing leaves that is younger, see recall; 0 is an hour
	Tracing   trace.TracerProvider // gets a span of every commit; nil: there are none
	Stall     time.Duration        // without a delivery although messages are pending: rebuild; 0 is 30 s
}

// Consumer takes the requests of one kind.
type Consumer struct {
	Config
	tracer trace.Tracer // nil: no spans

	committing atomic.Bool // however long that takes, with Postgres away, it is no stall

	mu      sync.Mutex
	problem error     // why it is not ready
	moved   time.Time // when it last got or committed something
	rebuilt bool      // because nothing was delivered, and nothing has been since
}

// How much is taken ahead, and committed at once at the most: so many messages, and so many
// bytes of them, and as much again for what is on its way. There has to be room for the
// largest one.
const (
	maxBatch = 256
	maxBytes = 8 << 20
)

// NewConsumer returns a consumer; nothing happens until Run.
func NewConsumer(cfg Config) *Consumer {
	if cfg.Stall == 0 {
		cfg.Stall = 30 * time.Second
	}
	if cfg.Young == 0 {
		cfg.Young = time.Hour
	}
	c := &Consumer{Config: cfg, problem: errors.New("intake: not subscribed yet")}
	if cfg.Tracing != nil {
		c.tracer = cfg.Tracing.Tracer(scope)
	}
	return c
}

// Ready returns why the consumer takes no requests, or nil.
func (c *Consumer) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.problem
}

func (c *Consumer) setProblem(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problem = err
}

// delivered notes that the subscription works.
func (c *Consumer) delivered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved, c.rebuilt = time.Now(), false
}

// subscribed notes a new subscription. One that was rebuilt because nothing was delivered
// has yet to show that it works.
func (c *Consumer) subscribed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved = time.Now()
	if !c.rebuilt {
		c.problem = nil
	}
}

// lost notes that the subscription ended with err. The first time that nothing was
// delivered is no reason to fail readiness: it is rebuilt.
func (c *Consumer) lost(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, errStalled) && !c.rebuilt {
		c.rebuilt = true
		return
	}
	c.problem = err
}

func (c *Consumer) idleFor() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.moved)
}

// errEnded is a subscription that NATS has ended, because its consumer was deleted. There
// may be a new one at once, which knows nothing of this subscription.
var errEnded = errors.New("intake: the subscription was ended")

var errStalled = errors.New("nothing is delivered although messages are pending")

// Run subscribes, and subscribes again whenever that is needed, until ctx is cancelled;
// then it commits what it has taken.
func (c *Consumer) Run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; failures++ {
		err := c.subscribe(ctx)
		if ctx.Err() != nil {
			break
		}
		c.lost(err)
		c.Log.WarnContext(ctx, "subscribing again", "consumer", message.Consumer(c.Kind), "err", err)
		pause(ctx, min(time.Second, 50*time.Millisecond<<min(failures, 10)))
	}
}

// subscribe consumes until ctx is cancelled or the subscription is of no use any more.
func (c *Consumer) subscribe(ctx context.Context) error {
	consumer, err := c.JetStream.Consumer(ctx, message.RequestsStream, message.Consumer(c.Kind))
	if err != nil {
		return fmt.Errorf("intake: consumer %s: %w (create it with: esimctl streams apply)", message.Consumer(c.Kind), err)
	}
	messages, room := make(chan jetstream.Msg, maxBatch), semaphore.NewWeighted(maxBytes)
	taken := func(m jetstream.Msg) {
		_ = room.Acquire(context.WithoutCancel(ctx), weight(m)) // work gives it back, whatever becomes of it
		messages <- m
	}
	consuming, err := consumer.Consume(taken,
		jetstream.PullMaxMessagesWithBytesLimit(maxBatch, maxBytes), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			c.Log.WarnContext(ctx, "consumer", "consumer", message.Consumer(c.Kind), "err", err)
		}))
	if err != nil {
		return fmt.Errorf("intake: consume: %w", err)
	}
	c.subscribed()
	watch, unwatch := context.WithCancelCause(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { unwatch(c.watch(watch, consumer)) })
	var stopper sync.WaitGroup
	stopper.Go(func() {
		select {
		case <-watch.Done():
			consuming.Drain() // what has been delivered is taken, nothing more
		case <-consuming.Closed():
			unwatch(errEnded)
		}
		<-consuming.Closed()
		close(messages)
	})
	c.work(ctx, messages, room)
	watcher.Wait()
	stopper.Wait()
	return context.Cause(watch)
}

// work commits batches until there are no more messages: whatever has gathered while the
// last batch was being committed makes up the next.
func (c *Consumer) work(ctx context.Context, messages <-chan jetstream.Msg, room *semaphore.Weighted) {
	for first := range messages {
		batch, bytes := []jetstream.Msg{first}, weight(first)
	gather:
		for len(batch) < maxBatch {
			select {
			case m, ok := <-messages:
				if !ok {
					break gather
				}
				batch, bytes = append(batch, m), bytes+weight(m)
			default:
				break gather
			}
		}
		c.delivered()
		c.committing.Store(true)
		c.commit(ctx, batch)
		c.committing.Store(false)
		c.delivered()
		room.Release(bytes)
	}
}

// weight is how much of the room a message takes.
func weight(m jetstream.Msg) int64 { return min(int64(len(m.Data())), maxBytes) }

// watch returns when the subscription is of no use any more: the consumer is gone, or
// nothing is delivered although messages are pending.
func (c *Consumer) watch(ctx context.Context, consumer jetstream.Consumer) error {
	tick := time.NewTicker(c.Stall / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		info, err := consumer.Info(ctx)
		switch {
		case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
			return fmt.Errorf("intake: %w", err)
		case err != nil || info.NumPending == 0:
			continue // NATS away: the client reconnects by itself
		}
		if c.idleFor() > c.Stall && !c.committing.Load() {
			return fmt.Errorf("intake: %w: %d of %s, for %v", errStalled, info.NumPending, message.Consumer(c.Kind), c.Stall)
		}
	}
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
