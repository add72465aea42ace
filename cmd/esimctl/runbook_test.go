package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every esimctl command that the runbook names exists, with its flags and its arguments:
// at three in the morning it has to work as it is written.
func TestRunbookCommands(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "runbook.md"))
	require.NoError(t, err)
	word := regexp.MustCompile(`"[^"]*"|\S+`)
	found := regexp.MustCompile("(?m)(?:^|`)esimctl ([^`\n]+)").FindAllStringSubmatch(string(b), -1)
	require.Greater(t, len(found), 40)
	for _, f := range found {
		var args []string
		for _, arg := range word.FindAllString(f[1], -1) {
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
