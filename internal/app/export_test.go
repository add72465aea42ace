package app

import (
	"context"
	"io"
	"log/slog"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// SetWallClock replaces the wall clock of workers that are made from now on.
func SetWallClock(now func() time.Time) { wallClock = now }

// Impatient is impatient, for tests.
var Impatient = impatient

// SetPostgresSilence changes how long Postgres may be silent on a connection that is made
// from now on.
func SetPostgresSilence(d time.Duration) { postgresSilence = d }

// Watch makes a worker that does not run yet read the metrics that all processes share, and
// the balance, that often.
func (w *Worker) Watch(every time.Duration) {
	w.watching = watching{every: every, balance: every, first: every, holder: w.TelemetryAddr()}
}

// Watch is Worker.Watch for a publisher.
func (p *Publisher) Watch(every time.Duration) { p.watching = watching{every: every} }

// NoBalance keeps workers that are made from now on from asking for the balance, unless they
// are told to by Watch.
func NoBalance() { firstBalance = time.Hour }

// PatientWitness gives the witnesses of workers that are made from now on more time.
func PatientWitness() { witnessTurn, witnessAsk = 15*time.Second, 5*time.Second }

// Exporting is newExporting with an environment, for tests.
func Exporting(ctx context.Context, env map[string]string) (trace.TracerProvider, func(context.Context), error) {
	e, err := newExporting(ctx, WorkerProgram, func(name string) string { return env[name] }, slog.New(slog.DiscardHandler))
	return optionsOf(e.options()).tracing, e.close, err
}

// ExportingTo is newExportingTo, for tests.
func ExportingTo(p sdktrace.SpanProcessor, log io.Writer) (tp trace.TracerProvider, closing func(context.Context)) {
	e := newExportingTo(p, slog.New(slog.NewTextHandler(log, nil)))
	return e.provider, e.close
}
