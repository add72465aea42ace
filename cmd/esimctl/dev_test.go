package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
	"esimflow/internal/saga"
)

// Somebody tries esimflow for the first time, on a machine where another program has port 8080. When the samples have ended,
// the last thing on the screen is where the console is and what to type in another terminal, which works as it stands. Ctrl-C
// is how it ends: that is no failure, and nothing is left.
func TestDev(t *testing.T) {
	t.Parallel()
	if taken, err := net.Listen("tcp", "127.0.0.1:8080"); err == nil {
		t.Cleanup(func() { _ = taken.Close() })
	}
	var out, talk logBuffer
	ctx, interrupt := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"dev"}, lookupIn(nil), strings.NewReader(""), &out, &talk) }()
	ended := func() bool { return strings.Contains(talk.String(), "Ctrl-C ends it") }
	require.Eventually(t, func() bool { return ended() || len(code) > 0 }, patience+time.Minute, 50*time.Millisecond)
	require.True(t, ended(), "%s\n%s", &talk, &out)
	require.Contains(t, out.String(), "everything ended as it should, and nothing was bought twice")

	_, last, _ := strings.Cut(talk.String(), "Running on")
	console := regexp.MustCompile(`http://127\.0\.0\.1:\d+/`).FindString(last)
	require.NotEmpty(t, console, last)
	page, err := http.Get(console)
	require.NoError(t, err)
	body, err := io.ReadAll(page.Body)
	require.NoError(t, err)
	require.NoError(t, page.Body.Close())
	require.Contains(t, string(body), "esimflow")
	lines := regexp.MustCompile(`(?m)^  \S+(?: run \./cmd/esimctl)? (--url .*?)(?:   .*)?$`).FindAllStringSubmatch(last, -1)
	require.Len(t, lines, 3, last)
	for _, line := range lines {
		r := runIn(t, nil, strings.Fields(line[1])...)
		require.Equal(t, exitOK, r.code, "%s: %s", line[1], r.err)
		require.NotEmpty(t, r.out, line[1])
	}

	dir := regexp.MustCompile(`data +(\S+) `).FindStringSubmatch(talk.String())[1]
	require.DirExists(t, dir)
	interrupt()
	require.Equal(t, exitOK, <-code, talk.String())
	require.True(t, strings.HasSuffix(talk.String(), "Stopped; nothing is left of it.\n"), talk.String())
	require.NoDirExists(t, dir)
}

// While the samples run, no line is wider than the terminal and there are no more lines than it has: what wraps or scrolls
// cannot be drawn over. It is drawn here at the worst moment, with sagas in every state, on 80 columns by 24 lines.
func TestTheTableFitsTheTerminal(t *testing.T) {
	t.Parallel()
	sim, err := pressonesim.Start(pressonesim.Config{})
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	tty, shown := terminal(t)
	traffic := newTraffic(&dev{cli: &cli{out: tty}, sim: sim}, samples("0102-150405-"))
	traffic.started = time.Now()
	for i, s := range traffic.samples {
		traffic.sagas[string(s.kind)+" "+s.id] = saga.Summary{Kind: message.Order, State: saga.States()[i%len(saga.States())], Attempts: 12}
	}
	v := newView(traffic)
	v.draw()
	first := v.drawn
	v.draw()
	v.close()
	require.Positive(t, first)
	require.Less(t, first, 24)
	escapes := regexp.MustCompile(`\x1b\[\d*[A-Z]`)
	for line := range strings.Lines(shown()) {
		line = strings.TrimRight(escapes.ReplaceAllString(line, ""), "\r\n")
		require.Less(t, utf8.RuneCountInString(line), 80, line)
	}
}

// Somebody keeps the state of dev, ends it and starts it again at once. Postgres remembers the orders of before and the
// simulator does not, so it must not sell one under an id that it has sold before: the saga would be another's.
func TestDevNeverSellsAnOrderIDTwice(t *testing.T) {
	t.Parallel()
	var last int64
	for range 2 {
		d := &dev{cli: &cli{}}
		require.NoError(t, d.simulate(false))
		t.Cleanup(d.sim.Close)
		s := &stack{t: t, env: map[string]string{"PRESSONE_BASE_URL": d.sim.URL()}}
		for range 20 {
			id := buyByHand(s, "x").ID
			require.Greater(t, id, last)
			last = id
		}
	}
}
