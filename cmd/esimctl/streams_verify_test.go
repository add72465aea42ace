package main

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/message"
)

// found is what verify has to say of one object, as fields.
type found struct{ differs, warnings []string }

// verifies runs streams verify in an environment and returns what it says of each object; nothing
// while servers do not answer, as when one was just lost.
func verifies(t *testing.T, env map[string]string) (code int, all map[string]found) {
	t.Helper()
	r := runIn(t, env, "streams", "verify", "--json")
	if r.out == "" {
		return r.code, nil
	}
	all = map[string]found{}
	for _, v := range fromJSON[[]verified](t, r.out) {
		var f found
		for _, d := range v.Differs {
			require.NotEmpty(t, d.Want, d.Field)
			f.differs = append(f.differs, d.Field)
		}
		for _, d := range v.Warnings {
			require.NotEmpty(t, d.Warning, d.Field)
			f.warnings = append(f.warnings, d.Field)
		}
		if v.Missing {
			f.differs = append(f.differs, "missing")
		}
		require.Equal(t, v.OK, len(f.differs) == 0)
		all[v.Name] = f
	}
	return r.code, all
}

// Every way in which a stream can be wrong, on a real server: what verify calls it, and whether apply mends it.
func TestStreamsThatAreWrong(t *testing.T) {
	s, js := streams(t)
	elsewhere, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ELSEWHERE", Subjects: []string{"elsewhere.>"}})
	require.NoError(t, err)
	require.NotNil(t, elsewhere)
	const requests, events, letters = message.RequestsStream, message.EventsStream, message.DeadLettersStream
	witness := message.WitnessStream
	type stream = jetstream.StreamConfig
	tests := map[string]struct {
		stream string
		change func(*stream)
		want   found
		mended bool // by apply
	}{
		"memory storage":                  {requests, func(s *stream) { s.Storage = jetstream.MemoryStorage }, found{differs: []string{"storage"}}, false},
		"work queue":                      {requests, func(s *stream) { s.Retention = jetstream.WorkQueuePolicy }, found{differs: []string{"retention"}}, false},
		"interest":                        {events, func(s *stream) { s.Retention = jetstream.InterestPolicy }, found{differs: []string{"retention"}}, true},
		"drops requests when it is full":  {requests, func(s *stream) { s.Discard = jetstream.DiscardOld }, found{differs: []string{"discard"}}, true},
		"drops letters when it is full":   {letters, func(s *stream) { s.Discard = jetstream.DiscardOld }, found{differs: []string{"discard"}}, true},
		"refuses results when it is full": {events, func(s *stream) { s.Discard = jetstream.DiscardNew }, found{differs: []string{"discard"}}, true},
		"a short duplicate window":        {events, func(s *stream) { s.Duplicates = time.Minute }, found{differs: []string{"duplicate window"}}, true},
		"a subject that is missing":       {requests, func(s *stream) { s.Subjects = s.Subjects[:1] }, found{differs: []string{"subjects"}}, true},
		"a mirror": {events, func(s *stream) {
			s.Subjects, s.Mirror = nil, &jetstream.StreamSource{Name: "ELSEWHERE"}
		}, found{differs: []string{"subjects", "mirror of"}}, false},
		"sources": {requests, func(s *stream) {
			s.Sources = []*jetstream.StreamSource{{Name: "ELSEWHERE"}}
		}, found{differs: []string{"sources"}}, true},
		"another subject in store": {requests, func(s *stream) {
			s.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "esim.request.order", Destination: "esim.request.topup"}
		}, found{differs: []string{"subject transform"}}, true},
		"sealed":               {letters, func(s *stream) { s.Sealed = true }, found{differs: []string{"deletion denied", "sealed"}}, false},
		"nothing is deleted":   {letters, func(s *stream) { s.DenyDelete = true }, found{differs: []string{"deletion denied"}}, false},
		"acknowledged early":   {requests, func(s *stream) { s.PersistMode = jetstream.AsyncPersistMode }, found{differs: []string{"persistence"}}, false},
		"small messages":       {requests, func(s *stream) { s.MaxMsgSize = 1000 }, found{differs: []string{"largest message"}}, true},
		"no direct access":     {letters, func(s *stream) { s.AllowDirect = false }, found{differs: []string{"direct access"}}, true},
		"no acknowledgement":   {requests, func(s *stream) { s.NoAck = true }, found{warnings: []string{"acknowledgement"}}, false},
		"old requests go":      {requests, func(s *stream) { s.MaxAge = time.Hour }, found{warnings: []string{"maximum age"}}, false},
		"old results go":       {events, func(s *stream) { s.MaxAge = time.Hour }, found{}, false},
		"one result a subject": {events, func(s *stream) { s.MaxMsgsPerSubject = 1 }, found{warnings: []string{"messages per subject"}}, false},
		"purged by publishers": {requests, func(s *stream) { s.AllowRollup = true }, found{warnings: []string{"roll-up"}}, false},
		"many marks":           {witness, func(s *stream) { s.MaxMsgsPerSubject = 5 }, found{differs: []string{"messages per subject"}}, true},
		"a mark that ages":     {witness, func(s *stream) { s.MaxAge = time.Hour }, found{warnings: []string{"maximum age"}}, false},
		"an operator's own": {requests, func(s *stream) {
			s.MaxBytes, s.MaxMsgs, s.Compression, s.Description = 1<<30, 1_000_000, jetstream.S2Compression, "ours"
		}, found{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { // one after the other, on one server
			for _, name := range []string{requests, events, letters, witness} {
				_ = js.DeleteStream(t.Context(), name)
			}
			for _, config := range message.Streams(1) {
				if config.Name == tt.stream {
					sealed := config.Sealed
					tt.change(&config)
					if config.Sealed != sealed { // a stream can be sealed only once it is there
						config.Sealed = false
						_, err := js.CreateStream(t.Context(), config)
						require.NoError(t, err)
						config.Sealed = true
						_, err = js.UpdateStream(t.Context(), config)
						require.NoError(t, err)
						continue
					}
				}
				_, err := js.CreateStream(t.Context(), config)
				require.NoError(t, err)
			}
			for _, config := range message.Consumers() {
				_, err := js.CreateConsumer(t.Context(), requests, config)
				if err != nil { // a work queue wants other consumers
					require.Equal(t, "work queue", name)
				}
			}
			_, all := verifies(t, s.env)
			got := all[tt.stream]
			i := slices.Index(got.warnings, "replicas")
			require.GreaterOrEqual(t, i, 0, "there is one server")
			got.warnings = slices.Delete(got.warnings, i, i+1)
			require.Equal(t, tt.want.differs, got.differs)
			require.ElementsMatch(t, tt.want.warnings, got.warnings)
			if len(tt.want.differs) == 0 {
				return
			}
			r := s.run("streams", "apply", "--json")
			_, all = verifies(t, s.env)
			require.Equal(t, tt.mended, len(all[tt.stream].differs) == 0, "%+v after %s", all[tt.stream], r.out)
			if !tt.mended {
				require.Equal(t, exitPartly, r.code, "what cannot be mended is said")
			}
		})
	}
}

