package message_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"esimflow/internal/message"
)

func TestSubjectsAreTheContracts(t *testing.T) {
	t.Parallel()
	require.Equal(t, "esim.request.order", message.RequestSubject(message.Order))
	require.Equal(t, "esim.request.topup", message.RequestSubject(message.Topup))
	require.Equal(t, "esim.event.order.completed", message.EventSubject(message.Order, message.Completed))
	require.Equal(t, "esim.event.topup.failed", message.EventSubject(message.Topup, message.Failed))
	require.Equal(t, "esimflow-order", message.Consumer(message.Order))
	require.Equal(t, "esimflow-topup", message.Consumer(message.Topup))
	for _, code := range []string{
		"11", "33", "73", "4007", "malformed", "conflict", "retries_exhausted", "deadline", "poll_deadline", "outcome_unknown", "precheck", "http_502",
	} {
		require.Equal(t, "esim.dlq.order."+code, message.DeadLetterSubject(message.Order, code))
	}
	for give, want := range map[string]string{
		"": "_", "a.b": "a_b", "*": "_", ">": "_", "a b\n": "a_b_", "é": "_", "\xff": "_", strings.Repeat("9", 100): strings.Repeat("9", 64),
	} {
		require.Equal(t, "esim.dlq.topup."+want, message.DeadLetterSubject(message.Topup, give))
	}
}

func TestADeadLettersSubjectIsAlwaysLiteral(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		code := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
			rapid.StringMatching(`[.*> \t\r\n$a]{0,100}`)).Draw(t, "code")
		k := rapid.SampledFrom(message.Kinds()).Draw(t, "kind")
		require.Regexp(t, `^esim\.dlq\.(order|topup)\.[A-Za-z0-9_-]{1,64}$`, message.DeadLetterSubject(k, code))
	})
}

// TestStreamsOnAServer asks the server what it has made of our configuration.
func TestStreamsOnAServer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	want := map[string]struct {
		subjects []string
		discard  jetstream.DiscardPolicy
		largest  int32
	}{
		"ESIM_REQUESTS": {[]string{"esim.request.order", "esim.request.topup"}, jetstream.DiscardNew, 1_032_192},
		"ESIM_EVENTS": {[]string{
			"esim.event.order.completed", "esim.event.order.failed", "esim.event.topup.completed", "esim.event.topup.failed",
		}, jetstream.DiscardOld, -1},
		"ESIM_DLQ":     {[]string{"esim.dlq.order.*", "esim.dlq.topup.*"}, jetstream.DiscardNew, -1},
		"ESIM_WITNESS": {[]string{"esim.witness"}, jetstream.DiscardOld, 1024},
	}
	var names []string
	for _, s := range message.Streams(1) {
		names = append(names, s.Name)
		stream, err := b.js.Stream(t.Context(), s.Name)
		require.NoError(t, err)
		cfg := stream.CachedInfo().Config
		require.Equal(t, want[s.Name].subjects, cfg.Subjects)
		require.Equal(t, want[s.Name].discard, cfg.Discard)
		require.Equal(t, want[s.Name].largest, cfg.MaxMsgSize)
		require.Equal(t, jetstream.FileStorage, cfg.Storage)
		require.Equal(t, jetstream.LimitsPolicy, cfg.Retention)
		require.Equal(t, 10*time.Minute, cfg.Duplicates)
		require.Equal(t, 1, cfg.Replicas)
		require.Zero(t, cfg.MaxAge, "a request or a letter must not age away")
		require.Equal(t, int64(-1), cfg.MaxMsgs)
	}
	require.Equal(t, []string{message.RequestsStream, message.EventsStream, message.DeadLettersStream, message.WitnessStream}, names)
	for _, s := range message.Streams(3) {
		require.Equal(t, 3, s.Replicas)
	}

	for _, k := range message.Kinds() {
		c, err := b.js.Consumer(t.Context(), message.RequestsStream, message.Consumer(k))
		require.NoError(t, err)
		cfg := c.CachedInfo().Config
		require.Equal(t, message.RequestSubject(k), cfg.FilterSubject)
		require.Equal(t, jetstream.AckExplicitPolicy, cfg.AckPolicy)
		require.Equal(t, -1, cfg.MaxDeliver)
		require.Equal(t, jetstream.DeliverAllPolicy, cfg.DeliverPolicy)
		require.Empty(t, c.CachedInfo().Config.DeliverSubject, "a pull consumer")
	}
	require.Len(t, message.Consumers(), 2)
}

func TestEverySubjectHasItsStream(t *testing.T) {
	t.Parallel()
	b := setup(t)
	want := map[string]string{message.WitnessSubject: message.WitnessStream}
	for _, k := range message.Kinds() {
		want[message.RequestSubject(k)] = message.RequestsStream
		want[message.EventSubject(k, message.Completed)] = message.EventsStream
		want[message.EventSubject(k, message.Failed)] = message.EventsStream
		want[message.DeadLetterSubject(k, "11")] = message.DeadLettersStream
		want[message.DeadLetterSubject(k, "a.b>*")] = message.DeadLettersStream
	}
	for subject, stream := range want {
		ack, err := b.js.Publish(t.Context(), subject, []byte(subject))
		require.NoError(t, err)
		require.Equal(t, stream, ack.Stream, subject)
	}
	for _, k := range message.Kinds() {
		require.Equal(t, message.RequestSubject(k), string(b.next(k).Data()))
	}
	for _, hint := range []string{message.OutboxHint, message.GateHint} {
		_, err := b.js.Publish(t.Context(), hint, nil, jetstream.WithRetryAttempts(0))
		require.ErrorIs(t, err, jetstream.ErrNoStreamResponse, "a hint is not kept")
	}
}

func TestAFullStreamRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, s := range message.Streams(1) {
		s.MaxMsgs = 1
		_, err := b.js.UpdateStream(t.Context(), s)
		require.NoError(t, err)
		subject := strings.Replace(s.Subjects[0], "*", "11", 1)
		_, err = b.js.Publish(t.Context(), subject, []byte("first"))
		require.NoError(t, err)
		_, err = b.js.Publish(t.Context(), subject, []byte("second"))
		stream, streamErr := b.js.Stream(t.Context(), s.Name)
		require.NoError(t, streamErr)
		kept, getErr := stream.GetLastMsgForSubject(t.Context(), subject)
		require.NoError(t, getErr)
		if s.Discard == jetstream.DiscardOld {
			require.NoError(t, err, "results are in Postgres, too, and a witness is the last one")
			require.Equal(t, "second", string(kept.Data))
			continue
		}
		require.ErrorContains(t, err, "maximum messages exceeded", s.Name)
		require.Equal(t, "first", string(kept.Data), s.Name)
	}
}

func TestTheSameIDIsStoredOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m, err := message.Event(message.Order, message.Failed, sagaID, 1, "r", traceparent, noon, failed(message.Order, "r"))
	require.NoError(t, err)
	got := b.stored(m)
	require.Equal(t, m.Body, got.Data)
	require.Equal(t, nats.Header{"Nats-Msg-Id": {m.ID}, "Content-Type": {structuredType}, "traceparent": {traceparent}}, got.Header)
	again, err := b.publish(m)
	require.NoError(t, err)
	require.True(t, again.Duplicate)
	require.Equal(t, got.Sequence, again.Sequence)
}
