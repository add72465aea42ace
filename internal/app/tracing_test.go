package app_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"esimflow/internal/app"
	"esimflow/internal/config"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

const (
	requestTrace  = "0af7651916cd43dd8448eb211c80319c"
	requestSpan   = "b7ad6b7169203331"
	requestParent = "00-" + requestTrace + "-" + requestSpan + "-01"
)

// traced is a bench whose programs hand their spans to memory.
type traced struct {
	*bench
	spans *tracetest.InMemoryExporter
	w     *app.Worker
}

// trace starts a worker and a publisher.
func (b *bench) trace() *traced {
	b.t.Helper()
	maps.Copy(b.env, patient) // what runs out is another story
	x := &traced{bench: b, spans: tracetest.NewInMemoryExporter()}
	tp := sdktrace.NewTracerProvider(sdktrace.WithSyncer(x.spans))
	var err error
	x.w, err = app.NewWorker(b.t.Context(), b.config(config.Worker), b.logger(), app.Traced(tp))
	require.NoError(b.t, err)
	b.run(x.w.Run)
	p, err := app.NewPublisher(b.t.Context(), b.config(config.Publisher), b.logger(), app.Traced(tp))
	require.NoError(b.t, err)
	b.run(p.Run)
	require.Eventually(b.t, func() bool { return x.w.Ready() == nil }, 60*time.Second, 10*time.Millisecond, "worker is not ready")
	return x
}

// all are the spans that have ended.
func (x *traced) all() tracetest.SpanStubs { return x.spans.GetSpans() }

// named waits for n spans of a name and returns them.
func (x *traced) named(name string, n int) (found tracetest.SpanStubs) {
	x.t.Helper()
	require.Eventually(x.t, func() bool {
		found = nil
		for _, s := range x.all() {
			if s.Name == name {
				found = append(found, s)
			}
		}
		return len(found) >= n
	}, 60*time.Second, 10*time.Millisecond, "%d spans %q", n, name)
	return found
}

// under are the spans that a span is the parent of.
func (x *traced) under(parent tracetest.SpanStub) (found tracetest.SpanStubs) {
	for _, s := range x.all() {
		if s.Parent.SpanID() == parent.SpanContext.SpanID() && s.SpanContext.TraceID() == parent.SpanContext.TraceID() {
			found = append(found, s)
		}
	}
	return found
}

// commits are the commits that a step shared.
func (x *traced) commits(step tracetest.SpanStub) (found tracetest.SpanStubs) {
	for _, s := range x.all() {
		if s.Name == "commit decisions" && linked(s, step.SpanContext) {
			found = append(found, s)
		}
	}
	return found
}

func names(spans tracetest.SpanStubs) (all []string) {
	for _, s := range spans {
		all = append(all, s.Name)
	}
	return all
}

// linked reports whether a span is linked to another.
func linked(s tracetest.SpanStub, to trace.SpanContext) bool {
	for _, l := range s.Links {
		if l.SpanContext.TraceID() == to.TraceID() && l.SpanContext.SpanID() == to.SpanID() {
			return true
		}
	}
	return false
}

