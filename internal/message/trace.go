package message

import (
	"context"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// SpanContext is what the traceparent of a message names; the zero value if it has none, or
// none that can be read. A tracestate is not taken along: it is between others.
//
//nolint:contextcheck // a message has no context: the one here carries what was read, and no more
func SpanContext(h nats.Header) trace.SpanContext {
	carrier := propagation.MapCarrier{"traceparent": Header(h, "traceparent")}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}
