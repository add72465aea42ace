package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"esimflow/internal/saga"
)

var guideFile = filepath.Join("..", "..", "docs", "guide.md")

// page is docs/guide.md. Its blocks are
//
//	```console            commands after "$ ", with further lines after "> ", each followed by what
//	                      it prints; with exit=N the last one ends so, and with interrupt it is
//	                      ended by Ctrl-C
//	```go file=NAME       a file, or json
//	<!-- guide: WORDS --> what happens meanwhile
//
// In what is printed, a line that is … stands for any lines, and a … elsewhere for anything.
type page struct {
	lines []string // as they are; those of steps are written anew
	steps []step
}

// step is one thing to do.
type step struct {
	line  int // where it is, from 1
	end   int // the line after it
	scene []string
	file  string
	text  string // of the file, or the command

	want      string // what it prints
	exit      int
	interrupt bool
}

var scene = regexp.MustCompile(`^<!-- guide: (.*) -->$`)

func readPage(t *testing.T) *page {
	t.Helper()
	b, err := os.ReadFile(guideFile)
	require.NoError(t, err)
	p := &page{lines: strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")}
	for i := 0; i < len(p.lines); i++ {
		if m := scene.FindStringSubmatch(p.lines[i]); m != nil {
			p.steps = append(p.steps, step{line: i + 1, end: i + 1, scene: strings.Fields(m[1])})
			continue
		}
		info, fence := strings.CutPrefix(p.lines[i], "```")
		if !fence {
			continue
		}
		end := i + 1 + slices.Index(p.lines[i+1:], "```")
		require.Greater(t, end, i, "line %d: the block has no end", i+1)
		p.block(t, strings.Fields(info), i+1, end)
		i = end
	}
	return p
}

// block reads the lines from from to before end, counted from 0.
func (p *page) block(t *testing.T, info []string, from, end int) {
	t.Helper()
	require.NotEmpty(t, info, "line %d: a block of what?", from)
	text := strings.Join(p.lines[from:end], "\n") + "\n"
	switch info[0] {
	case "go", "json":
		require.Len(t, info, 2, "line %d", from)
		name, ok := strings.CutPrefix(info[1], "file=")
		require.True(t, ok, "line %d", from)
		p.steps = append(p.steps, step{line: from, end: end, file: name, text: text})
		return
	case "console":
	default:
		t.Fatalf("line %d: nobody checks a block of %s", from, info[0])
	}
	first := len(p.steps)
	for i := from; i < end; i++ {
		line, isCommand := strings.CutPrefix(p.lines[i], "$ ")
		if !isCommand {
			require.Greater(t, len(p.steps), first, "line %d: what has printed this?", i+1)
			s := &p.steps[len(p.steps)-1]
			s.want, s.end = s.want+p.lines[i]+"\n", i+1
			continue
		}
		s := step{line: i + 1}
		for ; i+1 < end && strings.HasPrefix(p.lines[i+1], "> "); i++ {
			line += "\n" + strings.TrimPrefix(p.lines[i+1], "> ")
		}
		s.text, s.end = line, i+1
		p.steps = append(p.steps, s)
	}
	last := &p.steps[len(p.steps)-1]
	for _, word := range info[1:] {
		if word == "interrupt" {
			last.interrupt = true
			continue
		}
		code, err := strconv.Atoi(strings.TrimPrefix(word, "exit="))
		require.NoError(t, err, "line %d: %s", from, word)
		last.exit = code
	}
}

// String is the page with what the steps print now.
func (p *page) String() string {
	var b strings.Builder
	next := 0
	for _, s := range p.steps {
		if s.scene != nil || s.file != "" {
			continue
		}
		commandEnd := s.line + strings.Count(s.text, "\n")
		b.WriteString(strings.Join(p.lines[next:commandEnd], "\n") + "\n" + s.want)
		next = s.end
	}
	b.WriteString(strings.Join(p.lines[next:], "\n") + "\n")
	return b.String()
}

// What is another one each time, and how it looks. The first one is remembered: an id on the
// page stands for the same one everywhere.
const anID = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`

var variable = []string{
	anID,
	`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`,
	`20\d\d-\d\d-\d\d`,
	`\d\d:\d\d:\d\d(?:\.\d+)?`,
	`20\d{6}-\d{6}`,                           // an order's code
	`\b[a-z2-7]{26}\b`,                        // a reference
	`127\.0\.0\.1:\d+`,                        // where something listens
	`\b89\d{16,20}\b`,                         // an eSIM
	`\b9[67]\d\d\b`,                           // an order
	`\b(?:\d+(?:\.\d+)?(?:ms|µs|s|m|h|d))+\b`, // how long
	`…`,
}

var variables = regexp.MustCompile(strings.Join(variable, "|"))

// match reports whether printed is what the page says, or the same lines in another order:
// what is under way at once ends in any. It notes the ids in ids.
func (s *step) match(printed string, ids map[string]string) bool {
	return match(s.want, printed, ids) || match(ordered(s.want), ordered(printed), ids)
}

// ordered is the lines of a text in an order that does not depend on what varies.
func ordered(text string) string {
	lines := strings.Split(text, "\n")
	slices.SortStableFunc(lines, func(a, b string) int {
		return strings.Compare(variables.ReplaceAllString(a, ""), variables.ReplaceAllString(b, ""))
	})
	return strings.Join(lines, "\n")
}

// match compares words: columns are as wide as what they hold, and lines break where they
// are full.
func match(want, printed string, ids map[string]string) bool {
	pattern, onPage := pattern(want, ids)
	m := regexp.MustCompile(pattern).FindStringSubmatch(strings.Join(strings.Fields(printed), " "))
	if m == nil {
		return false
	}
	for i, id := range onPage {
		if ids != nil {
			ids[id] = m[i+1]
		}
	}
	return true
}

// pattern is what has to be printed, and the ids that it catches.
func pattern(want string, ids map[string]string) (pattern string, onPage []string) {
	var b strings.Builder
	b.WriteString("(?s)^")
	rest := strings.Join(strings.Fields(want), " ")
	for {
		at := variables.FindStringIndex(rest)
		if at == nil {
			b.WriteString(regexp.QuoteMeta(rest) + "$")
			return b.String(), onPage
		}
		before, word := rest[:at[0]], rest[at[0]:at[1]]
		rest = rest[at[1]:]
		if word == "…" { // and the spaces around it
			before, rest = strings.TrimSuffix(before, " "), strings.TrimPrefix(rest, " ")
		}
		b.WriteString(regexp.QuoteMeta(before))
		switch actual, known := ids[word]; {
		case known:
			b.WriteString(regexp.QuoteMeta(actual))
		case word == "…":
			b.WriteString(".*?")
		case regexp.MustCompile("^" + anID + "$").MatchString(word):
			b.WriteString("(" + anID + ")")
			onPage = append(onPage, word)
		default:
			for _, v := range variable {
				if regexp.MustCompile("^(?:" + v + ")$").MatchString(word) {
					b.WriteString("(?:" + v + ")")
					break
				}
			}
		}
	}
}

// A pattern matches what differs only in what is another one each time, and nothing else.
func TestGuidePatterns(t *testing.T) {
	t.Parallel()
	const id, other = "01a205ed-7f21-72bd-ab13-c3bae90b6556", "01a205ed-7f21-72bd-ab13-c3bae90b0000"
	s := step{want: "SAGA  AGE\n" + id + "  3s\n…\norder 9666 (20261122-009666)\n"}
	ids := map[string]string{}
	require.True(t, s.match("SAGA AGE\n"+other+"  1m30s\nthis\nand that\norder 9671 (20261123-009671)\n", ids))
	require.Equal(t, map[string]string{id: other}, ids)
	require.False(t, s.match("SAGA AGE\n"+id+"  1m30s\n…\norder 9671 (20261123-009671)\n", ids), "the id is another one")
	require.False(t, s.match("SAGA AGE\n"+other+"  soon\n…\norder 9671 (20261123-009671)\n", ids))
	require.False(t, s.match("SAGA AGE\n"+other+"  3s\norder 9671 (20261123-009671)\nand more\n", ids))

	s = step{want: id + " ord-1\n" + other + " ord-2\n"}
	ids = map[string]string{}
	require.True(t, s.match(id+" ord-2\n"+other+" ord-1\n", ids), "the other one was faster")
	require.Equal(t, map[string]string{id: other, other: id}, ids)
}

// Commands in the guide's sentences and tables are commands, too.
func TestCommandsInSentences(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(guideFile)
	require.NoError(t, err)
	found := regexp.MustCompile("`esimctl ([^`]+)`").FindAllStringSubmatch(string(b), -1)
	require.NotEmpty(t, found)
	for _, f := range found {
		checkCommand(t, f[1])
	}
}

// The guide's table of failures has every code and class of ours, and every class of
// PressOne's; its pictures are there, and its JSON is JSON.
func TestGuideIsWhole(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(guideFile)
	require.NoError(t, err)
	text := string(b)
	for _, name := range slices.Concat(classes(), []string{
		saga.CodeMalformed, saga.CodeConflict, saga.CodeRetriesExhausted, saga.CodeDeadline, saga.CodePollDeadline,
		saga.CodeOutcomeUnknown, saga.CodePrecheck, saga.CodeExpired, "11", "4007", "http_402", "33", "http_422", "73",
	}) {
		require.Regexp(t, "(?m)^\\|.*`"+name+"`", text, "the table of failures")
	}
	for _, link := range regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`).FindAllStringSubmatch(text, -1) {
		require.FileExists(t, filepath.Join(filepath.Dir(guideFile), link[1]))
	}
	for _, s := range readPage(t).steps {
		if strings.HasSuffix(s.file, ".json") {
			require.True(t, json.Valid([]byte(s.text)), s.file)
		}
	}
}
