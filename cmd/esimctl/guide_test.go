package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"esimflow/internal/pressonesim"
)

// TestGuide does what docs/guide.md says, from its first line to its last: it writes the
// files, types the commands into a shell, and compares what they print, against a Postgres,
// a NATS server, the simulator, a worker and a publisher. esimctl is this program, nats is
// the real one at the version that tools/nats pins, and the Go programs are compiled. Two
// things the page does not show: comments that begin with "guide:" tell the simulator what
// is going to happen at PressOne, and stay out of the reader's sight; and what only looks
// is repeated until it shows what the page shows, as a person would who comes a moment too
// early. With -update, outputs that differ are rewritten.
func TestGuide(t *testing.T) {
	t.Parallel()
	g := newGuide(t)
	var wrong []string
	for i := range g.page.steps {
		s := &g.page.steps[i]
		switch {
		case s.scene != nil:
			g.set(s.scene)
		case s.file != "":
			require.NoError(t, os.WriteFile(filepath.Join(g.dir, s.file), []byte(s.text), 0o600))
		default:
			got, ok := g.follow(s)
			if ok {
				continue
			}
			if !*update {
				t.Fatalf("line %d of docs/guide.md: $ %s\n--- the page says, with exit code %d\n%s\n--- it is\n%s", s.line, s.text, s.exit, s.want, got)
			}
			s.want = got
			wrong = append(wrong, s.text)
		}
	}
	if *update && len(wrong) > 0 {
		require.NoError(t, os.WriteFile(guideFile, []byte(g.page.String()), 0o644))
		t.Logf("rewritten: the outputs of\n%s", strings.Join(wrong, "\n"))
	}
}

// guide is somebody who follows the page.
type guide struct {
	*stack

	page *page
	dir  string            // where they work
	env  []string          // of their shell
	ids  map[string]string // an id on the page → the one there is
}

func newGuide(t *testing.T) *guide {
	t.Helper()
	g := &guide{page: readPage(t), dir: t.TempDir(), ids: map[string]string{}}
	bin := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, os.Symlink(self, filepath.Join(bin, "esimctl"))) // see TestMain
	built := make(chan error, 1)
	go func() { built <- buildNATS(t.Context(), filepath.Join(bin, "nats")) }()
	g.stack = startStack(t)
	require.NoError(t, <-built)
	// The reader's own module, with what this one has.
	mod, err := os.ReadFile("../../go.mod")
	require.NoError(t, err)
	mod = bytes.Replace(mod, []byte("module esimflow\n"), []byte("module shop\n"), 1)
	require.NoError(t, os.WriteFile(filepath.Join(g.dir, "go.mod"), mod, 0o600))
	sum, err := os.ReadFile("../../go.sum")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(g.dir, "go.sum"), sum, 0o600))

	g.env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+pathOf(os.Environ()), "XDG_CONFIG_HOME="+t.TempDir(),
		"USER=maria", "NATS_TIMEOUT=1m", "NATS_URL="+g.stack.env["NATS_URL"], "ESIMFLOW_URL="+g.stack.env["ESIMFLOW_URL"], "OPS_TOKEN="+opsToken)
	return g
}

func pathOf(env []string) string {
	for _, pair := range slices.Backward(env) {
		if path, ok := strings.CutPrefix(pair, "PATH="); ok {
			return path
		}
	}
	return ""
}

// buildNATS builds NATS's own command line.
func buildNATS(ctx context.Context, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-modfile=tools/nats/go.mod", "-o", to, "github.com/nats-io/natscli/nats")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}

// guidePatience is how long a command is waited for, and how long what only looks is repeated.
const guidePatience = 4 * time.Minute

// follow types a command, and reports what it printed and whether that is what the page says.
func (g *guide) follow(s *step) (got string, ok bool) {
	line := s.text
	for onPage, actual := range g.ids {
		line = strings.ReplaceAll(line, onPage, actual)
	}
	patience := guidePatience
	if *update {
		patience = 10 * time.Second
	}
	deadline := time.Now().Add(patience)
	for {
		var code int
		var printed string
		if s.interrupt {
			printed = g.interrupted(s, line, patience)
		} else {
			code, printed = g.shell(line)
		}
		checkWidth(g.t, line, printed)
		if code == s.exit && s.match(printed, g.ids) {
			return printed, true
		}
		if !looks(line) || time.Now().After(deadline) {
			return printed, false
		}
	}
}

// looks reports whether a command changes nothing, or nothing as long as it finds nothing,
// so that it can be repeated.
func looks(line string) bool {
	words := strings.Fields(line)
	return strings.HasPrefix(line, "nats consumer next ") || len(words) > 2 && words[0] == "esimctl" && slices.Contains([]string{"list", "show", "trail", "findings"}, words[2])
}

// checkWidth holds esimctl to its promise about tables.
func checkWidth(t *testing.T, line, printed string) {
	t.Helper()
	if !strings.HasPrefix(line, "esimctl ") || strings.Contains(line, "--json") {
		return
	}
	for row := range strings.Lines(printed) {
		if utf8.RuneCountInString(strings.TrimSuffix(row, "\n")) > tableWidth {
			t.Errorf("too wide for a terminal: %s\n%s", line, row)
		}
	}
}

func (g *guide) command(ctx context.Context, line string, out *logBuffer) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = g.dir, g.env, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// shell runs a line and returns its exit code and what it printed, data and talk.
func (g *guide) shell(line string) (code int, printed string) {
	ctx, cancel := context.WithTimeout(g.t.Context(), 2*guidePatience)
	defer cancel()
	var out logBuffer
	cmd := g.command(ctx, line, &out)
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		require.NoError(g.t, err, line)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// interrupted runs a line until it has printed what the page says, and then presses Ctrl-C.
func (g *guide) interrupted(s *step, line string, patience time.Duration) string {
	ctx, cancel := context.WithTimeout(g.t.Context(), 2*guidePatience)
	defer cancel()
	var out logBuffer
	cmd := g.command(ctx, line, &out)
	require.NoError(g.t, cmd.Start())
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := false; !late && !s.match(out.String(), nil); {
		select {
		case <-deadline:
			late = true
		case <-tick.C:
		}
	}
	require.NoError(g.t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
	_ = cmd.Wait() // it was interrupted
	return out.String()
}

// set makes happen at PressOne what a comment says.
func (g *guide) set(words []string) {
	g.t.Helper()
	switch words[0] {
	case "balance": // CENTS
		cents, err := strconv.ParseInt(words[1], 10, 64)
		require.NoError(g.t, err)
		g.sim.SetBalance(pressonesim.Cents(cents))
	case "sold-out": // PACKAGE
		none := 0
		g.sim.AddPackage(pressonesim.Package{ID: words[1], Stock: &none})
	case "lost": // PACKAGE before|after: the answer, before or after it was sold; the list comes too late
		g.sim.AddPackage(pressonesim.Package{ID: words[1], ListLag: time.Hour})
		g.sim.Inject(pressonesim.Fault{
			Endpoint: pressonesim.Orders, PackageID: words[1], When: pressonesim.When(words[2]), Action: pressonesim.Drop, Times: 1,
		})
	case "by-hand": // DESCRIPTION: somebody buys without asking anybody
		buyByHand(g.stack, strings.Join(words[1:], " "))
	case "order": // NUMBER PACKAGE: the number that the page gives to the one order of a package
		sold := g.sim.Ledger().Package(words[2])
		require.Len(g.t, sold, 1)
		g.ids[words[1]] = strconv.Itoa(sold[0].ID)
	default:
		g.t.Fatalf("docs/guide.md: there is no scene %q", words)
	}
}
