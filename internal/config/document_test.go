package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite docs/config.md")

// TestDocumentIsCurrent compares docs/config.md with the variables there are. Run it with
// -update to rewrite the file.
func TestDocumentIsCurrent(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "config.md")
	want := document()
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, string(got), "run go test ./internal/config -update")
}

func TestEveryVariableIsDescribed(t *testing.T) {
	seen := make(map[string]bool)
	for _, v := range Variables() {
		require.Regexp(t, `^[A-Z][A-Z_]+$`, v.Name)
		require.False(t, seen[v.Name], v.Name)
		seen[v.Name] = true
		require.NotEmpty(t, v.Meaning, v.Name)
		require.NotEmpty(t, v.Example, v.Name)
		if v.Secret {
			require.True(t, v.File, "%s is a secret and cannot come from a file", v.Name)
			require.Empty(t, v.Default, v.Name)
		}
		for _, need := range v.NeededBy {
			require.Contains(t, needNames, need, v.Name)
			require.Empty(t, v.Default, "%s has a default, so nobody misses it", v.Name)
		}
	}
}

// document is the page about the variables.
func document() string {
	var b strings.Builder
	b.WriteString(`# Configuration

Generated from the tags of ` + "`config.Config`" + `; do not edit.

The programs read their configuration from the environment, once, when they start. They
report every problem at once and do not start while there is one. Durations are written
as in Go: ` + "`90s`, `5m`, `2160h`" + `. A variable that is empty counts as not set.

A variable marked † may also come from a file, whose path is in ` + "`<NAME>_FILE`" + `;
newlines at the end of the file do not count. Setting both is an error.

| variable | default | meaning | example | required by |
|---|---|---|---|---|
`)
	for _, v := range Variables() {
		name := "`" + v.Name + "`"
		if v.File {
			name += " †"
		}
		var fallback, example string
		if v.Default != "" {
			fallback = "`" + v.Default + "`"
		}
		if v.Example != v.Default {
			example = "`" + v.Example + "`"
		}
		var needed []string
		for _, n := range v.NeededBy {
			needed = append(needed, string(n))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", name, fallback, v.Meaning, example, strings.Join(needed, ", "))
	}
	b.WriteString(traces)
	foreign(&b, Tracing())
	b.WriteString(tracesEnd)
	foreign(&b, Runtime())
	return b.String()
}

// foreign is a table of variables that are not ours.
func foreign(b *strings.Builder, all []Foreign) {
	b.WriteString("| variable | meaning | here, or for example |\n|---|---|---|\n")
	for _, v := range all {
		here := v.Here
		if here != "" {
			here = "`" + here + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", v.Name, v.Meaning, here)
	}
}

// What is not ours is documented once, and is not taken for ours.
func TestForeignVariables(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, v := range Variables() {
		seen[v.Name] = true
	}
	for _, v := range slices.Concat(Tracing(), Runtime()) {
		require.False(t, seen[v.Name], v.Name)
		seen[v.Name] = true
		require.NotEmpty(t, v.Meaning, v.Name)
		require.False(t, v.Secret && v.Here != "", "%s: no example of a secret", v.Name)
	}
}

// traces is about the variables that are not ours.
const traces = `
## Traces

The worker and the publisher make traces once the environment says where they go: by
` + "`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_TRACES_EXPORTER` (`otlp`, `console`)" + `.
Until then, or with ` + "`OTEL_TRACES_EXPORTER=none` or `OTEL_SDK_DISABLED=true`" + `, nothing is made
and nothing connects. These variables are OpenTelemetry's: its library reads them from the environment itself, they
are not in the table above, have no ` + "`_FILE`" + `, and are not printed at the start. The ones that matter:

`

const tracesEnd = `
An order has seven to a dozen spans. When a program stops, it waits two seconds at the most for the last ones to be taken, within
the time that stopping has anyway (` + "`SUBMIT_TIMEOUT`" + ` and five seconds).

## Go's runtime

`
