package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"esimflow/internal/bench"
)

// TestBench is a tiny bench, both ways, on a preload that the second one finds: the counts
// are exact, whatever the machine's speed.
func TestBench(t *testing.T) {
	t.Parallel()
	dir := benchDir(t)
	common := []string{"bench", "--n", "200", "--runs", "1", "--warm-up", "0", "--quiet", "0", "--preload", "500", "--data", dir}

	r := runIn(t, map[string]string{"PATH": os.Getenv("PATH")}, append(common, "--json", "--topups", "0.1", "--profile", filepath.Join(dir, "profiles"))...)
	require.Equal(t, exitOK, r.code, r.err)
	require.Contains(t, r.err, "1000 of 1000 sagas")
	f := benchFigures(t, r.out)
	require.Nil(t, f.Latency)
	require.InDelta(t, 0.9, f.Calls["orders"], 1e-9)
	require.InDelta(t, 0.1, f.Calls["topups"], 1e-9)
	for _, name := range []string{"worker-1", "publisher", "provider"} {
		for _, kind := range []string{"cpu", "allocs-before", "allocs"} {
			info, err := os.Stat(filepath.Join(dir, "profiles", name+".run1."+kind+".pprof"))
			require.NoError(t, err)
			require.Positive(t, info.Size())
		}
	}

	r = runIn(t, nil, append(common, "--json", "--rate", "200", "--snapshot", "--workers", "2")...)
	require.Equal(t, exitOK, r.code, r.err)
	require.NotContains(t, r.err, "Preloading")
	f = benchFigures(t, r.out)
	require.Positive(t, f.Latency.P50)
	require.LessOrEqual(t, f.Latency.P50, f.Latency.P99)
	require.LessOrEqual(t, f.Latency.P99, f.Latency.Max)
	require.LessOrEqual(t, f.SagasPerSecond, 210.0)
	require.Contains(t, f.PeakMemory, "worker-2")
	require.InDelta(t, 1, f.Calls["orders"], 1e-9)

	r = runIn(t, nil, append(common[:len(common)-4], "--data", dir)...)
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.err, "holds 500 finished and 500 waiting sagas")
}

// benchFigures reads a report of one run and checks what every run of 200 sagas has in common.
func benchFigures(t *testing.T, out string) bench.Figures {
	t.Helper()
	report := fromJSON[bench.Report](t, out)
	require.Len(t, report.Runs, 1)
	require.Empty(t, report.Runs[0].Wrong)
	f := report.Median
	require.Equal(t, report.Runs[0].Figures, f)
	require.Positive(t, f.SagasPerSecond)
	require.Positive(t, f.Commits)
	require.Greater(t, f.WALBytes, 1000.0)
	require.Positive(t, f.WALSyncs)
	require.InDelta(t, 1, f.Tables["saga"].Inserted, 1e-9)
	require.GreaterOrEqual(t, f.Tables["saga_history"].Inserted, 4.0)
	require.InDelta(t, 1, f.Tables["outbox"].Inserted, 1e-9)
	require.InDelta(t, 1, f.Tables["outbox"].Deleted, 1e-9)
	for _, name := range []string{"worker", "publisher", "postgres", "nats", "provider", "bench"} {
		require.Contains(t, f.CPU, name)
	}
	require.Positive(t, f.CPU["worker"])
	require.Positive(t, f.CPU["postgres"])
	for _, name := range []string{"worker-1", "publisher"} {
		require.Greater(t, f.PeakMemory[name], 10e6)
		require.Positive(t, f.StartMillis[name])
	}

	var text strings.Builder
	require.NoError(t, report.Write(&text))
	for line := range strings.Lines(text.String()) {
		require.LessOrEqual(t, utf8.RuneCountInString(line), 101, line)
	}
	return f
}

// TestBenchRefusesNonsense: before anything is started.
func TestBenchRefusesNonsense(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"bench --n 0", "bench --runs 0", "bench --rate -1", "bench --rate NaN", "bench --latency -1s", "bench --workers 5", "bench --in-flight 0",
		"bench --warm-up -1", "bench --quiet -1s", "bench --topups 2", "bench --preload -1", "bench --preload-waiting -1", "bench --env X", "bench more",
	} {
		r := runIn(t, nil, strings.Fields(line)...)
		require.Equal(t, exitUsage, r.code, "esimctl %s: %s", line, r.err)
		require.Empty(t, r.out, line)
	}
	r := runIn(t, nil, "bench", "process", "worker")
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.err, "is started by esimctl bench only")
}

// TestBenchWhoseWorkerCannotStart says what the worker has said.
func TestBenchWhoseWorkerCannotStart(t *testing.T) {
	t.Parallel()
	r := runIn(t, nil, "bench", "--n", "10", "--warm-up", "0", "--env", "LEASE_TTL=1ns")
	require.Equal(t, exitFailed, r.code)
	require.Empty(t, r.out)
	require.Contains(t, r.err, "worker-1 has ended")
	require.Contains(t, r.err, "LEASE_TTL")
}

// TestBenchLeavesNothingBehind: one that is killed takes all its processes with it.
func TestBenchLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	require.NoError(t, err)
	dir := benchDir(t)
	cmd := exec.Command(program, "bench", "--n", "1000000", "--rate", "10", "--warm-up", "0", "--quiet", "0", "--data", dir)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var family []int
	require.Eventually(t, func() bool {
		family = descendants(cmd.Process.Pid)
		text, _ := os.ReadFile(filepath.Join(dir, "bench-logs", "publisher.log"))
		return len(family) > 8 || len(text) > 0 // Postgres has several
	}, 60*time.Second, 50*time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Eventually(t, func() bool {
		for _, pid := range family {
			if syscall.Kill(pid, 0) == nil && !isZombie(pid) {
				return false
			}
		}
		return true
	}, 60*time.Second, 50*time.Millisecond)
}

// benchDir is a directory that Postgres's account can get to; t.TempDir() is not.
func benchDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "esimflow-bench-test-") //nolint:usetesting // see above
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// descendants lists a process's children, their children, and so on.
func descendants(pid int) []int {
	children, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	var all []int
	for _, path := range children {
		text, _ := os.ReadFile(path)
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(append(all, child), descendants(child)...)
			}
		}
	}
	return all
}

// isZombie: a process that has ended stays in the table until whoever has adopted it asks.
func isZombie(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(rest, "Z")
}
