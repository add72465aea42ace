package app_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/devstack"
	"esimflow/internal/message"
)

// securedNATS is a server that runs deploy/nats/nats-server.conf, but for its addresses.
type securedNATS struct {
	t         *testing.T
	ca        *devstack.Authority
	dir       string
	server    *server.Server
	host      string // as clients name it
	passwords map[string]string
	earlier   bool // a configuration from before there was a witness
}

var natsUsers = []string{"provisioner", "upstream", "reader", "worker", "publisher", "ops"}

// secureNATS starts one with a certificate for localhost.
func secureNATS(t *testing.T) *securedNATS {
	t.Helper()
	ca := devstack.NewAuthority(t)
	return secureNATSAs(t, ca, devstack.Leaf{Name: "nats", Hosts: []string{"localhost"}})
}

func secureNATSAs(t *testing.T, ca *devstack.Authority, leaf devstack.Leaf) *securedNATS {
	t.Helper()
	s := &securedNATS{t: t, ca: ca, dir: t.TempDir(), host: "localhost", passwords: map[string]string{"sys": "canary-sys"}}
	for _, u := range natsUsers {
		s.passwords[u] = "canary-" + u
	}
	ca.IssueTo(leaf, s.certFile(), s.keyFile())
	s.start(steadyPort(s.t))
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *securedNATS) certFile() string { return filepath.Join(s.dir, "server.crt") }
func (s *securedNATS) keyFile() string  { return filepath.Join(s.dir, "server.key") }

// options reads the configuration as a server with the variables in its environment does. A
// process has one environment, and tests run in parallel: so they are defined in front of it.
func (s *securedNATS) options(port int) *server.Options {
	s.t.Helper()
	var text strings.Builder
	define := func(name, value string) { fmt.Fprintf(&text, "%s: %q\n", name, value) }
	define("NATS_STORE_DIR", filepath.Join(s.dir, "jetstream"))
	define("NATS_TLS_CERT", s.certFile())
	define("NATS_TLS_KEY", s.keyFile())
	define("NATS_TLS_CA", s.ca.File)
	for user, password := range s.passwords {
		define("NATS_"+strings.ToUpper(user)+"_PASSWORD", password)
	}
	conf, err := os.ReadFile(filepath.Join(root, "deploy", "nats", "nats-server.conf"))
	require.NoError(s.t, err)
	text.Write(conf)
	file := filepath.Join(s.dir, "nats-server.conf")
	require.NoError(s.t, os.WriteFile(file, []byte(text.String()), 0o600))
	opts, err := server.ProcessConfigFile(file)
	require.NoError(s.t, err)
	opts.Host, opts.Port, opts.HTTPPort, opts.NoLog, opts.NoSigs = "127.0.0.1", port, 0, true, true
	opts.JetStreamMaxStore = 1 << 40 // not by how full this machine's disk is
	if s.earlier {
		worker := opts.Users[slices.IndexFunc(opts.Users, func(u *server.User) bool { return u.Username == "worker" })].Permissions.Publish
		worker.Allow = slices.DeleteFunc(worker.Allow, func(subject string) bool {
			return subject == message.WitnessSubject || strings.HasSuffix(subject, message.WitnessStream)
		})
	}
	return opts
}

func (s *securedNATS) start(port int) {
	s.t.Helper()
	require.NoError(s.t, devstack.AwaitPort(port))
	srv, err := server.NewServer(s.options(port))
	require.NoError(s.t, err)
	srv.Start()
	require.True(s.t, srv.ReadyForConnections(time.Minute))
	s.server = srv
}

func (s *securedNATS) stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// restart starts it again on its port, with passwords and certificates as they are now.
func (s *securedNATS) restart() {
	s.t.Helper()
	port := s.port()
	s.stop()
	s.start(port)
}

func (s *securedNATS) port() int {
	s.t.Helper()
	addr, ok := s.server.Addr().(*net.TCPAddr)
	require.True(s.t, ok)
	return addr.Port
}

// url is where a user logs in.
func (s *securedNATS) url(user string) string {
	return fmt.Sprintf("nats://%s:%s@%s:%d", user, s.passwords[user], s.host, s.port())
}

// env is what a program of that user's is given, beside what else it needs.
func (s *securedNATS) env(user string) map[string]string {
	cert, key := s.ca.Issue(devstack.Leaf{Name: user})
	return map[string]string{"NATS_URL": s.url(user), "NATS_CA": s.ca.File, "NATS_CERT": cert, "NATS_KEY": key}
}

// natsUser is a connection that notes what it is denied, in order.
type natsUser struct {
	t    *testing.T
	name string
	nc   *nats.Conn
	js   jetstream.JetStream

	mu     sync.Mutex
	denied []app.Denial
}

func (s *securedNATS) as(user string) *natsUser {
	s.t.Helper()
	u := &natsUser{t: s.t, name: user}
	env := s.env(user)
	nc, err := nats.Connect(env["NATS_URL"], nats.RootCAs(env["NATS_CA"]), nats.ClientCert(env["NATS_CERT"], env["NATS_KEY"]),
		nats.CustomInboxPrefix("_INBOX_"+user), nats.Timeout(unhurried),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if d, ok := app.DenialOf(err); ok {
				u.mu.Lock()
				defer u.mu.Unlock()
				u.denied = append(u.denied, d)
			}
		}))
	require.NoError(s.t, err)
	s.t.Cleanup(nc.Close)
	u.nc = nc
	u.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(unhurried))
	require.NoError(s.t, err)
	return u
}

// denials returns what it was denied since the last call. Denials come in order, so what was
// done before one that is certain to come has been decided when that one is there.
func (u *natsUser) denials() []app.Denial {
	u.t.Helper()
	const never = "a.subject.that.nobody.may"
	require.NoError(u.t, u.nc.Publish(never, nil))
	var got []app.Denial
	require.Eventually(u.t, func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		n := len(u.denied)
		if n == 0 || u.denied[n-1].Subject != never {
			return false
		}
		got, u.denied = u.denied[:n-1], nil
		return true
	}, 60*time.Second, time.Millisecond, "%s hears what it is denied", u.name)
	return got
}
