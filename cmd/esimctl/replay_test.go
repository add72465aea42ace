package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"esimflow/internal/deadletter"
	"esimflow/internal/ops"
)

// fakeWorker answers replays as the API does: of n letters, each call replays those it is
// asked for, and after calls calls there are only failures.
func fakeWorker(t *testing.T, n, calls int) (env map[string]string, asked *[]int) {
	t.Helper()
	var all []deadletter.Result
	for range n {
		saga := uuid.New()
		all = append(all, deadletter.Result{ID: uuid.New(), SagaID: &saga, To: "pending"})
	}
	asked = new([]int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in ops.ReplayRequest
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		if in.DryRun {
			_ = json.NewEncoder(w).Encode(all)
			return
		}
		*asked = append(*asked, len(in.IDs))
		if len(*asked) > calls {
			w.WriteHeader(http.StatusInternalServerError)
			_ = json.NewEncoder(w).Encode(ops.Problem{Kind: "failed", Error: "the database is away"})
			return
		}
		var done []deadletter.Result
		for _, id := range in.IDs {
			done = append(done, deadletter.Result{ID: id, Done: true, To: "pending"})
		}
		_ = json.NewEncoder(w).Encode(done)
	}))
	t.Cleanup(server.Close)
	return map[string]string{"ESIMFLOW_URL": server.URL}, asked
}

func TestReplayThatFailsOnTheWay(t *testing.T) {
	t.Parallel()
	env, asked := fakeWorker(t, 120, 2)
	r := runIn(t, env, "dlq", "replay", "--code", "11", "--reason", "x", "--yes", "--json")
	require.Equal(t, exitPartly, r.code)
	require.Equal(t, []int{50, 50, 20}, *asked)
	require.Len(t, fromJSON[[]replayedLetter](t, r.out), 100)
	require.Contains(t, r.err, "100 replayed, 0 refused, and then: the database is away")

	env, _ = fakeWorker(t, 3, 0)
	require.Equal(t, exitFailed, runIn(t, env, "dlq", "replay", "--code", "11", "--reason", "x", "--yes").code)
}

func TestReplayAtARate(t *testing.T) {
	t.Parallel()
	env, asked := fakeWorker(t, 3, 3)
	r := runIn(t, env, "dlq", "replay", "--code", "11", "--reason", "x", "--yes", "--rate", "200")
	require.Equal(t, exitOK, r.code, r.err)
	require.Equal(t, []int{1, 1, 1}, *asked)
}

func TestReplayAsksBeforehand(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]int{"y\n": exitFailed, "101\n": exitOK} {
		env, asked := fakeWorker(t, 101, 3)
		var out, errOut logBuffer
		c := &cli{getenv: lookupIn(env), in: strings.NewReader(answer), out: &out, err: &errOut, interactive: true}
		require.Equal(t, want, c.run(t.Context(), []string{"dlq", "replay", "--code", "11", "--reason", "x"}), answer)
		require.Contains(t, errOut.String(), "Replay 101 dead letters? Type 101: ")
		require.Equal(t, want == exitOK, len(*asked) > 0)
	}
}