func attributeOf(s tracetest.SpanStub, key string) string {
	for _, a := range s.Attributes {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

// text is everything that a span says.
func text(s tracetest.SpanStub) string {
	var b strings.Builder
	fmt.Fprintln(&b, s.Name, s.Status.Description, s.SpanContext.TraceState(), s.InstrumentationScope, s.Resource)
	for _, a := range s.Attributes {
		fmt.Fprintln(&b, a.Key, a.Value.String())
	}
	for _, e := range s.Events {
		fmt.Fprintln(&b, e.Name)
		for _, a := range e.Attributes {
			fmt.Fprintln(&b, a.Key, a.Value.String())
		}
	}
	for _, l := range s.Links {
		fmt.Fprintln(&b, l.SpanContext.TraceState())
		for _, a := range l.Attributes {
			fmt.Fprintln(&b, a.Key, a.Value.String())
		}
	}
	return b.String()
}

// checkSpans looks through all that spans say for what is nobody's business who looks at
// traces: credentials, what installs an eSIM, and what identifies one.
func (x *traced) checkSpans(more ...string) {
	x.t.Helper()
	secrets := append([]string{x.env["PRESSONE_CLIENT_SECRET"], "LPA:", "Bearer", "eyJ0eXAi", "canary"}, more...)
	secrets = append(secrets, pressonesim.DefaultICCIDs()...)
	for _, o := range x.sim.Ledger().Sold {
		for _, sim := range o.Sims {
			secrets = append(secrets, sim.MatchingID, sim.ICCID)
		}
	}
	require.NotEmpty(x.t, x.all())
	for _, s := range x.all() {
		said := text(s)
		for _, secret := range secrets {
			require.NotEmpty(x.t, secret)
			require.NotContains(x.t, said, secret)
		}
	}
}

// An order can be followed from its request to its result: intake, each step, each call and
// each commit, and the relay are spans. Every step is a trace of its own that is linked to the
// request's span, and the request's traceparent is on the result as it came.
func TestAnOrderIsTraced(t *testing.T) {
	x := setup(t, pressonesim.Config{}).trace()
	x.publish(message.Order, order("traced"), "traceparent", requestParent)
	require.Equal(t, []string{requestParent}, x.result("traced", 1).header["traceparent"])
	id, err := trace.TraceIDFromHex(requestTrace)
	require.NoError(t, err)
	span, err := trace.SpanIDFromHex(requestSpan)
	require.NoError(t, err)
	request := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span})

	taken := x.named("process esim.request.order", 1)[0]
	require.True(t, linked(taken, request))
	require.Equal(t, trace.SpanKindConsumer, taken.SpanKind)
	require.Equal(t, "1", attributeOf(taken, "esimflow.intake.accepted"))
	require.Contains(t, names(x.under(taken)), "commit requests")

	submit := x.named("saga submit", 1)[0]
	require.Equal(t, "submitting", attributeOf(submit, "esimflow.saga.from"))
	require.Equal(t, codes.Unset, submit.Status.Code)
	require.Contains(t, names(x.under(submit)), "POST /orders")
	require.Contains(t, names(x.under(submit)), "commit decisions")
	posted := x.named("POST /orders", 1)[0]
	require.Equal(t, trace.SpanKindClient, posted.SpanKind)
	require.Equal(t, "POST", attributeOf(posted, "http.request.method"))
	require.Equal(t, "/orders", attributeOf(posted, "url.template"))
	require.Equal(t, "200", attributeOf(posted, "http.response.status_code"))
	require.Equal(t, "ok", attributeOf(posted, "esimflow.outcome"))
	require.Equal(t, "127.0.0.1", attributeOf(posted, "server.address"))
	x.named("POST /token", 1)

	steps := map[trace.TraceID]bool{}
	for _, s := range x.all() {
		require.NotEqual(t, id, s.SpanContext.TraceID(), "%s: the request's own trace is upstream's", s.Name)
		if !strings.HasPrefix(s.Name, "saga ") {
			continue
		}
		require.False(t, s.Parent.IsValid(), s.Name)
		require.True(t, linked(s, request), s.Name)
		require.False(t, steps[s.SpanContext.TraceID()], "a step is a trace of its own")
		steps[s.SpanContext.TraceID()] = true
	}
	for _, c := range x.named("commit decisions", 1) {
		for _, s := range x.all() {
			if strings.HasPrefix(s.Name, "saga ") {
				require.Equal(t, linked(s, c.SpanContext), linked(c, s.SpanContext), "a step and its commit are linked both ways")
			}
		}
	}
	var relayed tracetest.SpanStub
	require.Eventually(t, func() bool { // where an acknowledgement comes late, it is published again
		for _, relayed = range x.named("relay outbox", 1) {
			if attributeOf(relayed, "esimflow.outbox.published") == "1" {
				return true
			}
		}
		return false
	}, time.Minute, 10*time.Millisecond)
	require.True(t, linked(relayed, request))
	require.Equal(t, trace.SpanKindProducer, relayed.SpanKind)
	x.checkSpans()
}

// The histogram of PressOne's answers points at the traces of some of them.
func TestExemplarsLeadToTraces(t *testing.T) {
	x := setup(t, pressonesim.Config{}).trace()
	x.completed(x.orders("exemplar", 2)...)
	posted := x.named("POST /orders", 2)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+x.w.TelemetryAddr()+"/metrics", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	found := false
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "esimflow_provider_request_seconds_bucket") || !strings.Contains(line, `operation="submit_order"`) {
			continue
		}
		for _, s := range posted {
			found = found || strings.Contains(line, `trace_id="`+s.SpanContext.TraceID().String()+`"`) &&
				strings.Contains(line, `span_id="`+s.SpanContext.SpanID().String()+`"`)
		}
	}
	require.True(t, found, "no exemplar of a submission")
}

