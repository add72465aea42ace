package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An operator at a terminal is asked before letters are replayed: a few by y, more than a hundred by their number. With --yes
// nobody is asked, and where nobody sits nothing is done.
func TestConfirm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n      int
		answer string
		yes    bool
	}{
		{1, "y\n", true},
		{100, "YES\n", true},
		{100, "\n", false},
		{100, "n\n", false},
		{100, "", false},
		{101, "y\n", false},
		{101, "100\n", false},
		{101, "101\n", true},
	} {
		var errOut logBuffer
		err := (&cli{in: strings.NewReader(c.answer), err: &errOut, interactive: true}).confirmReplay(t.Context(), false, c.n, 0)
		require.Equal(t, c.yes, err == nil, "%d %q", c.n, c.answer)
		require.Contains(t, errOut.String(), strconv.Itoa(c.n))
		if !c.yes {
			require.Equal(t, exitRefused, codeOf(err), "%d %q", c.n, c.answer)
		}
	}
	require.NoError(t, (&cli{}).confirmReplay(t.Context(), true, 1000, 0), "--yes asks nobody")
	require.Equal(t, exitUsage, codeOf((&cli{}).confirmReplay(t.Context(), false, 1, 0)), "nobody is there to be asked")
}

// Every question can be left with Ctrl-C, which is said below the question and not behind it, and then nothing was done: the
// terminal is still being read, nobody has pressed Enter, and the worker was asked for nothing.
func TestQuestionsAreLeftWithCtrlC(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/api/v1/replays/preview":
			_, _ = io.WriteString(w, `{"letters":1,"willing":1}`)
		case r.Method == http.MethodGet:
			_, _ = io.WriteString(w, `{}`)
		default:
			t.Errorf("%s was done", r.URL.Path)
		}
	}))
	t.Cleanup(server.Close)
	for line, want := range map[string]string{
		"dlq replay --code 11 --reason x":                                      "nothing was replayed",
		"dlq resubmit 0069f2ce-32c2-5806-8f58-d40a9920d94e --reason x --force": "nothing was published",
		"resume --kind order --reason x":                                       "nothing was resumed",
		"privacy erase ord-1 --reason x":                                       "nothing was erased",
		"restore redeliver --reason x":                                         "nothing is delivered again",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		terminal, keys := io.Pipe()
		t.Cleanup(func() { _ = keys.Close() })
		asked := &watched{questions: []string{"] ", ": "}, then: cancel}
		c := &cli{getenv: lookupIn(map[string]string{"ESIMFLOW_URL": server.URL}), in: terminal, out: io.Discard, err: asked, interactive: true}
		require.Equal(t, exitFailed, c.run(ctx, strings.Fields(line)), "%s: %s", line, asked)
		require.Contains(t, asked.String(), "\nesimctl: interrupted: "+want, line)
		cancel()
	}
}

// watched is a buffer that says when a question was written to it.
type watched struct {
	logBuffer

	questions []string // how they end
	then      func()
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.logBuffer.Write(p)
	if slices.ContainsFunc(w.questions, func(q string) bool { return strings.HasSuffix(w.String(), q) }) {
		w.then()
	}
	return n, err
}

// What is asked for without a reason is refused before anybody has to answer a question.
func TestReasonsComeBeforeQuestions(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"privacy erase ord-1", "dlq replay --code 11", "resume --kind order", "restore redeliver"} {
		var errOut logBuffer
		c := &cli{getenv: lookupIn(map[string]string{"ESIMFLOW_URL": "http://127.0.0.1:1"}), in: strings.NewReader(""), out: io.Discard, err: &errOut, interactive: true}
		require.Equal(t, exitUsage, c.run(t.Context(), strings.Fields(line)), line)
		require.Contains(t, errOut.String(), "--reason is missing", line)
	}
}
