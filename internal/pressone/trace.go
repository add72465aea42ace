package pressone

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// scope names this package to whoever looks at spans.
const scope = "esimflow/internal/pressone"

// route is a method and a path without what varies in it. Spans never have the path itself,
// nor the query: ICCIDs and descriptions are in there.
type route struct{ method, template string }

var routes = map[Operation]route{
	OpSubmitOrder:  {"POST", "/orders"},
	OpSubmitTopup:  {"POST", "/orders/topups"},
	OpToken:        {"POST", "/token"},
	OpListOrders:   {"GET", "/orders"},
	OpGetOrder:     {"GET", "/orders/{id}"},
	OpGetSim:       {"GET", "/sims/{iccid}"},
	OpListTopups:   {"GET", "/sims/{iccid}/topups"},
	OpGetBalance:   {"GET", "/balance"},
	OpListPackages: {"GET", "/packages"},
}

// tracing makes spans of requests; the zero value makes none.
type tracing struct {
	tracer trace.Tracer
	server []attribute.KeyValue // who is asked
}

func newTracing(tp trace.TracerProvider, base *url.URL) tracing {
	if tp == nil {
		return tracing{}
	}
	server := []attribute.KeyValue{attribute.String("server.address", base.Hostname())}
	if port, err := strconv.Atoi(base.Port()); err == nil {
		server = append(server, attribute.Int("server.port", port))
	}
	return tracing{tp.Tracer(scope), server}
}

// call is one request under way, as metrics and traces see it.
type call struct {
	op      Operation
	metrics *Metrics
	start   time.Time
	span    trace.Span // nil without tracing
}

// begin begins a request. PressOne is told nothing of the span: it is no part of our traces.
func (p *endpoint) begin(ctx context.Context, op Operation) (context.Context, call) {
	c := call{op: op, metrics: p.metrics, start: time.Now()}
	if p.tracing.tracer == nil {
		return ctx, c
	}
	r := routes[op]
	ctx, c.span = p.tracing.tracer.Start(ctx, r.method+" "+r.template, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(p.tracing.server...), trace.WithAttributes(
			attribute.String("http.request.method", r.method), attribute.String("url.template", r.template),
			attribute.String("esimflow.operation", string(op)),
		))
	return ctx, c
}

// end counts a request that ended with e, nil when it succeeded with that status. Of what
// PressOne says only what metrics say, too, gets into the span: its words are its own.
func (c call) end(e *Error, status int) {
	took := time.Since(c.start)
	if c.span == nil {
		c.metrics.observe(c.op, e, took, nil)
		return
	}
	outcome, code := outcomeOK, ""
	if e != nil {
		status, outcome, code = e.Status, e.Disposition.String(), codeLabel(e)
	}
	if status != 0 {
		c.span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	c.span.SetAttributes(attribute.String("esimflow.outcome", outcome))
	if e != nil {
		text := outcome
		switch {
		case code != "":
			c.span.SetAttributes(attribute.String("error.type", code))
			text += " " + code
		case e.NotSent:
			c.span.SetAttributes(attribute.String("error.type", "not_sent"))
			text += ": not sent"
		default:
			c.span.SetAttributes(attribute.String("error.type", "no_answer"))
			text += ": no answer"
		}
		c.span.SetStatus(codes.Error, text)
	}
	c.metrics.observe(c.op, e, took, exemplar(c.span.SpanContext()))
	c.span.End()
}

// exemplar is how a histogram points at a span; nil if nobody will have it.
func exemplar(s trace.SpanContext) prometheus.Labels {
	if !s.IsSampled() {
		return nil
	}
	return prometheus.Labels{"trace_id": s.TraceID().String(), "span_id": s.SpanID().String()}
}
