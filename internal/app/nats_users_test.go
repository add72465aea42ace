package app_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/message"
	"esimflow/internal/restore"
)

// mayPublish is who may publish to what: nobody who is not named. A user's log-in and inbox are
// its name.
var mayPublish = map[string][]string{
	"esim.request.order":                            {"upstream", "publisher"},
	"esim.request.topup":                            {"upstream", "publisher"},
	"esim.event.order.completed.v1":                 {"publisher"},
	"esim.event.topup.failed.v1":                    {"publisher"},
	"esim.dlq.order.33":                             {"publisher"},
	"esim.dlq.topup.expired":                        {"publisher"},
	"esim.witness":                                  {"worker"},
	"esimflow.hint.outbox":                          {"worker"},
	"esimflow.hint.gate":                            {"worker"},
	"_INBOX_upstream.x":                             {},
	"_INBOX_worker.x.y":                             {},
	"_INBOX_reader.x":                               {},
	"$JS.API.INFO":                                  {"provisioner", "ops"},
	"$JS.API.STREAM.NAMES":                          {"provisioner", "ops"},
	"$JS.API.STREAM.LIST":                           {"ops"},
	"$JS.API.STREAM.CREATE.ESIM_REQUESTS":           {"provisioner"},
	"$JS.API.STREAM.UPDATE.ESIM_REQUESTS":           {"provisioner"},
	"$JS.API.STREAM.DELETE.ESIM_REQUESTS":           {},
	"$JS.API.STREAM.PURGE.ESIM_REQUESTS":            {},
	"$JS.API.STREAM.INFO.ESIM_REQUESTS":             {"provisioner", "ops"},
	"$JS.API.STREAM.INFO.ESIM_EVENTS":               {"provisioner", "ops"},
	"$JS.API.STREAM.INFO.ESIM_DLQ":                  {"provisioner", "publisher", "ops"},
	"$JS.API.STREAM.INFO.ESIM_WITNESS":              {"provisioner", "worker", "ops"},
	"$JS.API.STREAM.MSG.GET.ESIM_WITNESS":           {"worker"},
	"$JS.API.STREAM.MSG.DELETE.ESIM_WITNESS":        {},
	"$JS.API.STREAM.PURGE.ESIM_WITNESS":             {},
	"$JS.API.STREAM.MSG.GET.ESIM_EVENTS":            {},
	"$JS.API.STREAM.MSG.GET.ESIM_REQUESTS":          {},
	"$JS.API.STREAM.MSG.GET.ESIM_DLQ":               {},
	"$JS.API.STREAM.MSG.DELETE.ESIM_DLQ":            {"publisher"},
	"$JS.API.STREAM.MSG.DELETE.ESIM_EVENTS":         {},
	"$JS.API.DIRECT.GET.ESIM_DLQ":                   {"publisher", "ops"},
	"$JS.API.DIRECT.GET.ESIM_DLQ.esim.dlq.order.33": {"ops"},
	"$JS.API.DIRECT.GET.ESIM_EVENTS":                {},
	"$JS.API.STREAM.SNAPSHOT.ESIM_EVENTS":           {},
	"$JS.API.CONSUMER.CREATE.ESIM_REQUESTS.esimflow-order.esim.request.order":    {"provisioner"},
	"$JS.API.CONSUMER.CREATE.ESIM_EVENTS.results":                                {"provisioner"},
	"$JS.API.CONSUMER.DURABLE.CREATE.ESIM_EVENTS.results":                        {},
	"$JS.API.CONSUMER.DELETE.ESIM_REQUESTS.esimflow-order":                       {"provisioner"},
	"$JS.API.CONSUMER.DELETE.ESIM_EVENTS.results":                                {},
	"$JS.API.CONSUMER.INFO.ESIM_REQUESTS.esimflow-order":                         {"provisioner", "worker", "ops"},
	"$JS.API.CONSUMER.INFO.ESIM_EVENTS.results":                                  {"provisioner", "reader", "ops"},
	"$JS.API.CONSUMER.INFO.ESIM_EVENTS.others":                                   {"provisioner", "ops"},
	"$JS.API.CONSUMER.LIST.ESIM_REQUESTS":                                        {"ops"},
	"$JS.API.CONSUMER.NAMES.ESIM_REQUESTS":                                       {"ops"},
	"$JS.API.CONSUMER.MSG.NEXT.ESIM_REQUESTS.esimflow-order":                     {"worker"},
	"$JS.API.CONSUMER.MSG.NEXT.ESIM_REQUESTS.esimflow-topup":                     {"worker"},
	"$JS.API.CONSUMER.MSG.NEXT.ESIM_EVENTS.results":                              {"reader"},
	"$JS.API.CONSUMER.MSG.NEXT.ESIM_EVENTS.others":                               {},
	"$JS.API.CONSUMER.PAUSE.ESIM_REQUESTS.esimflow-order":                        {},
	"$JS.ACK.ESIM_REQUESTS.esimflow-order.1.1.1.1790000000000000000.0":           {"worker"},
	"$JS.ACK._.ACCOUNT.ESIM_REQUESTS.esimflow-order.1.1.1.1790000000000000000.0": {"worker"},
	"$JS.ACK.ESIM_EVENTS.results.1.1.1.1790000000000000000.0":                    {"reader"},
	"$JS.ACK._.ACCOUNT.ESIM_EVENTS.results.1.1.1.1790000000000000000.0":          {"reader"},
	"$JS.ACK.ESIM_EVENTS.others.1.1.1.1790000000000000000.0":                     {},
	"$SYS.REQ.SERVER.PING":                                                       {},
}

