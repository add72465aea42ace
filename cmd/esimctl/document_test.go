package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite docs/cli.md, and the outputs in docs/guide.md that differ")

// docs/cli.md is what the commands say of themselves. Run it with -update to rewrite it.
func TestCommandsAreDocumented(t *testing.T) {
	t.Parallel()
	root := newRootCommand(&cli{getenv: lookupIn(nil)})
	var b strings.Builder
	b.WriteString("# esimctl\n\nGenerated from the commands by `go test ./cmd/esimctl -run TestCommandsAreDocumented -update`; do not edit.\n" +
		"[guide.md](guide.md) shows the commands at work.\n\n")
	b.WriteString(root.Long + "\n\nEvery command takes:\n\n```\n" + root.PersistentFlags().FlagUsagesWrapped(100) + "```\n\n" +
		"`esimctl completion bash|zsh|fish` prints what a shell needs to complete commands, flags and their values, and ids as\n" +
		"a worker knows them: `source <(esimctl completion bash)`.\n\n")
	index(&b, root)
	chapters(&b, root)

	file := filepath.Join("..", "..", "docs", "cli.md")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o644))
	}
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, b.String(), string(got), "run go test ./cmd/esimctl -run TestCommandsAreDocumented -update")
}

// documented are the commands below cmd that people type.
func documented(cmd *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, sub := range cmd.Commands() {
		if sub.Hidden || sub.Name() == "help" || sub.Name() == "completion" {
			continue
		}
		if sub.Runnable() {
			all = append(all, sub)
		}
		all = append(all, documented(sub)...)
	}
	return all
}

func index(b *strings.Builder, root *cobra.Command) {
	b.WriteString("| command | does |\n|---|---|\n")
	for _, cmd := range documented(root) {
		fmt.Fprintf(b, "| [`%s`](#%s) | %s |\n", path(cmd), strings.ReplaceAll(cmd.CommandPath(), " ", "-"), cmd.Short)
	}
}

func chapters(b *strings.Builder, root *cobra.Command) {
	for _, cmd := range documented(root) {
		fmt.Fprintf(b, "\n## %s\n\n", cmd.CommandPath())
		about := cmd.Long
		if about == "" {
			about = cmd.Short + "."
		}
		b.WriteString(fenced(about) + "\n\n```\n" + cmd.UseLine() + "\n")
		if cmd.Example != "" {
			b.WriteString("\n" + cmd.Example + "\n")
		}
		if usages := cmd.LocalNonPersistentFlags().FlagUsagesWrapped(100); usages != "" {
			b.WriteString("\n" + usages)
		}
		b.WriteString("```\n")
	}
}

// fenced is text with its indented paragraphs, which are tables, in fences.
func fenced(text string) string {
	parts := strings.Split(text, "\n\n")
	for i, part := range parts {
		if strings.HasPrefix(part, "  ") {
			parts[i] = "```\n" + part + "\n```"
		}
	}
	return strings.Join(parts, "\n\n")
}

// Every value that flags are offered is one that commands take, and every flag either takes a
// file, is offered something, or offers nothing: no shell puts names of files after --reason.
func TestNoFilesAreOffered(t *testing.T) {
	t.Parallel()
	root := newRootCommand(&cli{getenv: lookupIn(nil)})
	nobody := map[string]string{"ESIMFLOW_URL": "http://127.0.0.1:1"} // whoever runs dev meanwhile is not asked
	for _, cmd := range documented(root) {
		for _, flag := range flagsOf(cmd) {
			r := runIn(t, nobody, append([]string{"__complete"}, append(strings.Fields(path(cmd)), "--"+flag, "")...)...)
			want := ":4"
			switch {
			case flag == "file" || flag == "data" || flag == "profile":
				want = ":0"
			case cmd.Flags().Lookup(flag).NoOptDefVal != "":
				continue // takes no value
			case len(flag) == 1:
				continue // cobra takes it for a shorthand, which it is not
			}
			require.Contains(t, strings.Split(r.out, "\n"), want, "%s --%s: %s", cmd.CommandPath(), flag, r.out)
		}
	}
}
