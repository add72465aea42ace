package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every esimctl command that a page names exists, with its flags and its arguments: at three in the
// morning it has to work as it is written. One that is only named needs no arguments. With the numbers of
// those that each page has at least; docs/guide.md is run as a whole, docs/nats.md has tests of its own.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	for page, least := range map[string]int{
		"README.md": 12, "docs/runbook.md": 50, "docs/operations.md": 15, "docs/deploy.md": 4, "docs/data.md": 4, "docs/postgres.md": 2,
		"docs/performance.md": 6, "docs/reliability.md": 1, "docs/scaling.md": 1, "docs/model/README.md": 0, "docs/ARCHITECTURE.md": 1, "SECURITY.md": 1,
	} {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(filepath.Join("..", "..", page))
			require.NoError(t, err)
			commands := namedCommands(string(b))
			require.GreaterOrEqual(t, len(commands), least)
			for _, c := range commands {
				checkCommand(t, c)
			}
		})
	}
}

var (
	fence   = regexp.MustCompile("(?s)```[a-z]*\n(.*?)```")
	span    = regexp.MustCompile("`([^`\n]+)`")
	program = regexp.MustCompile(`(?:^|[ /(])esimctl +([a-z].*)$`)
)

// namedCommands are the commands in the code of a page, without the program's name, which is left
// away where it is clear.
func namedCommands(page string) (found []string) {
	names := map[string]bool{}
	for _, cmd := range newRootCommand(&cli{getenv: func(string) string { return "" }}).Commands() {
		names[cmd.Name()] = true
	}
	var code []string
	for _, block := range fence.FindAllStringSubmatch(page, -1) {
		code = append(code, strings.Split(block[1], "\n")...)
	}
	for _, s := range span.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		if word, _, more := strings.Cut(s[1], " "); more && names[word] {
			s[1] = "esimctl " + s[1]
		}
		code = append(code, s[1])
	}
	for _, line := range code {
		line = strings.TrimPrefix(line, "$ ")
		if m := program.FindStringSubmatch(line); m != nil && !strings.HasPrefix(line, "#") {
			found = append(found, m[1])
		}
	}
	return found
}

// checkCommand has the program take the command, up to where it would run it.
func checkCommand(t *testing.T, command string) {
	t.Helper()
	var args []string
	for _, arg := range regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(command, -1) {
		if strings.ContainsAny(arg[:1], "#|&>") {
			break
		}
		args = append(args, strings.Trim(arg, `"`))
	}
	root := newRootCommand(&cli{getenv: func(string) string { return "" }})
	cmd, rest, err := root.Find(args)
	require.NoError(t, err, command)
	if len(rest) == 0 || slices.Contains(rest, "--help") {
		return
	}
	require.NoError(t, verb(root, args), command)
	require.NoError(t, cmd.ParseFlags(rest), command)
	if cmd.Args != nil {
		require.NoError(t, cmd.Args(cmd, cmd.Flags().Args()), command)
	}
}