// maySubscribe is who may read what as it passes by.
var maySubscribe = map[string][]string{
	">": {}, "esim.>": {}, "esim.request.order": {}, "esim.event.order.completed.v1": {}, "esim.dlq.>": {},
	"_INBOX.>": {}, "_INBOX_*.>": {}, "*.>": {}, "$JS.>": {}, "$SYS.>": {}, "$JS.ACK.>": {},
	"esimflow.hint.outbox": {"publisher"},
	"esimflow.hint.gate":   {"worker"},
	"esimflow.>":           {},
	"_INBOX_provisioner.>": {"provisioner"}, "_INBOX_upstream.>": {"upstream"}, "_INBOX_reader.>": {"reader"},
	"_INBOX_worker.>": {"worker"}, "_INBOX_publisher.>": {"publisher"}, "_INBOX_ops.>": {"ops"},
	"_INBOX_worker.one.two": {"worker"},
}

// Each user of deploy/nats/nats-server.conf tries everything: what is not in the table is denied,
// by an error that names the subject.
func TestWhatEachUserOfNATSMay(t *testing.T) {
	t.Parallel()
	s := secureNATS(t)
	for _, name := range natsUsers {
		t.Run(name, func(t *testing.T) {
			u := s.as(name)
			for subject, users := range mayPublish {
				require.NoError(t, u.nc.Publish(subject, nil))
				require.Equal(t, expected(app.Publish, subject, slices.Contains(users, name)), u.denials(), "publish to %s", subject)
			}
			for subject, users := range maySubscribe {
				sub, err := u.nc.SubscribeSync(subject)
				require.NoError(t, err)
				require.Equal(t, expected(app.Subscribe, subject, slices.Contains(users, name)), u.denials(), "subscribe to %s", subject)
				_ = sub.Unsubscribe() // one that was denied is gone already
			}
		})
	}
}

func expected(o app.Operation, subject string, allowed bool) []app.Denial {
	if allowed {
		return []app.Denial{}
	}
	return []app.Denial{{Operation: o, Subject: subject}}
}

// What is pulled from a stream arrives as an answer. Nobody sees another's: while the reader
// takes a result, all others listen for it wherever they may, and hear nothing.
func TestInboxesArePrivate(t *testing.T) {
	t.Parallel()
	s := secureNATS(t)
	s.provision()
	var heard []*nats.Subscription
	for _, name := range natsUsers {
		if name == "reader" {
			continue
		}
		u := s.as(name)
		for _, subject := range []string{">", "_INBOX_reader.>", "_INBOX.>", "_INBOX_" + name + ".>"} {
			sub, err := u.nc.SubscribeSync(subject)
			require.NoError(t, err)
			heard = append(heard, sub)
		}
		require.Len(t, u.denials(), 3)
	}
	_, err := s.as("publisher").js.Publish(t.Context(), message.EventSubject(message.Order, message.Completed), []byte("a result"))
	require.NoError(t, err)

	reader := s.as("reader")
	results, err := reader.js.Consumer(t.Context(), message.EventsStream, "results")
	require.NoError(t, err)
	m, err := results.Next(jetstream.FetchMaxWait(unhurried))
	require.NoError(t, err)
	require.Equal(t, "a result", string(m.Data()))
	require.NoError(t, m.DoubleAck(t.Context()))
	require.Empty(t, reader.denials())
	for _, sub := range heard {
		for m, err := sub.NextMsg(time.Millisecond); err == nil; m, err = sub.NextMsg(time.Millisecond) {
			require.NotEqual(t, "a result", string(m.Data), "%s was heard", sub.Subject) // there are answers of its own
		}
	}
}

