package pressone

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLimiter(t *testing.T) {
	t.Parallel()

	t.Run("gives each worker its share", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := NewLimiter(10)
			l.SetWorkers(5) // two a second each
			start := time.Now()
			for range 12 {
				require.NoError(t, l.Wait(t.Context()))
			}
			require.Equal(t, 5500*time.Millisecond, time.Since(start), "one at once, then two a second: a start is no burst")
			l.SetWorkers(1)
			start = time.Now()
			for range 30 {
				require.NoError(t, l.Wait(t.Context()))
			}
			require.Less(t, time.Since(start), 4*time.Second)
		})
	})

	t.Run("lets a share below one through now and then", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := NewLimiter(1)
			l.SetWorkers(4)
			start := time.Now()
			for range 3 {
				require.NoError(t, l.Wait(t.Context()))
			}
			require.Equal(t, 8*time.Second, time.Since(start))
		})
	})

	t.Run("limits nothing when there is no rate", func(t *testing.T) {
		t.Parallel()
		var none *Limiter
		for _, l := range []*Limiter{none, NewLimiter(0)} {
			l.SetWorkers(3)
			for range 1000 {
				require.NoError(t, l.Wait(t.Context()))
			}
		}
	})

	t.Run("hears the context, and reads wait in it", func(t *testing.T) {
		t.Parallel()
		l := NewLimiter(0.001)
		require.NoError(t, l.Wait(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := newClient(t, "http://127.0.0.1:1/v2", func(c *Config) { c.Limiter = l }).Balance(ctx)
		e := requireError(t, err)
		require.True(t, e.NotSent)
		require.Equal(t, NotApplied, e.Disposition)
	})
}
