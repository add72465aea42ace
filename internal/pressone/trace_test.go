package pressone

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every operation has a route, or its spans would have no name.
func TestEveryOperationHasARoute(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		require.Contains(t, []string{"GET", "POST"}, routes[op].method, op)
		require.NotEmpty(t, routes[op].template, op)
	}
	require.Len(t, routes, len(operations))
}

// Without tracing a call allocates nothing for it. (Not parallel: it counts.)
func TestUntracedCallsCostNothing(t *testing.T) {
	p := &endpoint{} // metrics aside
	ctx := context.Background()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		inner, call := p.begin(ctx, OpGetSim)
		if inner != ctx || call.span != nil {
			t.Fail()
		}
		call.end(nil, 200)
	}))
}
