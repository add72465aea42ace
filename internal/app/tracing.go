package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Option changes how a program is made.
type Option func(*options)

type options struct{ tracing trace.TracerProvider }

// Traced has a program hand its spans to tp; nil is as without: no span is made.
func Traced(tp trace.TracerProvider) Option {
	return func(o *options) { o.tracing = tp }
}

func optionsOf(all []Option) (o options) {
	for _, set := range all {
		set(&o)
	}
	return o
}

// exporting takes spans out of the process. A nil one takes none, and there are none.
type exporting struct {
	provider *sdktrace.TracerProvider
	log      *slog.Logger
}

// flushBudget is how long, at the most, a program that ends waits for its last spans to be
// taken, if its time to stop lasts that long.
const flushBudget = 2 * time.Second

// linksMax is how many links a span may have: one for each message of the largest batch.
const linksMax = 1024

// The variables by which traces are asked for. What they mean beyond that is up to the
// library, which reads them, and the others of OpenTelemetry, from the environment itself.
const (
	otelDisabled       = "OTEL_SDK_DISABLED"
	otelExporter       = "OTEL_TRACES_EXPORTER"
	otelEndpoint       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	otelTracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
)

// tracingWanted reports whether the environment says where spans are to go.
func tracingWanted(getenv func(string) string) bool {
	exporter := getenv(otelExporter)
	if strings.EqualFold(getenv(otelDisabled), "true") || exporter == "none" {
		return false
	}
	return exporter != "" || getenv(otelEndpoint) != "" || getenv(otelTracesEndpoint) != ""
}

// newExporting returns nil unless the environment says where spans are to go. It touches no network.
func newExporting(ctx context.Context, p Program, getenv func(string) string, log *slog.Logger) (*exporting, error) {
	if !tracingWanted(getenv) {
		return nil, nil //nolint:nilnil // that is what a nil one is for
	}
	for _, name := range []string{otelEndpoint, otelTracesEndpoint} {
		if u, err := url.Parse(getenv(name)); getenv(name) != "" && (err != nil || u.Host == "" && u.Scheme != "unix") {
			return nil, fmt.Errorf("app: %s must be like http://collector:4318", name) // the error would quote it, and the library logs it
		}
	}
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("app: tracing: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "esimflow-"+string(p)), attribute.String("service.instance.id", processName(string(p))),
	), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("app: tracing: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("spans", "err", withoutUser(err)) //nolint:sloglint // a callback without a context
	}))
	return newExportingTo(sdktrace.NewBatchSpanProcessor(exporter), log, sdktrace.WithResource(about)), nil
}

// newExportingTo hands spans to a processor.
func newExportingTo(p sdktrace.SpanProcessor, log *slog.Logger, more ...sdktrace.TracerProviderOption) *exporting {
	limits := sdktrace.NewSpanLimits()
	limits.LinkCountLimit = max(limits.LinkCountLimit, linksMax)
	options := append([]sdktrace.TracerProviderOption{sdktrace.WithSpanProcessor(p), sdktrace.WithRawSpanLimits(limits)}, more...)
	return &exporting{provider: sdktrace.NewTracerProvider(options...), log: log}
}

// options are a program's that hands its spans to e.
func (e *exporting) options() []Option {
	if e == nil {
		return nil
	}
	return []Option{Traced(e.provider)}
}

// close has the last spans taken, and waits for that as long as ctx and flushBudget let it.
func (e *exporting) close(ctx context.Context) {
	if e == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushBudget)
	defer cancel()
	if err := e.provider.Shutdown(ctx); err != nil {
		e.log.WarnContext(ctx, "the last spans may be lost", "err", withoutUser(err))
	}
}

var user = regexp.MustCompile(`://[^/@\s]*@`)

// withoutUser is an error of an exporter without the password that its endpoint may have.
func withoutUser(err error) string { return user.ReplaceAllString(err.Error(), "://") }
