package saga

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// Steps that share a commit are linked to it and it to them, and it is in the trace of one of
// them; one whose saga has been moved meanwhile is not counted as written.
func TestSharedCommitsAreTraced(t *testing.T) {
	b := setupStore(t)
	const n = 30
	decisions := b.submitted(n)
	_, err := b.db.Exec(t.Context(), "UPDATE saga SET version = version + 1 WHERE id = $1", decisions[7].id())
	require.NoError(t, err)
	spans := tracetest.NewInMemoryExporter()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test")

	commit, gathered := b.store.sharing.commit, make(chan struct{})
	var once sync.Once
	first := 0
	b.store.sharing.commit = func(batch []*shared) { // the first commit takes its time, and the others gather
		once.Do(func() {
			b.store.sharing.mu.Lock()
			first = len(batch)
			b.store.sharing.mu.Unlock()
		})
		<-gathered
		commit(batch)
	}
	var wg sync.WaitGroup
	for i, d := range decisions {
		wg.Go(func() {
			ctx, span := tracer.Start(t.Context(), fmt.Sprintf("step %d", i))
			defer span.End()
			_ = b.store.Apply(ctx, d)
		})
	}
	require.Eventually(t, func() bool {
		b.store.sharing.mu.Lock()
		defer b.store.sharing.mu.Unlock()
		return first > 0 && first+len(b.store.sharing.waiting) == n
	}, 60*time.Second, time.Millisecond)
	close(gathered)
	wg.Wait()

	bySpan := map[trace.SpanID]tracetest.SpanStub{}
	for _, s := range spans.GetSpans() {
		bySpan[s.SpanContext.SpanID()] = s
	}
	steps, commits, written := 0, 0, int64(0)
	for _, s := range spans.GetSpans() {
		if s.Name != "commit decisions" {
			require.Len(t, s.Links, 1)
			require.Equal(t, "commit decisions", bySpan[s.Links[0].SpanContext.SpanID()].Name)
			continue
		}
		commits++
		for _, l := range s.Links {
			steps++
			require.Equal(t, s.SpanContext.SpanID(), bySpan[l.SpanContext.SpanID()].Links[0].SpanContext.SpanID())
		}
		require.Equal(t, s.Parent.SpanID(), s.Links[0].SpanContext.SpanID())
		for _, a := range s.Attributes {
			switch a.Key {
			case "db.operation.batch.size":
				require.Equal(t, int64(len(s.Links)), a.Value.AsInt64())
			case "esimflow.commit.written":
				written += a.Value.AsInt64()
			}
		}
	}
	require.Equal(t, n, steps)
	require.Less(t, commits, n, "they share")
	require.Equal(t, int64(n-1), written)
}

// A commit that Postgres refuses is a span that says so without its values, and each decision
// that is then written alone has a commit of its own.
func TestARefusedCommitIsTraced(t *testing.T) {
	b := setupStore(t)
	decisions := b.submitted(1)
	_, err := b.db.Exec(t.Context(), "ALTER TABLE saga ADD CONSTRAINT unlucky CHECK (state <> 'polling')")
	require.NoError(t, err)
	spans := tracetest.NewInMemoryExporter()
	ctx, span := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test").Start(t.Context(), "step")
	require.Error(t, b.store.Apply(ctx, decisions[0]))
	span.End()
	var said []sdktrace.Status
	for _, s := range spans.GetSpans() {
		if s.Name == "commit decisions" {
			said = append(said, s.Status)
		}
	}
	require.Equal(t, []sdktrace.Status{{Code: codes.Error, Description: "SQLSTATE 23514"}}, said)
}

// Without tracing a commit allocates nothing for it. (Not parallel: it counts.)
func TestUntracedCommitsCostNothing(t *testing.T) {
	ctx := t.Context()
	batch := make([]*shared, maxShared)
	for i := range batch {
		batch[i] = &shared{step: recorded(ctx)}
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if recorded(ctx) != nil {
			t.Fail()
		}
		beginShared(batch).end(len(batch), nil) //nolint:contextcheck // a shared commit lives in nobody's context
		beginCommit(ctx, commitRequests, len(batch)).end(len(batch), nil)
	}))
}
