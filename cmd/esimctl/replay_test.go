package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"esimflow/internal/deadletter"
	"esimflow/internal/ops"
	"esimflow/internal/saga"
)

// fakeWorker has n letters and starts replays, as the API does; each time it is asked how
// one goes on, it shows the next of reports, and after the last one it fails.
type fakeWorker struct {
	mu      sync.Mutex
	started []deadletter.NewReplay
	asked   int
}

func newFakeWorker(t *testing.T, n int, reports ...deadletter.ReplayReport) (env map[string]string, f *fakeWorker) {
	t.Helper()
	f = &fakeWorker{}
	preview := deadletter.Preview{Letters: n, Willing: n}
	for range n {
		id := uuid.New()
		preview.Set = append(preview.Set, deadletter.PreviewLetter{Result: deadletter.Result{ID: id, SagaID: &id, To: "pending"}})
	}
	job := deadletter.Replay{ID: uuid.New(), State: deadletter.Running, Letters: n, Rate: 50}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		switch {
		case strings.HasSuffix(r.URL.Path, "/preview"):
			_ = json.NewEncoder(w).Encode(preview)
		case r.Method == http.MethodPost:
			var in deadletter.NewReplay
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				t.Error(err)
			}
			f.started = append(f.started, in)
			_ = json.NewEncoder(w).Encode(job)
		case f.asked < len(reports):
			_ = json.NewEncoder(w).Encode(reports[f.asked])
			f.asked++
		default:
			w.WriteHeader(http.StatusInternalServerError)
			_ = json.NewEncoder(w).Encode(ops.Problem{Kind: "failed", Error: "the database is away"})
		}
	}))
	t.Cleanup(server.Close)
	return map[string]string{"ESIMFLOW_URL": server.URL}, f
}

// A replay is started at a worker, whose the rest is; its id is what is printed.
func TestReplayIsStarted(t *testing.T) {
	t.Parallel()
	env, f := newFakeWorker(t, 3)
	r := runIn(t, env, "dlq", "replay", "--code", "11", "--reason", "x", "--yes", "--rate", "0.5")
	require.Equal(t, exitOK, r.code, r.err)
	require.NoError(t, uuid.Validate(strings.TrimSpace(r.out)))
	require.Contains(t, r.err, "esimctl replay show ")
	require.Len(t, f.started, 1)
	require.InDelta(t, 0.5, f.started[0].Rate, 0)
	require.Zero(t, f.started[0].Expect, "whoever says yes beforehand has seen no number")
}

// The number that is typed is the number that is replayed, or nothing is.
func TestReplayAsksBeforehand(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]int{"y\n": exitRefused, "101\n": exitOK} {
		env, f := newFakeWorker(t, 101)
		var out, errOut logBuffer
		c := &cli{getenv: lookupIn(env), in: strings.NewReader(answer), out: &out, err: &errOut, interactive: true}
		require.Equal(t, want, c.run(t.Context(), []string{"dlq", "replay", "--code", "11", "--reason", "x"}), answer)
		require.Contains(t, errOut.String(), "Replay 101 dead letters? Type 101: ")
		require.Equal(t, want == exitOK, len(f.started) > 0)
		if want == exitOK {
			require.Equal(t, 101, f.started[0].Expect)
		}
	}
}

// A dry run prints the exact set and starts nothing.
func TestReplayDryRun(t *testing.T) {
	t.Parallel()
	env, f := newFakeWorker(t, 3)
	r := runIn(t, env, "dlq", "replay", "--code", "11", "--dry-run")
	require.Equal(t, exitOK, r.code)
	require.Equal(t, 3, strings.Count(r.out, "→ pending"))
	require.Contains(t, r.err, "3 dead letters would be replayed, 0 refused.")
	require.Empty(t, f.started)
}

