package intake

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"esimflow/internal/message"
	"esimflow/internal/saga"
)

// scope names this package to whoever looks at spans.
const scope = "esimflow/internal/intake"

// tracedPart is commitPart in a span of its own, linked to what the requests' traceparents name.
func (c *Consumer) tracedPart(ctx context.Context, batch []jetstream.Msg, until time.Time) int {
	if c.tracer == nil {
		return c.commitPart(ctx, batch, until)
	}
	subject := message.RequestSubject(c.Kind)
	ctx, span := c.tracer.Start(ctx, "process "+subject, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("messaging.system", "nats"), attribute.String("messaging.destination.name", subject),
		attribute.String("messaging.operation.type", "process"), attribute.String("esimflow.kind", string(c.Kind)),
	))
	defer span.End()
	n := c.commitPart(ctx, batch, until)
	span.SetAttributes(attribute.Int("messaging.batch.message_count", n))
	for _, m := range batch[:n] {
		if request := message.SpanContext(ctx, m.Headers()); request.IsValid() {
			span.AddLink(trace.Link{SpanContext: request})
		}
	}
	if n == 0 {
		span.SetStatus(codes.Error, "nothing was stored")
	}
	return n
}

// describe counts what became of a batch, in the span that ctx is in.
func (c *Consumer) describe(ctx context.Context, arrivals []*arrival) {
	if c.tracer == nil {
		return
	}
	counts := map[string]int{}
	for _, a := range arrivals {
		counts[a.result]++
	}
	span := trace.SpanFromContext(ctx)
	for result, n := range counts {
		span.SetAttributes(attribute.Int("esimflow.intake."+result, n))
	}
}

// describeFailure says in the span that ctx is in that storing was tried in vain.
func (c *Consumer) describeFailure(ctx context.Context, err error) {
	if c.tracer != nil {
		trace.SpanFromContext(ctx).AddEvent("not stored", trace.WithAttributes(attribute.String("error.type", saga.Traceable(err))))
	}
}
