package devstack

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// A stream with three replicas goes on when its leader is stopped, and a node that comes
// back, with its disk or without it, catches up until it can stand in for another.
func TestNATSCluster(t *testing.T) {
	t.Parallel()
	const stream, consumer = "KEPT", "reader"
	c := NATSCluster(t)
	js := jetStream(t, c.URL())
	done := func(what string, do func(context.Context) error) { // nobody answers while servers elect one that does
		t.Helper()
		require.Eventually(t, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			return do(ctx) == nil
		}, 60*time.Second, 10*time.Millisecond, what)
	}
	done("stream", func(ctx context.Context) error {
		_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: stream, Subjects: []string{"kept"}, Replicas: 3})
		return err
	})
	done("consumer", func(ctx context.Context) error {
		_, err := js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{Durable: consumer, AckPolicy: jetstream.AckExplicitPolicy})
		return err
	})
	stored := 0
	publish := func() {
		t.Helper()
		stored++
		done(fmt.Sprint("message ", stored), func(ctx context.Context) error {
			_, err := js.Publish(ctx, "kept", fmt.Append(nil, stored), jetstream.WithMsgID(fmt.Sprint(stored)))
			return err
		})
	}
	current := func(i int) {
		t.Helper()
		require.Eventually(t, func() bool { return c.Current(i, stream) }, 60*time.Second, 10*time.Millisecond)
	}
	led := func(but int) (leader int) { // one that is slow may lose the lead at any time
		t.Helper()
		require.Eventually(t, func() bool {
			var ok bool
			leader, ok = c.StreamLeader(stream)
			return ok && leader != but
		}, 60*time.Second, 10*time.Millisecond)
		return leader
	}
	publish()

	leader := led(-1)
	require.Eventually(t, func() bool {
		_, ok := c.ConsumerLeader(stream, consumer)
		return ok
	}, 60*time.Second, 10*time.Millisecond)
	require.Error(t, c.Wipe(leader), "it runs")
	c.Stop(leader)
	c.Stop(leader)
	require.False(t, c.Current(leader, stream))
	publish()
	next := led(leader)

	require.NoError(t, c.Wipe(leader))
	require.NoError(t, c.Start(leader))
	require.NoError(t, c.Start(leader), "a second start does nothing")
	current(leader)
	c.Stop(next) // so that what was wiped has to do its part
	publish()
	require.NoError(t, c.Start(next))
	current(next)

	for seq := range stored {
		var m *jetstream.RawStreamMsg
		done(fmt.Sprint("reading ", seq+1), func(ctx context.Context) error {
			s, err := js.Stream(ctx, stream)
			if err == nil {
				m, err = s.GetMsg(ctx, uint64(seq+1))
			}
			return err
		})
		require.Equal(t, fmt.Sprint(seq+1), string(m.Data))
	}

	t.Run("refuses to run without a directory", func(t *testing.T) {
		t.Parallel()
		_, err := StartNATSCluster(t.Context(), "")
		require.ErrorContains(t, err, "directory")
	})
}
