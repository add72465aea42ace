package outbox

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"esimflow/internal/message"
)

// scope names this package to whoever looks at spans.
const scope = "esimflow/internal/outbox"

// begin begins the span of a batch, linked to what its messages' traceparents name: the spans
// of the requests that they answer. It is nil without tracing.
func (r *Relay) begin(ctx context.Context, rows []row) (context.Context, trace.Span) {
	if r.tracer == nil {
		return ctx, nil
	}
	var links []trace.Link
	for _, m := range rows {
		if request := message.SpanContext(ctx, m.Header); request.IsValid() {
			links = append(links, trace.Link{SpanContext: request})
		}
	}
	return r.tracer.Start(ctx, "relay outbox", trace.WithSpanKind(trace.SpanKindProducer), trace.WithLinks(links...), trace.WithAttributes(
		attribute.String("messaging.system", "nats"), attribute.String("messaging.operation.type", "send"),
		attribute.Int("messaging.batch.message_count", len(rows)),
	))
}

// end ends it with what came of the batch. Errors are logged and not told here: Postgres quotes values.
func (r *Relay) end(span trace.Span, b *batch, err error) {
	if span == nil {
		return
	}
	span.SetAttributes(attribute.Int("esimflow.outbox.published", len(b.acked)),
		attribute.Int("esimflow.outbox.forgotten", len(b.forgotten)), attribute.Int("esimflow.outbox.failed", len(b.failed)))
	switch {
	case err != nil:
		span.SetStatus(codes.Error, "the batch was not settled")
	case len(b.failed) > 0:
		span.SetStatus(codes.Error, "messages were not accepted")
	}
	span.End()
}