// Every way in which a consumer can be wrong.
func TestConsumersThatAreWrong(t *testing.T) {
	s, js := streams(t)
	s.ok("streams", "apply")
	type consumer = jetstream.ConsumerConfig
	soon := time.Now().Add(time.Hour)
	tests := map[string]struct {
		change func(*consumer)
		want   found
		mended bool
	}{
		"gives up": {func(c *consumer) { c.MaxDeliver = 5 }, found{differs: []string{"deliveries"}}, true},
		"acknowledged at once": {func(c *consumer) {
			c.AckPolicy, c.MaxDeliver = jetstream.AckNonePolicy, 0
			c.AckWait = 0
			c.MaxAckPending = 0
		}, found{differs: []string{"ack policy"}}, false},
		"acknowledged by others": {func(c *consumer) { c.AckPolicy = jetstream.AckAllPolicy }, found{differs: []string{"ack policy"}}, false},
		"only new ones":          {func(c *consumer) { c.DeliverPolicy = jetstream.DeliverNewPolicy }, found{differs: []string{"deliver policy"}}, false},
		"in memory":              {func(c *consumer) { c.MemoryStorage = true }, found{differs: []string{"storage"}}, false},
		"a filter that misses":   {func(c *consumer) { c.FilterSubject = "esim.request.topup" }, found{differs: []string{"filter"}}, true},
		"no filter":              {func(c *consumer) { c.FilterSubject = "" }, found{differs: []string{"filter"}}, true},
		"gone when idle":         {func(c *consumer) { c.InactiveThreshold = time.Hour }, found{differs: []string{"kept while idle"}}, true},
		"without bodies":         {func(c *consumer) { c.HeadersOnly = true }, found{differs: []string{"headers only"}}, true},
		"as slow as they came":   {func(c *consumer) { c.ReplayPolicy = jetstream.ReplayOriginalPolicy }, found{differs: []string{"replay policy"}}, false},
		"small pulls":            {func(c *consumer) { c.MaxRequestBatch, c.MaxRequestExpires = 10, time.Second }, found{differs: []string{"limits of pull requests"}}, true},
		"a group": {func(c *consumer) {
			c.PriorityPolicy, c.PriorityGroups = jetstream.PriorityPolicyOverflow, []string{"a"}
		}, found{differs: []string{"priority groups"}}, false},
		"push":              {func(c *consumer) { c.DeliverSubject = "somewhere" }, found{differs: []string{"delivery"}}, false},
		"paused":            {func(c *consumer) { c.PauseUntil = &soon }, found{warnings: []string{"pause"}}, false},
		"hasty":             {func(c *consumer) { c.AckWait = time.Second }, found{warnings: []string{"ack wait"}}, false},
		"hasty at first":    {func(c *consumer) { c.BackOff = []time.Duration{time.Second, time.Minute} }, found{warnings: []string{"ack wait"}}, false},
		"an operator's own": {func(c *consumer) { c.MaxAckPending, c.Description, c.AckWait = 99, "ours", time.Minute }, found{}, false},
	}
	name := message.Consumer(message.Order)
	for what, tt := range tests {
		t.Run(what, func(t *testing.T) { // one after the other, on one server
			_ = js.DeleteConsumer(t.Context(), message.RequestsStream, name)
			config := message.Consumers()[0]
			require.Equal(t, name, config.Durable)
			tt.change(&config)
			createConsumer(t, s.nc, config)
			_, all := verifies(t, s.env)
			require.Equal(t, tt.want.differs, all[name].differs)
			require.Equal(t, tt.want.warnings, all[name].warnings)
			if len(tt.want.differs) == 0 {
				return
			}
			r := s.run("streams", "apply", "--json")
			_, all = verifies(t, s.env)
			require.Equal(t, tt.mended, len(all[name].differs) == 0, "%+v after %s", all[name], r.out)
			if !tt.mended {
				require.Equal(t, exitPartly, r.code, "what cannot be mended is said")
			}
		})
	}
}

