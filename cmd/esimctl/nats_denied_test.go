package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

// Who logs in as a user that may not do it is told at once what was denied, rather than of a
// time-out.
func TestDeniedByNATSIsSaid(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, []byte(`
authorization { users: [{ user: ann, password: canary-password, permissions {
  publish { allow: ["esim.request.order"] }, subscribe { allow: ["_INBOX_ann.>"] }
} }] }`), 0o600))
	opts, err := server.ProcessConfigFile(file)
	require.NoError(t, err)
	opts.Host, opts.Port, opts.JetStream, opts.StoreDir, opts.NoLog, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, true, t.TempDir(), true, true
	srv, err := server.NewServer(opts)
	require.NoError(t, err)
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	require.True(t, srv.ReadyForConnections(30*time.Second))
	addr, ok := srv.Addr().(*net.TCPAddr)
	require.True(t, ok)
	s := &stack{t: t, env: map[string]string{
		"NATS_URL": fmt.Sprintf("nats://ann:canary-password@127.0.0.1:%d", addr.Port),
	}}

	got := s.exits(exitFailed, "streams", "verify")
	require.Contains(t, got.err, "NATS does not let this user publish to $JS.API.STREAM.INFO.ESIM_REQUESTS")
	require.NotContains(t, got.err, "canary-password")

	s.env["NATS_INBOX_PREFIX"] = "_INBOX_eve"
	got = s.exits(exitFailed, "order", "submit", "--package", aPackage)
	require.Contains(t, got.err, "NATS does not let this user subscribe to _INBOX_eve.")
	require.Contains(t, got.err, "NATS_INBOX_PREFIX")
}
