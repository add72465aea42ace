package main

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/ops"
	"esimflow/internal/pressone"
	"esimflow/internal/pressonesim"
	"esimflow/internal/saga"
)

// An operator finds that top-ups go wrong. She pauses them: orders go on, top-ups are taken in and wait. A colleague who
// pauses them too is told who was first. She resumes, and what has waited is bought, once. Everything is on record.
func TestPauseOfAKind(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	iccid := pressonesim.DefaultICCIDs()[0]
	paused := okJSON[ops.GateView](s, "pause", "--kind", "topup", "--reason", "wrong prices")
	require.Len(t, paused.Pauses, 1)
	require.Equal(t, pressone.Target{Kind: message.Topup}, paused.Pauses[0].Target)
	require.Equal(t, "maria", paused.Pauses[0].Actor)
	require.WithinDuration(t, time.Now(), paused.Pauses[0].Since, time.Minute)
	refused := s.exits(exitRefused, "pause", "--kind", "topup", "--reason", "me too", "--actor", "joe")
	require.Contains(t, refused.err, "by maria since")
	require.Contains(t, refused.err, "wrong prices")

	s.ok("topup", "submit", "--iccid", iccid, "--package", aTopup, "--request-id", "waits")
	s.ok("order", "submit", "--package", aPackage, "--request-id", "goes-on", "--wait")
	waiting := s.awaitState("waits", saga.Pending)
	require.Zero(t, waiting.Attempts)
	shown := s.ok("gate", "show")
	require.Contains(t, shown, "wrong prices")
	require.Regexp(t, `topup +1\n`, shown)

	require.Contains(t, s.exits(exitUsage, "resume", "--kind", "topup", "--reason", "fixed").err, "--yes")
	require.Contains(t, s.exits(exitRefused, "resume", "--kind", "order", "--reason", "fixed", "--yes").err, "kind order is not paused")
	require.Contains(t, s.exits(exitOK, "resume", "--kind", "topup", "--reason", "fixed", "--yes").err, "kind topup is resumed")
	s.awaitState("waits", saga.Completed)
	require.Equal(t, 2, s.sim.SoldCount())

	trail := okJSON[[]pressone.Trail](s, "gate", "trail")
	require.Len(t, trail, 2)
	require.Equal(t, "resume", trail[0].Action)
	require.Equal(t, "fixed", trail[0].Reason)
	require.Equal(t, "pause", trail[1].Action)
	require.Equal(t, "maria", trail[1].Actor)
	require.Contains(t, s.ok("gate", "trail", "--limit", "1"), "kind topup")
}

// An operator closes every lane in turn. With the writing lane closed nothing is submitted and nothing is lost; and the
// gate's tables fit a terminal whatever she writes.
func TestPauseOfALane(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	require.Contains(t, s.exits(exitOK, "gate", "trail").err, "Nobody")
	for _, lane := range pressone.Lanes() {
		s.ok("pause", "--lane", string(lane), "--reason", strings.Repeat("why not ", 30))
	}
	for line := range strings.Lines(s.ok("gate", "show")) {
		require.LessOrEqual(t, utf8.RuneCountInString(line), tableWidth+1, line)
	}
	s.ok("order", "submit", "--package", aPackage, "--request-id", "waits")
	s.awaitState("waits", saga.Pending)
	view := okJSON[ops.GateView](s, "gate", "show")
	require.Len(t, view.Lanes, 3)
	for _, l := range view.Lanes {
		require.False(t, l.Open)
		require.Equal(t, "paused", l.Reason)
		require.Nil(t, l.Until)
	}
	require.Zero(t, s.sim.SoldCount())
	for _, lane := range pressone.Lanes() {
		s.ok("resume", "--lane", string(lane), "--reason", "all is well", "--yes")
	}
	s.awaitState("waits", saga.Completed)
}

// Resuming buys what has waited, so whoever sits at a terminal is asked, and told how much that is.
func TestResumeAsks(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	s.ok("pause", "--kind", "order", "--reason", "stop")
	s.ok("order", "submit", "--package", aPackage, "--request-id", "waits")
	require.Eventually(t, func() bool { // a worker may hold it for a moment yet
		return slices.Equal(okJSON[ops.GateView](s, "gate", "show").Waiting, []saga.Waiting{{Kind: message.Order, Count: 1}})
	}, 60*time.Second, 20*time.Millisecond)
	for answer, code := range map[string]int{"n\n": exitRefused, "": exitRefused, "\n": exitRefused} {
		var out, errOut logBuffer
		c := &cli{getenv: lookupIn(s.env), in: strings.NewReader(answer), out: &out, err: &errOut, interactive: true}
		require.Equal(t, code, c.run(t.Context(), []string{"resume", "--kind", "order", "--reason", "go"}))
		require.Contains(t, errOut.String(), "Waiting, of kind order: 1.\n")
		require.Contains(t, errOut.String(), "nothing was resumed")
	}
	var out, errOut logBuffer
	c := &cli{getenv: lookupIn(s.env), in: strings.NewReader("y\n"), out: &out, err: &errOut, interactive: true}
	require.Equal(t, exitOK, c.run(t.Context(), []string{"resume", "--kind", "order", "--reason", "go"}), errOut.String())
	s.awaitState("waits", saga.Completed)
}

// What cannot be paused is said before anybody is asked.
func TestPauseUsage(t *testing.T) {
	t.Parallel()
	env := map[string]string{"ESIMFLOW_URL": "http://127.0.0.1:1"} // nobody is asked
	for _, line := range []string{
		"pause --reason x", "pause --lane up --reason x", "pause --kind esim --reason x", "pause --lane read --kind order --reason x",
		"pause --lane read", "pause read --reason x", "resume --reason x --yes", "resume --kind order --reason x", "gate", "gate show x", "gate trail --limit 0",
	} {
		r := runIn(t, env, strings.Fields(line)...)
		require.Equal(t, exitUsage, r.code, "esimctl %s: %s", line, r.err)
		require.Empty(t, r.out, line)
	}
}
