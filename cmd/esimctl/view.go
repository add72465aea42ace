package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"esimflow/internal/saga"
)

// view shows traffic while it runs: a table that is drawn again and again on a terminal,
// a line for each end elsewhere.
type view struct {
	*traffic
	out           io.Writer
	width, height int // of the terminal when it was drawn last; 0 if it is none
	drawn         int // lines on the screen
	told          map[string]bool
}

func newView(t *traffic) *view {
	v := &view{traffic: t, out: t.out, told: map[string]bool{}}
	if t.json {
		v.out = t.err // there is data to come, on its own
	}
	v.width, v.height = size(v.out)
	return v
}

// size is how many columns and lines out has, if it is a terminal.
func size(out io.Writer) (width, height int) {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, 0
	}
	if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		return w, h
	}
	return terminalWidth, terminalHeight
}

// draw draws over what was drawn before. What the terminal would wrap or scroll could not be
// drawn over, so lines are cut to its width and there are fewer of them than it has.
func (v *view) draw() {
	if v.height == 0 {
		v.tell()
		return
	}
	var b strings.Builder
	if w, h := size(v.out); w != v.width || h != v.height { // somebody has pulled at it
		v.width, v.height, v.drawn = w, h, 0
		b.WriteString("\x1b[2J\x1b[H")
	}
	lines := append(wrapWords(v.totals(), v.width-1), "")
	lines = append(lines, v.rows(v.height-2-len(lines))...)
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	for _, l := range lines {
		b.WriteString("\x1b[2K" + shorten(l, v.width-1) + "\n")
	}
	b.WriteString("\x1b[0J")
	v.drawn = len(lines)
	_, _ = io.WriteString(v.out, b.String())
}

// close leaves the last table on the screen.
func (v *view) close() {
	if v.height == 0 {
		v.tell()
	}
	_, _ = fmt.Fprintln(v.out)
}

// totals counts the sagas by state, in the order of the flow.
func (v *view) totals() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	counts := map[saga.State]int{}
	for _, s := range v.sagas {
		counts[s.State]++
	}
	parts := []string{fmt.Sprintf("%5.1fs", time.Since(v.started).Seconds())}
	for _, s := range saga.States() {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", s, counts[s]))
		}
	}
	parts = append(parts, fmt.Sprintf("sold %d", v.sim.SoldCount()))
	return strings.Join(parts, " · ")
}

// rows lists the samples with trouble, those that have not ended first if there is no
// room for all.
func (v *view) rows(room int) []string {
	var open, ended []string
	for _, s := range v.samples {
		if s.trouble == "" {
			continue
		}
		end := v.end(s)
		row := v.row(s, end)
		if end == "" {
			open = append(open, row)
		} else {
			ended = append(ended, row)
		}
	}
	all := slices.Concat(open, ended)
	return all[:min(len(all), max(room, 0))]
}

func (v *view) row(s sample, end string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.sagas[string(s.kind)+" "+s.id]
	mark, state := " ", string(now.State)
	switch {
	case end == s.want:
		mark, state = "✓", end
	case end != "":
		mark, state = "✗", end
	}
	if state == "" {
		state = "on the stream"
	}
	room := min(max(v.width-besideTrouble, leastCut), mostTrouble)
	return fmt.Sprintf(" %s %-6s %-*s %-18s %s", mark, s.kind, room, shorten(s.trouble, room), state, attempts(now.Attempts))
}

// Of a row, in columns: what is said of the trouble, at the most, and everything else.
const (
	mostTrouble   = 50
	besideTrouble = 43
)

func attempts(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 attempt"
	}
	return fmt.Sprintf("%d attempts", n)
}

// tell prints what has ended since it was last called.
func (v *view) tell() {
	for _, s := range v.samples {
		end := v.end(s)
		key := string(s.kind) + s.id + s.trouble
		if end == "" || v.told[key] {
			continue
		}
		v.told[key] = true
		trouble := s.trouble
		if trouble == "" {
			trouble = "nothing wrong with it"
		}
		_, _ = fmt.Fprintf(v.out, "%5.1fs  %-18s %-22s %s\n", time.Since(v.started).Seconds(), end, s.id, trouble)
	}
}
