package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	env := map[string]string{"ESIMFLOW_URL": "http://127.0.0.1:1"} // nobody is asked
	for _, line := range []string{
		"", "nothing", "saga", "saga nothing", "saga list more", "saga list --nothing", "saga list --state lost",
		"saga list --kind esim", "saga list --iccid 12", "saga list --limit 0", "saga list --order-id -1",
		"saga show", "saga show a b", "saga adopt a --reason x", "saga adopt a --order x --reason x", "saga discard a",
		"dlq list --status gone", "dlq list --older -1h", "dlq list --limit 10001", "dlq show not-an-id",
		"dlq replay --reason x", "dlq replay --dry-run", "dlq replay not-an-id --reason x", "dlq replay --code 11 --rate 0 --reason x",
		"dlq replay --code 11 --wait --timeout 0s --reason x", "dlq discard x --reason x", "completion",
		"dlq list --group --limit 3", "dlq resubmit x --reason x", "dlq edit x", "replay", "replay show", "replay show x", "replay abort x --reason x",
		"sim --chaos-rate 2", "sim --latency -1s", "sim --client-id=", "sim --balance NaN",
		"saga list --url not-a-url",
	} {
		r := runIn(t, env, strings.Fields(line)...)
		require.Equal(t, exitUsage, r.code, "esimctl %s: %s", line, r.err)
		require.Empty(t, r.out, line)
		require.True(t, strings.HasPrefix(r.err, "esimctl: "), r.err)
	}
}

func TestWorkerThatIsNotThere(t *testing.T) {
	t.Parallel()
	r := runIn(t, map[string]string{"ESIMFLOW_URL": "http://127.0.0.1:1"}, "saga", "list")
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.err, "http://127.0.0.1:1")
	require.Contains(t, r.err, "ESIMFLOW_URL")
}

// TestSomethingElseAnswers: the token is for the worker alone, so a redirect is not
// followed.
func TestSomethingElseAnswers(t *testing.T) {
	t.Parallel()
	var asked int
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	t.Cleanup(other.Close)
	for name, handler := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		},
		"a 404":   http.NotFound,
		"a page":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"a proxy": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
	} {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		r := runIn(t, map[string]string{"ESIMFLOW_URL": server.URL, "OPS_TOKEN": "secret"}, "saga", "list")
		require.Equal(t, exitFailed, r.code, name)
		require.Contains(t, r.err, "as a worker's API does", name)
	}
	require.Zero(t, asked)
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	var out, errOut logBuffer
	code := run(ctx, []string{"saga", "list"}, lookupIn(map[string]string{"ESIMFLOW_URL": server.URL}), strings.NewReader(""), &out, &errOut)
	require.Equal(t, exitFailed, code)
	require.Contains(t, errOut.String(), "interrupted")
}

// Ctrl-C is said as that, and not as what came of it deep inside: here while a bench starts, and while a key is looked for in a
// database that does not answer.
func TestInterruptedInside(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	env := map[string]string{"DATABASE_URL": "postgres://u@" + silent.Addr().String() + "/x?sslmode=disable"}
	for _, line := range []string{"bench --n 10", "migrate status", "keys status", "restore begin --copied-at 2026-11-22T14:30:00Z --reason x --actor me"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("interrupt signal received")) // as os/signal says it
		var out, errOut logBuffer
		require.Equal(t, exitFailed, run(ctx, strings.Fields(line), lookupIn(env), strings.NewReader(""), &out, &errOut), line)
		require.True(t, strings.HasSuffix(errOut.String(), "esimctl: interrupted\n"), "%s: %s", line, &errOut)
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	t.Parallel()
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		require.NotEmpty(t, cmd.Short, cmd.CommandPath())
		require.NotRegexp(t, `\.$`, cmd.Short)
		if cmd.Runnable() {
			require.NotNil(t, cmd.RunE, "%s cannot say that it failed", cmd.CommandPath())
		}
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		r := runIn(t, nil, args...)
		require.Equal(t, exitOK, r.code, cmd.CommandPath())
		require.Contains(t, r.out, "Usage:")
		for line := range strings.Lines(r.out) {
			require.LessOrEqual(t, utf8.RuneCountInString(line), tableWidth+1, line)
		}
		require.Empty(t, r.err)
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	root := newRootCommand(&cli{getenv: lookupIn(nil)})
	visit(root)
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"saga list --state":            "dead_lettered",
		"saga list --kind":             "topup",
		"dlq list --class":             "insufficient_credit",
		"dlq list --status":            "confirmed_absent",
		"dlq replay --code 11 --class": "recycled",
	} {
		args := append([]string{"__complete"}, append(strings.Fields(line), "")...)
		require.Contains(t, strings.Split(runIn(t, nil, args...).out, "\n"), want, line)
	}
	require.Contains(t, runIn(t, nil, "completion", "bash").out, "esimctl")
}

func TestTablesFit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("words that go on ", 20)
	tab := table{head: []string{"ID", "REQUEST", "WHY"}, cut: 1}
	tab.add(strings.Repeat("i", 36), strings.Repeat("r", 128), long)
	tab.add("i", "evil\x1b[31m\nname", "short")
	var b strings.Builder
	require.NoError(t, tab.write(&b))
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSuffix(line, "\n")
		require.LessOrEqual(t, utf8.RuneCountInString(line), tableWidth, line)
		require.Equal(t, strings.TrimRight(line, " "), line)
	}
	require.NotContains(t, b.String(), "\x1b")
	require.Equal(t, strings.Fields(long), strings.Fields(strings.Join(strings.Fields(wrapped(b.String())), " ")), "nothing is lost")
}

// wrapped is the last column of TestTablesFit's first row.
func wrapped(text string) string {
	var parts []string
	for _, line := range strings.Split(text, "\n")[1:] {
		if strings.HasPrefix(line, "i ") {
			break
		}
		fields := strings.Fields(line)
		if strings.HasPrefix(line, "iii") {
			fields = fields[2:]
		}
		parts = append(parts, fields...)
	}
	return strings.Join(parts, " ")
}

func TestAge(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 5 * time.Second: "5s", 90 * time.Second: "1m", 3*time.Hour + 5*time.Minute: "3h", 75 * time.Hour: "3d",
	} {
		require.Equal(t, want, age(time.Now().Add(-d)))
	}
}
