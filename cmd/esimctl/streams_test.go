package main

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/message"
)

// streams is an empty NATS server and a client of it.
func streams(t *testing.T) (*stack, jetstream.JetStream) {
	t.Helper()
	t.Parallel()
	ns := devstack.NATS(t)
	nc, err := nats.Connect(ns.URL(), nats.Timeout(time.Minute))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(time.Minute))
	require.NoError(t, err)
	return &stack{t: t, env: map[string]string{"NATS_URL": ns.URL()}, nc: nc}, js
}

// did is what streams apply says that it did to each object.
func did(s *stack, code int) map[string]applied {
	s.t.Helper()
	all := map[string]applied{}
	for _, a := range fromJSON[[]applied](s.t, s.exits(code, "streams", "apply", "--json").out) {
		all[a.Name] = a
	}
	require.Len(s.t, all, 6)
	return all
}

func TestStreamsAreMadeOnce(t *testing.T) {
	s, js := streams(t)
	missing := s.exits(exitFailed, "streams", "verify")
	require.Contains(t, missing.out, "missing")

	for name, a := range did(s, exitOK) {
		require.Equal(t, "created", a.Did, name)
	}
	for name, a := range did(s, exitOK) {
		require.Equal(t, "unchanged", a.Did, name)
	}
	verified := s.exits(exitOK, "streams", "verify")
	require.Contains(t, verified.out, "replicas is 1", "a single replica is warned of, and no difference")

	stream, err := js.Stream(t.Context(), message.RequestsStream)
	require.NoError(t, err)
	require.Equal(t, jetstream.FileStorage, stream.CachedInfo().Config.Storage)
	for _, c := range message.Consumers() {
		consumer, err := js.Consumer(t.Context(), message.RequestsStream, c.Durable)
		require.NoError(t, err)
		require.Equal(t, -1, consumer.CachedInfo().Config.MaxDeliver)
	}
}

func TestStreamsDrift(t *testing.T) {
	s, js := streams(t)
	s.ok("streams", "apply")

	stream, err := js.Stream(t.Context(), message.DeadLettersStream)
	require.NoError(t, err)
	drifted := stream.CachedInfo().Config
	drifted.Description, drifted.MaxBytes, drifted.MaxAge = "ours", 5<<20, time.Hour // an operator's
	drifted.Discard, drifted.AllowDirect, drifted.Duplicates = jetstream.DiscardOld, false, time.Minute
	drifted.Subjects = []string{"esim.dlq.order.*"}
	_, err = js.UpdateStream(t.Context(), drifted)
	require.NoError(t, err)
	consumer, err := js.Consumer(t.Context(), message.RequestsStream, message.Consumer(message.Order))
	require.NoError(t, err)
	limited := consumer.CachedInfo().Config
	limited.MaxDeliver, limited.AckWait, limited.MaxAckPending = 5, time.Second, 77
	_, err = js.UpdateConsumer(t.Context(), message.RequestsStream, limited)
	require.NoError(t, err)

	r := s.exits(exitFailed, "streams", "verify", "--json")
	fields := map[string][]string{}
	for _, v := range fromJSON[[]verified](t, r.out) {
		for _, d := range v.Differs {
			fields[v.Name] = append(fields[v.Name], d.Field)
		}
		for _, d := range v.Warnings {
			fields[v.Name] = append(fields[v.Name], "warning: "+d.Field)
		}
	}
	require.Equal(t, map[string][]string{
		message.RequestsStream:          {"warning: replicas"},
		message.EventsStream:            {"warning: replicas"},
		message.DeadLettersStream:       {"subjects", "discard", "duplicate window", "direct access", "warning: replicas", "warning: maximum age"},
		message.WitnessStream:           {"warning: replicas"},
		message.Consumer(message.Order): {"deliveries", "warning: ack wait"},
	}, fields)

	all := did(s, exitOK)
	require.Equal(t, "updated", all[message.DeadLettersStream].Did)
	require.Len(t, all[message.DeadLettersStream].Changes, 4)
	require.Equal(t, "updated", all[message.Consumer(message.Order)].Did)
	require.Equal(t, "unchanged", all[message.EventsStream].Did)
	s.ok("streams", "verify")

	stream, err = js.Stream(t.Context(), message.DeadLettersStream)
	require.NoError(t, err)
	now := stream.CachedInfo().Config
	require.Equal(t, "ours", now.Description)
	require.EqualValues(t, 5<<20, now.MaxBytes)
	require.Equal(t, time.Hour, now.MaxAge)
	require.Equal(t, jetstream.DiscardNew, now.Discard)
	consumer, err = js.Consumer(t.Context(), message.RequestsStream, message.Consumer(message.Order))
	require.NoError(t, err)
	require.Equal(t, -1, consumer.CachedInfo().Config.MaxDeliver)
	require.Equal(t, 77, consumer.CachedInfo().Config.MaxAckPending)
}

func TestStreamsThatCannotBeCorrected(t *testing.T) {
	s, js := streams(t)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: message.EventsStream, Subjects: []string{"esim.event.>"}, Storage: jetstream.MemoryStorage,
	})
	require.NoError(t, err)

	all := did(s, exitPartly)
	require.Equal(t, "failed", all[message.EventsStream].Did)
	require.Contains(t, all[message.EventsStream].Error, "storage is memory and has to be file")
	require.Equal(t, "created", all[message.RequestsStream].Did)
	r := s.exits(exitFailed, "streams", "verify")
	require.Contains(t, r.out, "storage is memory and has to be file")

	require.NoError(t, js.DeleteConsumer(t.Context(), message.RequestsStream, message.Consumer(message.Topup)))
	_, err = js.CreateConsumer(t.Context(), message.RequestsStream, jetstream.ConsumerConfig{
		Durable: message.Consumer(message.Topup), AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	require.NoError(t, err)
	all = did(s, exitPartly)
	require.Contains(t, all[message.Consumer(message.Topup)].Error, "ack policy is none and has to be explicit")
}

// TestReplicasAreLeftAloneUntilAskedFor: running apply without NATS_REPLICAS must not
// take a cluster's replicas away.
func TestReplicasAreLeftAloneUntilAskedFor(t *testing.T) {
	t.Parallel()
	want := message.Streams(1)[0]
	has := want
	has.Replicas = 3
	require.Empty(t, compare(streamFields(want, false), want, has))
	require.Equal(t, 3, merge(streamFields(want, false), want, has).Replicas)
	require.Len(t, compare(streamFields(want, true), want, has), 1)
	require.Equal(t, 1, merge(streamFields(want, true), want, has).Replicas)
}

func TestStreamsSayWhereNATSShouldBe(t *testing.T) {
	t.Parallel()
	r := runIn(t, map[string]string{"NATS_URL": "nats://user:hunter2@127.0.0.1:1"}, "streams", "verify")
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.err, "nats://127.0.0.1:1")
	require.Contains(t, r.err, "NATS_URL")
	require.NotContains(t, r.err, "hunter2")
	require.Equal(t, exitUsage, runIn(t, nil, "streams", "apply").code)
}
