package devstack

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// orphanVariable makes the test binary start a server, print its home and its supervisor's
// process id, and wait to be killed.
const orphanVariable = "DEVSTACK_TEST_ORPHAN"

// portsVariable makes the test binary take so many ports, print them, and keep them until its
// input ends.
const portsVariable = "DEVSTACK_TEST_PORTS"

func TestMain(m *testing.M) {
	if n, err := strconv.Atoi(os.Getenv(portsVariable)); err == nil {
		ports, err := FreePorts(n)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		for _, port := range ports {
			fmt.Fprintln(os.Stdout, port)
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	if os.Getenv(orphanVariable) != "" {
		s, err := StartPostgres(context.Background(), PostgresConfig{})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Fprintln(os.Stdout, s.home, s.running.cmd.Process.Pid)
		select {}
	}
	goleak.VerifyTestMain(Patient(m, func() error { return goleak.Find() }))
}

// setup returns what the steps of a start need, and a cache of the test's own.
func setup(t *testing.T) (cache string, b binaries, a account) {
	t.Helper()
	a, err := serverAccount()
	require.NoError(t, err)
	shared, err := cacheDir(a)
	require.NoError(t, err)
	b, err = machineSearch.find(t.Context(), shared)
	require.NoError(t, err)
	return publicDir(t), b, a
}

// publicDir is a temporary directory that the server's account can enter; t.TempDir is
// below one that root keeps for itself.
func publicDir(t *testing.T) string {
	t.Helper()
	a, err := serverAccount()
	require.NoError(t, err)
	scratch, err := a.scratch()
	require.NoError(t, err)
	dir, err := os.MkdirTemp(scratch, "esimflow-test-") //nolint:usetesting // see above
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}