// Whoever waits is told nothing in between but on a terminal. When the worker is lost sight
// of, what to do about it is said.
func TestReplayIsFollowed(t *testing.T) {
	t.Parallel()
	running := deadletter.ReplayReport{Replay: deadletter.Replay{State: deadletter.Running, Letters: 2, Done: 1, Note: "waiting for x"}, Ends: deadletter.Ends{UnderWay: 1}}
	last := deadletter.ReplayReport{Replay: deadletter.Replay{State: deadletter.Done, Letters: 2, Done: 2}, Ends: deadletter.Ends{Completed: 2}}
	env, _ := newFakeWorker(t, 2, running, last, last)
	r := runIn(t, env, "dlq", "replay", "--code", "11", "--reason", "x", "--yes", "--wait")
	require.Equal(t, exitOK, r.code, r.err)
	require.NotContains(t, r.err, "had their turn", "a bar is for terminals")

	env, _ = newFakeWorker(t, 2, running)
	r = runIn(t, env, "dlq", "replay", "--code", "11", "--reason", "x", "--yes", "--wait")
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.err, "The replay goes on in a worker")
}

// How a replay has ended is an exit code.
func TestReplayExitCodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want int
		deadletter.ReplayReport
	}{
		"all completed":      {exitOK, deadletter.ReplayReport{Replay: deadletter.Replay{State: deadletter.Done, Letters: 2, Done: 2}, Ends: deadletter.Ends{Completed: 1, Published: 1}}},
		"none replayed":      {exitRefused, deadletter.ReplayReport{Replay: deadletter.Replay{State: deadletter.Done, Letters: 2, Skipped: 2}}},
		"some skipped":       {exitPartly, deadletter.ReplayReport{Replay: deadletter.Replay{State: deadletter.Aborted, Letters: 2, Done: 1, Skipped: 1}, Ends: deadletter.Ends{Completed: 1}}},
		"some stopped again": {exitPartly, deadletter.ReplayReport{Replay: deadletter.Replay{State: deadletter.Done, Letters: 2, Done: 2}, Ends: deadletter.Ends{Completed: 1, Stopped: 1}}},
		"all stopped again":  {exitFailed, deadletter.ReplayReport{Replay: deadletter.Replay{State: deadletter.Done, Letters: 2, Done: 2}, Ends: deadletter.Ends{Stopped: 2}}},
		"not over":           {exitFailed, deadletter.ReplayReport{Replay: deadletter.Replay{State: deadletter.Running, Letters: 2, Done: 2}, Ends: deadletter.Ends{Completed: 2}}},
		"sagas under way":    {exitFailed, deadletter.ReplayReport{Replay: deadletter.Replay{State: deadletter.Done, Letters: 2, Done: 2}, Ends: deadletter.Ends{UnderWay: 2}}},
	} {
		require.Equal(t, c.want, codeOf(replayEnd(c.ReplayReport, time.Second)), name)
	}
}

// What became of a letter is said in a few words.
func TestFateOf(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	for want, l := range map[string]deadletter.ReplayLetter{
		"waiting":                                {State: deadletter.Waiting},
		"refused: it was discarded":              {State: deadletter.Refused, Why: "it was discarded"},
		"→ pending … completed":                  {State: deadletter.Released, SagaID: &id, MovedTo: "pending", Saga: saga.Completed},
		"→ esim.request.order, as a new request": {State: deadletter.Released, MovedTo: "esim.request.order"},
		"→ pending … dead_lettered again, with code 11": {
			State: deadletter.Released, SagaID: &id, MovedTo: "pending", Saga: saga.DeadLettered, Again: "11",
		},
	} {
		require.Equal(t, want, fateOf(l))
	}
}

// Whatever is in them, the tables fit the terminal.
func TestReplayTablesFit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long words ", 30)
	job := deadletter.Replay{
		ID: uuid.New(), State: deadletter.Aborted, Letters: 50_000, Done: 49_999, CreatedAt: time.Now().Add(-1000 * time.Hour),
		By: deadletter.By{Actor: long, Reason: long}, Note: long,
	}
	report := deadletter.ReplayReport{Replay: job, Set: []deadletter.ReplayLetter{
		{Letter: uuid.New(), RequestID: strings.Repeat("x", 128), Code: saga.CodeRetriesExhausted, State: deadletter.Skipped, Why: long},
	}}
	var out bytes.Buffer
	require.NoError(t, writeReplays(&out, []deadletter.Replay{job}))
	require.NoError(t, writeReplayReport(&out, report))
	require.NoError(t, writeReplayed(&out, report))
	for line := range strings.Lines(out.String()) {
		require.LessOrEqual(t, utf8.RuneCountInString(line), tableWidth+1, line)
	}
}
