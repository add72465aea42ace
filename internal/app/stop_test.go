package app

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/config"
)

// A publisher that was told to stop says so before it does anything else, so that nobody counts
// on it any more.
func TestPublisherIsNotReadyWhileStopping(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p := &Publisher{}
	require.EqualError(t, p.ready(ctx, nil), "app: starting")
	cancel()
	require.EqualError(t, p.ready(ctx, nil), "app: stopping")
}

// A worker takes as long as a submission that was begun just before, and the last commit.
func TestStopBudget(t *testing.T) {
	t.Parallel()
	for _, submit := range []time.Duration{time.Second, time.Minute, time.Hour} {
		cfg := config.Config{SubmitTimeout: submit}
		require.Equal(t, submit, StopBudget(WorkerProgram, cfg)-StopBudget(PublisherProgram, cfg))
		require.GreaterOrEqual(t, StopBudget(PublisherProgram, cfg), shutdownMargin+5*time.Second)
	}
}
