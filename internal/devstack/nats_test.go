package devstack

import (
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

func TestNATS(t *testing.T) {
	t.Parallel()

	t.Run("keeps its address and its streams over a restart", func(t *testing.T) {
		t.Parallel()
		s := NATS(t)
		url := s.URL()
		js := jetStream(t, url)
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept"}})
		require.NoError(t, err)
		_, err = js.Publish(t.Context(), "kept", []byte("hello"))
		require.NoError(t, err)

		require.NoError(t, s.Restart())
		require.Equal(t, url, s.URL())

		stream, err := jetStream(t, url).Stream(t.Context(), "KEPT")
		require.NoError(t, err)
		msg, err := stream.GetMsg(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, "hello", string(msg.Data))
	})

	t.Run("is away while it is stopped", func(t *testing.T) {
		t.Parallel()
		s := NATS(t)
		s.Stop()
		s.Stop()
		_, err := nats.Connect(s.URL(), nats.Timeout(time.Second))
		require.Error(t, err)
		require.NoError(t, s.Start())
		require.NoError(t, s.Start(), "a second start does nothing")
		jetStream(t, s.URL())
	})

	t.Run("has a port that is not given to whoever connects somewhere while it is stopped", func(t *testing.T) {
		t.Parallel()
		s := NATS(t)
		require.GreaterOrEqual(t, s.port, quietPortsFrom)
		require.Less(t, s.port, quietPortsTo)
	})

	t.Run("waits for a port that somebody else is about to give up", func(t *testing.T) {
		t.Parallel()
		s := NATS(t)
		s.Stop()
		other, err := net.Listen("tcp", natsAddress(s.port))
		require.NoError(t, err)
		time.AfterFunc(200*time.Millisecond, func() { _ = other.Close() })
		require.NoError(t, s.Start())
	})

	t.Run("gives every test a server of its own", func(t *testing.T) {
		t.Parallel()
		one, two := NATS(t), NATS(t)
		require.NotEqual(t, one.URL(), two.URL())
	})

	t.Run("says so when the port is taken", func(t *testing.T) {
		t.Parallel()
		first := NATS(t)
		_, err := StartNATS(NATSConfig{Dir: t.TempDir(), Port: first.port})
		require.ErrorContains(t, err, "address already in use")
	})

	t.Run("refuses to run without a directory", func(t *testing.T) {
		t.Parallel()
		_, err := StartNATS(NATSConfig{})
		require.ErrorContains(t, err, "directory")
	})
}

func jetStream(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, nats.Timeout(time.Minute))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(time.Minute))
	require.NoError(t, err)
	return js
}
