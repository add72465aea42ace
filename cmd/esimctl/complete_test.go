package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"esimflow/internal/deadletter"
	"esimflow/internal/saga"
)

// offered is what a shell is offered after a line that is being typed, once there is an answer in time for whoever
// has pressed Tab.
func offered(s *stack, line string) (words []string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		words = offeredAtOnce(s, line)
		return len(words) > 0
	}, 60*time.Second, 10*time.Millisecond, line)
	return words
}

func offeredAtOnce(s *stack, line string) []string {
	s.t.Helper()
	r := s.exits(exitOK, append([]string{"__complete"}, append(strings.Fields(line), "")...)...)
	var words []string
	for row := range strings.Lines(r.out) {
		if word, _, _ := strings.Cut(strings.TrimSuffix(row, "\n"), "\t"); !strings.HasPrefix(word, ":") {
			words = append(words, word)
		}
	}
	return words
}

// Whoever presses Tab is offered what the worker has: codes, requests, letters, replays,
// audits, findings; nothing that a shell would take apart, and nothing twice. Of a worker
// that is not there nothing is said at all.
func TestCompletionKnowsWhatIsThere(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	s.ok("order", "submit", "--package", aPackage, "--request-id", "plain-1", "--wait")
	s.ok("order", "submit", "--package", aPackage, "--request-id", "two words; rm", "--wait")
	broke(s, "broke-1", "broke-2")
	require.Equal(t, []string{"broke-2", "broke-1", "plain-1"}, offered(s, "saga show"))
	require.Empty(t, offeredAtOnce(s, "saga show plain-1"), "it takes one")
	require.ElementsMatch(t, []string{"broke-1", "broke-2"}, offered(s, "saga adopt"))
	require.Equal(t, []string{"11"}, offered(s, "dlq replay --code"))

	var letters []string
	all := okJSON[[]deadletter.Letter](s, "dlq", "list")
	for _, l := range all {
		letters = append(letters, l.ID.String())
	}
	require.ElementsMatch(t, letters, offered(s, "dlq show"))
	require.ElementsMatch(t, letters, offered(s, "saga discard broke-1 --letter"))
	require.Equal(t, letters[1:], offered(s, "dlq replay "+letters[0]), "it is named already")

	job := strings.TrimSpace(s.ok("dlq", "replay", letters[0], "--reason", "x", "--yes"))
	require.Equal(t, []string{job}, offered(s, "replay show"))
	require.Equal(t, []string{job}, offered(s, "replay abort"))
	s.awaitState(all[0].RequestID, saga.Completed)

	buyByHand(s, "for the fair")
	s.exits(exitFailed, "audit")
	require.Len(t, offered(s, "audit show"), 1)
	findings := offered(s, "audit dismiss")
	require.Len(t, findings, 1)
	require.NoError(t, uuid.Validate(findings[0]))

	away := runIn(t, s.with("ESIMFLOW_URL", "http://127.0.0.1:1"), "__complete", "saga", "show", "")
	require.Equal(t, ":4\n", away.out)
	require.NotContains(t, away.err, "esimctl: ")
}

// A shell that has bash and nothing else completes, too: what others install beside it is not there on every server.
func TestBashAloneCompletes(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	bin := t.TempDir()
	require.NoError(t, os.Symlink(self, filepath.Join(bin, "esimctl"))) // see TestMain
	for line, want := range map[string]string{
		"esimctl dlq list --class insuff":    "insufficient_credit",
		"esimctl saga list --kind=":          "topup",
		"esimctl saga confirm-":              "confirm-absent",
		`esimctl pause --reason "x" --lane `: "write",
	} {
		cmd := exec.CommandContext(t.Context(), "bash", "--norc", "--noprofile", "-c", `
			source <(esimctl completion bash)
			COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMP_KEY=9
			read -ra COMP_WORDS <<<"$1"; [[ $1 == *" " ]] && COMP_WORDS+=("")
			COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
			__start_esimctl
			printf '%s\n' "${COMPREPLY[@]}"`, "bash", line)
		cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+pathOf(os.Environ()))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), want, line)
		require.NotContains(t, string(out), "not found", line)
	}
}
