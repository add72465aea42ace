package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
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
	return b.String()
}
