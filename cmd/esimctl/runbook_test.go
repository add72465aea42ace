package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every esimctl command that the runbook and docs/operations.md name exists, with its flags and its
// arguments: at three in the morning it has to work as it is written.
func TestRunbookCommands(t *testing.T) {
	t.Parallel()
	checkCommands(t, "runbook.md", 40)
	checkCommands(t, "operations.md", 12)
}

// checkCommands reads a page that has to name more than so many commands.
func checkCommands(t *testing.T, page string, more int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	require.NoError(t, err)
	word := regexp.MustCompile(`"[^"]*"|\S+`)
	found := regexp.MustCompile("(?m)(?:^|`)esimctl ([^`\n]+)").FindAllStringSubmatch(string(b), -1)
	require.Greater(t, len(found), more)
	for _, f := range found {
		var args []string
		line, _, _ := strings.Cut(f[1], " #")
		for _, arg := range word.FindAllString(line, -1) {
			args = append(args, strings.Trim(arg, `"`))
		}
		root := newRootCommand(&cli{getenv: func(string) string { return "" }})
		require.NoError(t, verb(root, args), f[1])
		cmd, rest, err := root.Find(args)
		require.NoError(t, err, f[1])
		require.True(t, cmd.Runnable(), f[1])
		require.NoError(t, cmd.ParseFlags(rest), f[1])
		if cmd.Args != nil {
			require.NoError(t, cmd.Args(cmd, cmd.Flags().Args()), f[1])
		}
	}
}
