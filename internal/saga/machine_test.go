package saga

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite golden files")

// golden compares got with a file, or rewrites it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "run go test ./internal/saga -update if that is right")
}

func eventNames() []EventName {
	var all []EventName
	for _, r := range rules {
		if !slices.Contains(all, r.On) {
			all = append(all, r.On)
		}
	}
	return all
}

func TestTable(t *testing.T) {
	t.Run("lists nothing twice", func(t *testing.T) {
		seen := map[string]bool{}
		for _, r := range rules {
			key := fmt.Sprint(r.From, r.On, r.To)
			require.False(t, seen[key], "%v", r)
			seen[key] = true
		}
	})
	t.Run("reaches every state", func(t *testing.T) {
		reached := map[State]bool{}
		for _, r := range rules {
			reached[r.To] = true
		}
		for _, s := range States() {
			require.True(t, reached[s], s)
		}
	})
	t.Run("has a way out of exactly the states that somebody moves", func(t *testing.T) {
		for _, s := range States() {
			out := slices.ContainsFunc(rules, func(r Rule) bool { return r.From == s })
			require.Equal(t, s.Mover() != Nobody, out, s)
		}
	})
	t.Run("starts a submission only from pending or by acceptance", func(t *testing.T) {
		for _, r := range rules {
			if r.To == Submitting {
				require.Contains(t, []State{"", Pending}, r.From, "%v", r)
			}
		}
	})
	t.Run("makes every submission of unknown outcome unknown", func(t *testing.T) {
		for _, on := range []EventName{OutcomeUnknown, WorkerLost} {
			require.Equal(t, []State{Unknown}, targets(Submitting, on))
		}
	})
	t.Run("leads from unknown back to pending only by evidence", func(t *testing.T) {
		for _, r := range rules {
			if r.From == Unknown && r.To == Pending {
				require.Contains(t, []EventName{FoundFailed, ProvedAbsent}, r.On)
			}
		}
	})
	t.Run("never leads from what is bought back to pending", func(t *testing.T) {
		for _, r := range rules {
			if r.From == Polling || r.From == Notifying {
				require.NotContains(t, []State{Pending, Submitting, Unknown}, r.To, "%v", r)
			}
		}
	})
	t.Run("lets our own states give up", func(t *testing.T) {
		for _, s := range []State{Pending, Unknown, Polling} {
			require.NotEmpty(t, targets(s, GaveUp), s)
		}
	})
	t.Run("names the states that Postgres allows", func(t *testing.T) {
		sql, err := os.ReadFile("../../migrations/0001_create_saga.sql")
		require.NoError(t, err)
		check := regexp.MustCompile(`(?s)state IN \((.*?)\)\)`).FindStringSubmatch(string(sql))
		require.NotNil(t, check)
		var listed []State
		for _, m := range regexp.MustCompile(`'([a-z_]+)'`).FindAllStringSubmatch(check[1], -1) {
			listed = append(listed, State(m[1]))
		}
		require.ElementsMatch(t, States(), listed)
	})
}

// Every state against every event: where it leads, or that it cannot happen.
func TestMatrix(t *testing.T) {
	var b strings.Builder
	for _, from := range append([]State{""}, States()...) {
		name := string(from)
		if from == "" {
			name = "(new)"
		}
		fmt.Fprintf(&b, "%s\n", name)
		for _, on := range eventNames() {
			to := targets(from, on)
			if len(to) == 0 {
				fmt.Fprintf(&b, "  %-17s impossible\n", on)
				continue
			}
			fmt.Fprintf(&b, "  %-17s → %s\n", on, strings.Join(asStrings(to), ", "))
		}
	}
	golden(t, "testdata/matrix.golden", b.String())
}

// The diagram in the docs is generated from the table.
func TestDiagram(t *testing.T) {
	var b strings.Builder
	b.WriteString("# The saga's states\n\nGenerated from the table in `internal/saga/machine.go` by `go test ./internal/saga -update`.\n\n")
	b.WriteString("```mermaid\nstateDiagram-v2\n")
	for _, r := range rules {
		from := string(r.From)
		if from == "" {
			from = "[*]"
		}
		fmt.Fprintf(&b, "    %s --> %s: %s\n", from, r.To, r.On)
	}
	for _, s := range States() {
		if s.Mover() == Nobody {
			fmt.Fprintf(&b, "    %s --> [*]\n", s)
		}
	}
	b.WriteString("```\n\n| state | next to move |\n|---|---|\n")
	for _, s := range States() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", s, s.Mover())
	}
	b.WriteString("\n| from | event | to | note |\n|---|---|---|---|\n")
	for _, r := range rules {
		from := "–"
		if r.From != "" {
			from = "`" + string(r.From) + "`"
		}
		fmt.Fprintf(&b, "| %s | `%s` | `%s` | %s |\n", from, r.On, r.To, r.Note)
	}
	golden(t, "../../docs/states.md", b.String())
}

func asStrings(states []State) []string {
	var all []string
	for _, s := range states {
		all = append(all, string(s))
	}
	return all
}
