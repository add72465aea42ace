package saga

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"esimflow/internal/message"
)

// scope names this package to whoever looks at spans.
const scope = "esimflow/internal/saga"

// A saga may take days, so each of its steps is a trace of its own, linked to the span that
// its request names. What a span says is ours: closed sets of words, ids and numbers, never
// what PressOne or Postgres had to say about it.

// stepNames are what is done about a saga in each state that is a worker's.
var stepNames = map[State]string{
	Pending: "saga prepare", Submitting: "saga submit", Unknown: "saga look up", Polling: "saga poll",
}

// advance does a saga's next step and commits what came of it. It returns the saga as it is
// on record, also with an error, and the event.
func (r *Runner) advance(ctx, work context.Context, s Saga) (Saga, Event, error) {
	if r.tracer == nil {
		return r.step(ctx, work, s)
	}
	options := []trace.SpanStartOption{trace.WithNewRoot(), trace.WithAttributes(
		attribute.String("esimflow.saga.id", s.ID.String()), attribute.String("esimflow.kind", string(s.Kind)),
		attribute.String("esimflow.saga.from", string(s.State)), attribute.Int("esimflow.saga.attempt", s.Attempts),
	)}
	if request := message.SpanContext(ctx, s.Source.Header); request.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: request}))
	}
	ctx, span := r.tracer.Start(ctx, stepNames[s.State], options...)
	defer span.End()
	next, e, err := r.step(ctx, trace.ContextWithSpan(work, span), s)
	describeStep(span, next, e, err)
	return next, e, err
}

func describeStep(span trace.Span, next Saga, e Event, err error) {
	span.SetAttributes(attribute.String("esimflow.saga.to", string(next.State)))
	if e.Name != "" {
		span.SetAttributes(attribute.String("esimflow.saga.event", string(e.Name)))
	}
	if e.Code != "" {
		span.SetAttributes(attribute.String("esimflow.code", CodeLabel(e.Code)))
	}
	_, postponed := errors.AsType[*postponeError](err)
	switch {
	case postponed:
		span.SetAttributes(attribute.Bool("esimflow.saga.postponed", true))
	case err != nil:
		span.SetStatus(codes.Error, "not moved: "+Traceable(err))
	case failed[e.Name]:
		text := string(e.Name)
		if e.Code != "" {
			text += " " + CodeLabel(e.Code)
		}
		span.SetStatus(codes.Error, text)
	}
}

// failed are the events that say that a step did not come to what it was for.
var failed = map[EventName]bool{
	PrecheckFailed: true, PrecheckRefused: true, NotApplied: true, Refused: true, OutcomeUnknown: true,
	LookupFailed: true, PollFailed: true, PollRefused: true, GaveUp: true,
}

// Traceable is what a span may say of an error. Postgres quotes values.
func Traceable(err error) string {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case ok:
		return "SQLSTATE " + pg.Code
	case errors.Is(err, ErrConflict):
		return "moved by somebody else"
	case errors.Is(err, context.Canceled):
		return "stopped"
	case errors.Is(err, context.DeadlineExceeded):
		return "time-out"
	}
	return "error"
}

// recorded is the span that ctx is in, nil if there is none that anybody will see. It costs
// nothing but looking.
func recorded(ctx context.Context) trace.Span {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		return span
	}
	return nil
}

// commitSpan is the span of a commit; nil when nobody looks.
type commitSpan struct{ trace.Span }

// beginCommit begins the span of a commit made for ctx alone.
func beginCommit(ctx context.Context, what string, size int) commitSpan {
	parent := recorded(ctx)
	if parent == nil {
		return commitSpan{}
	}
	_, span := parent.TracerProvider().Tracer(scope).Start(ctx, "commit "+what, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("db.system.name", "postgresql"), attribute.Int("db.operation.batch.size", size)))
	return commitSpan{span}
}

// beginShared begins the span of a commit that several steps share. It belongs to the first
// one's trace, so that it is sampled as that one is, and it and all of them are linked both ways.
func beginShared(batch []*shared) commitSpan {
	var c commitSpan
	for _, one := range batch {
		if one.step == nil {
			continue
		}
		if c.Span == nil {
			c = beginCommit(trace.ContextWithSpan(context.Background(), one.step), commitDecisions, len(batch))
		}
		c.AddLink(trace.Link{SpanContext: one.step.SpanContext()})
		one.step.AddLink(trace.Link{SpanContext: c.SpanContext()})
	}
	return c
}

// end ends it. moved is how many of its sagas were written.
func (c commitSpan) end(moved int, err error) {
	if c.Span == nil {
		return
	}
	if err != nil {
		moved = 0
		c.SetStatus(codes.Error, Traceable(err))
	}
	c.SetAttributes(attribute.Int("esimflow.commit.written", moved))
	c.End()
}
