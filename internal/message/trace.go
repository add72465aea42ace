package message

import (
	"context"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// SpanContext is what the traceparent of a message names; the zero value if it has none, or
// none that can be read. A tracestate is not taken along: it is between others.
// The span that ctx is in has nothing to do with it.
func SpanContext(ctx context.Context, h nats.Header) trace.SpanContext {
	carrier := propagation.MapCarrier{"traceparent": Header(h, "traceparent")}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(trace.ContextWithSpanContext(ctx, trace.SpanContext{}), carrier))
}