// createConsumer makes a consumer of any kind, push ones too.
func createConsumer(t *testing.T, nc *nats.Conn, config jetstream.ConsumerConfig) {
	t.Helper()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(time.Minute))
	require.NoError(t, err)
	if config.DeliverSubject != "" {
		_, err = js.CreatePushConsumer(t.Context(), message.RequestsStream, config)
	} else {
		_, err = js.CreateConsumer(t.Context(), message.RequestsStream, config)
	}
	require.NoError(t, err)
}

// In production NATS_REPLICAS is 3, and whatever has less is a difference; a server that is away is warned of.
func TestReplicasAreVerified(t *testing.T) {
	t.Parallel()
	nodes := devstack.NATSCluster(t)
	nc, err := nats.Connect(nodes.URL(), nats.Timeout(time.Minute))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(time.Minute))
	require.NoError(t, err)
	env := map[string]string{"NATS_URL": nodes.URL(), "NATS_REPLICAS": "3"}
	await := func(what string, f func() bool) { // nobody answers while servers elect one that does
		t.Helper()
		require.Eventually(t, f, 60*time.Second, 50*time.Millisecond, what)
	}
	applied := func() bool { return runIn(t, env, "streams", "apply").code == exitOK }
	await("applied", applied)
	clean := func() bool {
		code, all := verifies(t, env)
		for _, f := range all {
			code += len(f.warnings)
		}
		return code == exitOK
	}
	await("three replicas that are current are nothing to warn of", clean)

	single := message.Consumers()[1]
	single.Replicas = 1
	await("set back", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		stream, err := js.Stream(ctx, message.EventsStream)
		if err != nil {
			return false
		}
		config := stream.CachedInfo().Config
		config.Replicas = 1
		_, err = js.UpdateStream(ctx, config)
		if err == nil {
			_, err = js.UpdateConsumer(ctx, message.RequestsStream, single)
		}
		return err == nil
	})
	var code int
	var all map[string]found
	await("all servers answer", func() bool {
		code, all = verifies(t, env)
		return all != nil
	})
	require.Equal(t, exitFailed, code)
	require.Equal(t, []string{"replicas"}, all[message.EventsStream].differs)
	require.Contains(t, all[message.EventsStream].warnings, "replicas")
	require.Contains(t, all[single.Durable].warnings, "replicas")
	await("applied again", applied)

	var leader int
	await("there is a leader", func() (ok bool) {
		leader, ok = nodes.StreamLeader(message.RequestsStream)
		return ok
	})
	away := (leader + 1) % nodes.Len()
	nodes.Stop(away)
	require.Eventually(t, func() bool {
		_, all := verifies(t, env)
		return slices.ContainsFunc(all[message.RequestsStream].warnings, func(s string) bool { return s != "replicas" })
	}, 60*time.Second, 50*time.Millisecond, "a replica is offline")
	require.NoError(t, nodes.Start(away))
	require.Eventually(t, func() bool { return nodes.Current(away, message.RequestsStream) }, 60*time.Second, 50*time.Millisecond)
}
