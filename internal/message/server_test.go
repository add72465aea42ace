package message_test

import (
	"maps"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/message"
)

// bench is a NATS server with our streams and consumers, and a connection to it.
type bench struct {
	t    *testing.T
	nats *devstack.NATSServer
	nc   *nats.Conn
	js   jetstream.JetStream
}

func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, nats: devstack.NATS(t)}
	var err error
	b.nc, err = nats.Connect(b.nats.URL(), nats.Timeout(time.Minute))
	require.NoError(t, err)
	t.Cleanup(b.nc.Close)
	b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(time.Minute))
	require.NoError(t, err)
	for _, s := range message.Streams(1) {
		_, err := b.js.CreateStream(t.Context(), s)
		require.NoError(t, err)
	}
	for _, c := range message.Consumers() {
		_, err := b.js.CreateConsumer(t.Context(), message.RequestsStream, c)
		require.NoError(t, err)
	}
	return b
}

// publish sends m as the outbox does.
func (b *bench) publish(m message.Message) (*jetstream.PubAck, error) {
	b.t.Helper()
	msg := &nats.Msg{Subject: m.Subject, Header: nats.Header{}, Data: m.Body}
	maps.Copy(msg.Header, m.Header)
	if m.ID == "" {
		return b.js.PublishMsg(b.t.Context(), msg)
	}
	return b.js.PublishMsg(b.t.Context(), msg, jetstream.WithMsgID(m.ID))
}

// stored publishes m and returns what the stream holds.
func (b *bench) stored(m message.Message) *jetstream.RawStreamMsg {
	b.t.Helper()
	ack, err := b.publish(m)
	require.NoError(b.t, err)
	require.False(b.t, ack.Duplicate)
	stream, err := b.js.Stream(b.t.Context(), ack.Stream)
	require.NoError(b.t, err)
	got, err := stream.GetMsg(b.t.Context(), ack.Sequence)
	require.NoError(b.t, err)
	return got
}

// next takes the next request of kind k, as intake gets it.
func (b *bench) next(k message.Kind) jetstream.Msg {
	b.t.Helper()
	consumer, err := b.js.Consumer(b.t.Context(), message.RequestsStream, message.Consumer(k))
	require.NoError(b.t, err)
	m, err := consumer.Next()
	require.NoError(b.t, err)
	require.NoError(b.t, m.Ack())
	return m
}
