package message_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"esimflow/internal/message"
)

// A good traceparent names a span, whatever the case of its header; a bad one, or none, names
// nothing, and neither does a tracestate.
func TestSpanContext(t *testing.T) {
	t.Parallel()
	inside := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}}))
	got := message.SpanContext(inside, nats.Header{"Traceparent": {traceparent}, "tracestate": {"vendor=secret"}})
	require.True(t, got.IsValid())
	require.True(t, got.IsRemote())
	require.True(t, got.IsSampled())
	require.Equal(t, "4bf92f3577b34da6a3ce929d0e0e4736", got.TraceID().String())
	require.Equal(t, "00f067aa0ba902b7", got.SpanID().String())
	require.Empty(t, got.TraceState().String())

	for _, bad := range []nats.Header{
		nil,
		{},
		{"traceparent": {""}},
		{"traceparent": {"00-1"}},
		{"traceparent": {}},
		{"traceparent": {"00-00000000000000000000000000000000-00f067aa0ba902b7-01"}},
		{"traceparent": {traceparent + "-more"}},
	} {
		require.False(t, message.SpanContext(inside, bad).IsValid(), "%v", bad)
	}
}
