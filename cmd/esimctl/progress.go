package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// bar shows how far something is: a line of talk that is drawn again and again, on a
// terminal and nowhere else. What is written to a file or a pipe has none of it.
type bar struct {
	out   io.Writer
	width int // of the terminal, in columns; 0 if there is none
	drawn time.Time
	last  string
}

// Of the bar itself, in columns, and of the terminal if it does not say.
const (
	barWidth       = 30
	terminalWidth  = 80
	terminalHeight = 24
)

// barPause is between two drawings: nobody sees more, and terminals are slow.
const barPause = 100 * time.Millisecond

func newBar(out io.Writer) *bar {
	b := &bar{out: out}
	b.width, _ = size(out)
	return b
}

// draw shows that done of all are done. text may be of any length and origin.
func (b *bar) draw(done, all int, text string) {
	if b.width == 0 {
		return
	}
	full := min(max(barWidth*done/max(all, 1), 0), barWidth)
	room := max(b.width-barWidth-4, 1) // brackets, a space, and a column in which the cursor rests
	line := fmt.Sprintf("[%s%s] %s", strings.Repeat("█", full), strings.Repeat("·", barWidth-full), shorten(plain(text), room))
	if line == b.last || b.last != "" && done < all && time.Since(b.drawn) < barPause {
		return
	}
	b.drawn, b.last = time.Now(), line
	_, _ = io.WriteString(b.out, "\r\x1b[2K"+line)
}

// tell shows text alone, where there is no saying how far something is.
func (b *bar) tell(text string) {
	if b.width > 0 {
		b.last = shorten(text, b.width-1)
		_, _ = io.WriteString(b.out, "\r\x1b[2K"+b.last)
	}
}

// done takes the bar away: what is said next stands in its place.
func (b *bar) done() {
	if b.last != "" {
		_, _ = io.WriteString(b.out, "\r\x1b[2K")
	}
	b.last = ""
}
