package app_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"esimflow/internal/app"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// collector takes spans over HTTP and remembers what it was sent.
type collector struct {
	*httptest.Server
	mu  sync.Mutex
	got bytes.Buffer
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			if z, err := gzip.NewReader(r.Body); err == nil {
				body = z
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		_, _ = c.got.WriteString(r.URL.Path + "\n")
		_, _ = io.Copy(&c.got, body)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got.String()
}

// A program whose environment names a collector sends it its spans, the last of them when it
// is told to stop; one that is told to send none connects to nobody. Neither says a secret. (A worker that stops waits
// a moment for the collector, and says so when that was not enough. Then the next one is listened to.)
func TestSpansGoWhereTheEnvironmentSays(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	on, off := newCollector(t), newCollector(t)
	b.publisher()
	b.env["OTEL_BSP_SCHEDULE_DELAY"] = "3600000" // only the end sends
	lost := func() int { return strings.Count(b.log.String(), "the last spans may be lost") }
	live := func(id string, c *collector, exporter string) (sent bool) {
		b.env["OTEL_EXPORTER_OTLP_ENDPOINT"], b.env["OTEL_TRACES_EXPORTER"] = c.URL, exporter
		before, worker := lost(), b.process(app.WorkerProgram)
		b.publish(message.Order, order(id), "traceparent", requestParent)
		b.completed(id)
		b.stop(worker)
		return lost() == before
	}
	require.True(t, live("off", off, "none"))
	for n := 1; !live(fmt.Sprintf("on-%d", n), on, "otlp"); n++ {
		require.Less(t, n, 10, "nobody's spans arrive in time")
	}
	require.Empty(t, off.String())
	got := on.String()
	for _, want := range []string{"/v1/traces", "esimflow-worker", "saga submit", "POST /orders", "commit decisions", "/sims/{iccid}"} {
		require.Contains(t, got, want)
	}
	for _, secret := range []string{b.env["PRESSONE_CLIENT_SECRET"], "LPA:", "Bearer", "eyJ0eXAi", b.sim.Ledger().Sold[1].Sims[0].MatchingID} {
		require.NotContains(t, got, secret)
	}
}

// A collector that takes forever keeps no worker from stopping.
func TestACollectorThatHangsHoldsUpNobody(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	ctx, release := context.WithCancel(context.Background())
	asked := make(chan struct{}, 100)
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		select {
		case <-ctx.Done():
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(hanging.Close)
	t.Cleanup(release)
	b.env["OTEL_EXPORTER_OTLP_ENDPOINT"], b.env["OTEL_EXPORTER_OTLP_TIMEOUT"] = hanging.URL, "3600000"
	b.env["OTEL_BSP_EXPORT_TIMEOUT"], b.env["OTEL_BSP_SCHEDULE_DELAY"] = "3600000", "10"
	b.publisher()
	worker := b.process(app.WorkerProgram)
	b.completed(b.orders("hanging", 3)...)
	<-asked
	require.NoError(t, worker.Process.Signal(syscall.SIGTERM))
	ended := make(chan error, 1)
	go func() { ended <- worker.Wait() }()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		require.Fail(t, "the worker waits for the collector")
	}
	require.Contains(t, b.log.String(), "the last spans may be lost")
}

// blocked is a way out that never comes to an end by itself.
type blocked struct{ until chan struct{} }

func (b blocked) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	<-b.until
	return nil
}

func (b blocked) Shutdown(context.Context) error { return nil }

// When the time to stop is used up, and after a moment in any case, nothing is waited for any
// more: not even by an exporter that does not hear its context.
func TestFlushingEndsWithTheTimeToStop(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]bool{"there is time, but no end": true, "there is no time": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			until := make(chan struct{})
			log := &lockedBuffer{}
			processor := sdktrace.NewBatchSpanProcessor(blocked{until})
			tp, closing := app.ExportingTo(processor, log)
			_, span := tp.Tracer("test").Start(t.Context(), "last")
			span.End()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if !left {
				cancel()
			}
			closing(ctx)
			require.Contains(t, log.String(), "the last spans may be lost")
			close(until)
			require.NoError(t, processor.Shutdown(t.Context())) // so that nothing of it is left
		})
	}
}

// Either protocol can be asked for; what nobody knows is said before anything starts. (Not
// parallel: the library reads the environment of the process.)
func TestTracingProtocols(t *testing.T) {
	env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
	for _, protocol := range []string{"", "http/protobuf", "grpc"} {
		t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
		tp, closing, err := app.Exporting(t.Context(), env)
		require.NoError(t, err, protocol)
		require.NotNil(t, tp, protocol)
		closing(t.Context())
	}
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon")
	_, _, err := app.Exporting(t.Context(), env)
	require.ErrorContains(t, err, "app: tracing: ")
	t.Setenv("OTEL_TRACES_EXPORTER", "carrier-pigeon")
	_, _, err = app.Exporting(t.Context(), env)
	require.ErrorContains(t, err, "app: tracing: ")
}