// provision makes streams and consumers as whoever deploys does, and a durable for the reader.
func (s *securedNATS) provision() {
	s.t.Helper()
	p := s.as("provisioner")
	for _, c := range message.Streams(1) {
		_, err := p.js.CreateStream(s.t.Context(), c)
		require.NoError(s.t, err)
	}
	for _, c := range message.Consumers() {
		_, err := p.js.CreateConsumer(s.t.Context(), message.RequestsStream, c)
		require.NoError(s.t, err)
	}
	_, err := p.js.CreateConsumer(s.t.Context(), message.EventsStream, jetstream.ConsumerConfig{
		Durable: "results", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxDeliver: -1,
	})
	require.NoError(s.t, err)
	require.Empty(s.t, p.denials())
}

// After Postgres was restored to an older point, whoever made the consumers makes them anew, and
// everything is delivered again: as the user that docs/operations.md names, and as no other.
func TestWhoHasRequestsDeliveredAgain(t *testing.T) {
	t.Parallel()
	s := secureNATS(t)
	s.provision()
	for _, body := range []string{"one", "two"} {
		_, err := s.as("upstream").js.Publish(t.Context(), message.RequestSubject(message.Order), []byte(body))
		require.NoError(t, err)
	}
	worker := s.as("worker")
	consumer, err := worker.js.Consumer(t.Context(), message.RequestsStream, message.Consumer(message.Order))
	require.NoError(t, err)
	for range 2 {
		m, err := consumer.Next(jetstream.FetchMaxWait(unhurried))
		require.NoError(t, err)
		require.NoError(t, m.DoubleAck(t.Context()))
	}
	p := s.as("provisioner")
	left, err := restore.Redeliver(t.Context(), p.js)
	require.NoError(t, err)
	require.Empty(t, p.denials())
	require.Equal(t, 2, left)
	m, err := consumer.Next(jetstream.FetchMaxWait(unhurried))
	require.NoError(t, err)
	require.Equal(t, "one", string(m.Data()))
	left, err = restore.Left(t.Context(), s.as("ops").js)
	require.NoError(t, err)
	require.Equal(t, 2, left, "what is out is not acknowledged")
}

// A client without a certificate, with a wrong password, or with no user at all does not get in.
func TestNATSLetsNobodyElseIn(t *testing.T) {
	t.Parallel()
	s := secureNATS(t)
	env := s.env("worker")
	cert := nats.ClientCert(env["NATS_CERT"], env["NATS_KEY"])
	for name, c := range map[string]struct {
		url     string
		options []nats.Option
		want    string
	}{
		"without a certificate": {s.url("worker"), []nats.Option{nats.RootCAs(s.ca.File)}, ""},
		"with another password": {
			strings.Replace(s.url("worker"), "canary-worker", "canary-reader", 1),
			[]nats.Option{nats.RootCAs(s.ca.File), cert},
			"Authorization Violation",
		},
		"without a user":      {"nats://" + s.url("worker")[strings.Index(s.url("worker"), "@")+1:], []nats.Option{nats.RootCAs(s.ca.File), cert}, "Authorization Violation"},
		"without trust in it": {s.url("worker"), []nats.Option{nats.Secure(), cert}, "signed by unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			for deadline := time.Now().Add(unhurried); ; {
				_, err := nats.Connect(c.url, append(c.options, nats.Timeout(unhurried))...) // without a certificate: whichever word of its end is read first
				require.Error(t, err)
				require.NotContains(t, err.Error(), "canary")
				if strings.Contains(err.Error(), c.want) {
					return
				}
				require.True(t, time.Now().Before(deadline), err) // the server may have had no time for it, and then hangs up
			}
		})
	}
	require.Eventually(t, func() bool { return s.server.NumClients() == 0 }, time.Minute, 10*time.Millisecond)
}

// The table in docs/nats.md has what the configuration has.
func TestTheUsersOfNATSAreDocumented(t *testing.T) {
	t.Parallel()
	s := secureNATS(t)
	document, err := os.ReadFile(filepath.Join(root, "docs", "nats.md"))
	require.NoError(t, err)
	quoted := func(subjects *server.SubjectPermission) string {
		require.Empty(t, subjects.Deny)
		return "`" + strings.Join(subjects.Allow, "`, `") + "`"
	}
	documented := 0
	for _, u := range s.options(server.RANDOM_PORT).Users {
		if u.Username == "sys" {
			continue
		}
		require.NotNil(t, u.Permissions, u.Username)
		require.Contains(t, string(document), "| "+u.Username+" | "+quoted(u.Permissions.Publish)+" | "+quoted(u.Permissions.Subscribe)+" |")
		documented++
	}
	require.Equal(t, len(natsUsers), documented)
}
