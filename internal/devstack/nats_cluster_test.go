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
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: stream, Subjects: []string{"kept"}, Replicas: 3})
	require.NoError(t, err)
	_, err = js.CreateConsumer(t.Context(), stream, jetstream.ConsumerConfig{Durable: consumer, AckPolicy: jetstream.AckExplicitPolicy})
	require.NoError(t, err)
	stored := 0
	publish := func() {
		t.Helper()
		stored++
		require.Eventually(t, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := js.Publish(ctx, "kept", fmt.Append(nil, stored), jetstream.WithMsgID(fmt.Sprint(stored)))
			return err == nil
		}, 60*time.Second, 10*time.Millisecond, "message %d", stored)
	}
	current := func(i int) {
		t.Helper()
		require.Eventually(t, func() bool { return c.Current(i, stream) }, 60*time.Second, 10*time.Millisecond)
	}
	publish()

	leader, ok := c.StreamLeader(stream)
	require.True(t, ok)
	require.Eventually(t, func() bool {
		_, ok := c.ConsumerLeader(stream, consumer)
		return ok
	}, 60*time.Second, 10*time.Millisecond)
	require.Error(t, c.Wipe(leader), "it runs")
	c.Stop(leader)
	c.Stop(leader)
	require.False(t, c.Current(leader, stream))
	publish()
	next, ok := c.StreamLeader(stream)
	require.True(t, ok)
	require.NotEqual(t, leader, next)

	require.NoError(t, c.Wipe(leader))
	require.NoError(t, c.Start(leader))
	require.NoError(t, c.Start(leader), "a second start does nothing")
	current(leader)
	c.Stop(next) // so that what was wiped has to do its part
	publish()
	require.NoError(t, c.Start(next))
	current(next)

	s, err := js.Stream(t.Context(), stream)
	require.NoError(t, err)
	for seq := range stored {
		m, err := s.GetMsg(t.Context(), uint64(seq+1))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(seq+1), string(m.Data))
	}

	t.Run("refuses to run without a directory", func(t *testing.T) {
		t.Parallel()
		_, err := StartNATSCluster(t.Context(), "")
		require.ErrorContains(t, err, "directory")
	})
}
