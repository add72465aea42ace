package saga

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// journey is a saga whose answer was lost, whose look-ups did not settle it, and that an
// operator then gave its order.
func journey() []Entry {
	start := time.Date(2026, 11, 22, 15, 4, 5, 123_000_000, time.UTC)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	return []Entry{
		{Version: 1, At: start, Event: Accepted, To: Pending, DueAt: start},
		{Version: 2, At: at(12 * time.Millisecond), Event: SubmitStarted, From: Pending, To: Submitting, Attempt: 1},
		{
			Version: 3, At: at(1340 * time.Millisecond), Event: OutcomeUnknown, From: Submitting, To: Unknown, Attempt: 1,
			Code: "http_502", Seen: "HTTP 502 that is not PressOne's own: the request may still be running behind whatever answered in its place",
			DueAt: at(31340 * time.Millisecond),
		},
		{
			Version: 4, At: at(31400 * time.Millisecond), Event: LookupFailed, From: Unknown, To: Unknown, Attempt: 1,
			Code: "4033", Seen: "service\r\nunavailable\x1b[2J", DueAt: at(32150 * time.Millisecond),
		},
		{
			Version: 5, At: at(24*time.Hour + 312*time.Millisecond), Event: GaveUp, From: Unknown, To: DeadLettered, Attempt: 1,
			Code: CodeOutcomeUnknown, Seen: "SAGA_DEADLINE has passed",
		},
		{
			Version: 6, At: at(24*time.Hour + 90*time.Second), Event: Adopted, From: DeadLettered, To: Polling, Attempt: 1,
			Seen: "order 9666 (20261122-009666)", Actor: "maria", Reason: "found it in their console\nticket 4711", DueAt: at(24*time.Hour + 90*time.Second),
		},
		{Version: 7, At: at(24*time.Hour + 91*time.Second), Event: Ready, From: Polling, To: Notifying, Attempt: 1, Seen: "1 of 1 eSIMs can be installed"},
		{Version: 8, At: at(24*time.Hour + 92*time.Second), Event: Announced, From: Notifying, To: Completed, Attempt: 1},
	}
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	for name, times := range map[string]bool{"timeline.golden": false, "timeline_times.golden": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got bytes.Buffer
			WriteTimeline(&got, journey(), times)
			golden(t, filepath.Join("testdata", name), got.String())
		})
	}
}

func TestTimelineWithoutTimesDoesNotDependOnTheClock(t *testing.T) {
	t.Parallel()
	later := journey()
	for i := range later {
		later[i].At = later[i].At.Add(time.Duration(i) * time.Hour)
		later[i].DueAt = time.Time{}
	}
	var then, now bytes.Buffer
	WriteTimeline(&then, journey(), false)
	WriteTimeline(&now, later, false)
	require.Equal(t, then.String(), now.String())
}

func TestTimelineFitsATerminal(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	WriteTimeline(&got, journey(), false)
	require.NotContains(t, got.String(), "\x1b")
	for line := range strings.Lines(got.String()) {
		line = strings.TrimSuffix(line, "\n")
		require.LessOrEqual(t, utf8.RuneCountInString(line), 100, line)
		require.Equal(t, strings.TrimRight(line, " "), line)
	}
}

func TestTimelineOfNothingIsItsHead(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	WriteTimeline(&got, nil, true)
	require.Equal(t, "time  attempt  event  state  code  seen\n", got.String())
}