// What fails is a span that says so, in words that are ours: the answers here are full of
// secrets, of PressOne's and of eSIMs, and none of that gets into any span.
func TestFailuresAreTracedWithoutSecrets(t *testing.T) {
	x := setup(t, pressonesim.Config{})
	x.env["RETRY_MAX_ATTEMPTS"] = "3"
	echo := `{"code":33,"message":"sold out for client-secret-canary, Bearer eyJ0eXAiOiJKV1QifQ.canary, LPA:1$smdp.example$CANARY-MATCHING-ID"}`
	for id, f := range map[string]pressonesim.Fault{
		"refused":     {Action: pressonesim.Status, Status: 422, Body: echo, ContentType: "application/json"},
		"unreadable":  {Action: pressonesim.Status, When: pressonesim.After, Status: 200, Body: "LPA:1$smdp.example$CANARY-MATCHING-ID", ContentType: "text/plain", Times: 1},
		"strange":     {Action: pressonesim.Status, Status: 400, Body: `{"code":"canary-code","message":"canary"}`, ContentType: "application/json"},
		"dropped":     {Action: pressonesim.Drop, When: pressonesim.After, Times: 1},
		"unavailable": {Action: pressonesim.Status, Status: 503, Code: 4033, Times: 1},
	} {
		x.sim.AddPackage(pressonesim.Package{ID: id, Price: 1})
		f.Endpoint, f.PackageID = pressonesim.Orders, id
		x.sim.Inject(f)
	}
	x.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.OneSim, Action: pressonesim.Status, Status: 500, Body: echo, ContentType: "application/json", Times: 2})
	traced := x.trace()
	for _, id := range []string{"refused", "unreadable", "strange", "dropped", "unavailable"} {
		traced.publish(message.Order, fmt.Sprintf(`{"request_id":"%s","package_id":"%s"}`, id, id), "traceparent", requestParent, "tracestate", "vendor=canary")
	}
	traced.publish(message.Order, "LPA:1$malformed$canary", "traceparent", requestParent)
	traced.publish(message.Topup, fmt.Sprintf(`{"request_id":"topup","package_id":"bonbon-mobile-30days-3gb-topup","iccid":"%s"}`, pressonesim.DefaultICCIDs()[0]))
	require.Contains(t, traced.result("refused", 1).Type, ".failed.")
	require.Contains(t, traced.result("strange", 1).Type, ".failed.")
	traced.completed("unreadable", "dropped", "unavailable", "topup")
	traced.letters(1)

	outcomes := map[string]bool{}
	for _, s := range traced.named("POST /orders", 6) {
		if outcome := attributeOf(s, "esimflow.outcome"); outcome != "ok" {
			require.Equal(t, codes.Error, s.Status.Code, "%v", s)
			outcomes[s.Status.Description] = true
		}
	}
	for _, want := range []string{"refused 33", "unknown: no answer", "unknown 4033", "unknown http_200"} {
		require.Contains(t, outcomes, want)
	}
	said := map[string]bool{}
	for _, s := range traced.named("saga submit", 6) {
		said[s.Status.Description] = true
	}
	for _, want := range []string{"refused 33", "outcome_unknown"} {
		require.Contains(t, said, want)
	}
	for _, s := range append(traced.named("saga look up", 2), traced.named("saga poll", 1)...) {
		if attributeOf(s, "esimflow.kind") == "order" {
			require.Len(t, s.Links, 1+len(traced.commits(s)), "its request, and its commits")
			require.Equal(t, requestSpan, s.Links[0].SpanContext.SpanID().String(), "what was stored leads back to the request")
		}
	}
	traced.named("GET /orders", 2)
	traced.named("GET /sims/{iccid}/topups", 1)
	traced.named("GET /sims/{iccid}", 1)
	traced.checkSpans("CANARY", "smdp.example", "vendor=")
}

// With Postgres away, what cannot be stored is a span that says so, and what Postgres has to
// say about it is not in there.
func TestTracesOfRequestsThatCannotBeStored(t *testing.T) {
	x := setup(t, pressonesim.Config{}).trace()
	_, err := x.db.Exec(t.Context(), `ALTER TABLE saga ADD CONSTRAINT unlucky CHECK (request_id <> 'canary-unlucky')`)
	require.NoError(t, err)
	x.publish(message.Order, order("canary-unlucky"), "traceparent", requestParent)
	x.letters(1)
	require.Eventually(t, func() bool {
		for _, s := range x.named("process esim.request.order", 1) {
			for _, e := range s.Events {
				if e.Name == "not stored" && strings.Contains(text(s), "SQLSTATE 23514") {
					return true
				}
			}
		}
		return false
	}, 60*time.Second, 10*time.Millisecond)
	require.Equal(t, codes.Error, x.named("commit requests", 1)[0].Status.Code)
	x.checkSpans()
}

// Without tracing no program makes a span, whatever else it is told; and closing what does
// not export is nothing.
func TestNothingIsTracedUnlessConfigured(t *testing.T) {
	t.Parallel()
	for _, env := range []map[string]string{
		{},
		{"OTEL_SERVICE_NAME": "esimflow", "OTEL_RESOURCE_ATTRIBUTES": "a=b", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
	} {
		tp, closing, err := app.Exporting(t.Context(), env)
		require.NoError(t, err)
		require.Nil(t, tp, "%v", env)
		closing(context.Background())
	}
	_, _, err := app.Exporting(t.Context(), map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"})
	require.ErrorContains(t, err, "OTEL_EXPORTER_OTLP_ENDPOINT must be like")
	_, _, err = app.Exporting(t.Context(), map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://user:canary@%zz"})
	require.ErrorContains(t, err, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT must be like")
	require.NotContains(t, err.Error(), "canary")
}
