package saga

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// timelineWidth is how wide a timeline becomes: what was seen is wrapped. Without times it
// always gets seenWidth, so that long codes make the table wider rather than unreadable; with
// times, which are for terminals, it stands below its row if less than narrow is left.
const (
	timelineWidth = 100
	seenWidth     = 32
	narrow        = 24
	belowIndent   = 12
)

// WriteTimeline writes what happened to a saga as a table, a line for each entry, oldest
// first:
//
//	attempt  event           state                 code  seen
//	-        accepted        → pending
//	1        submit_started  pending → submitting
//	1        submitted       submitting → polling        order 9666 (20261122-009666)
//
// An operator's name and reason stand below what was seen. With times, a line before the
// table says when the first entry was made, a column says how long after it each one was,
// and what was seen ends with when the saga was due next, counted from the entry. Without,
// nothing in it depends on the clock. An error of w is lost: w is a buffer or a terminal.
func WriteTimeline(w io.Writer, entries []Entry, times bool) {
	if times && len(entries) > 0 {
		_, _ = fmt.Fprintf(w, "%s\n", entries[0].At.UTC().Format("2006-01-02 15:04:05.000 UTC"))
	}
	rows := [][]string{timelineHead(times)}
	for _, e := range entries {
		rows = append(rows, timelineRow(e, entries[0].At, times))
	}
	writeTimelineRows(w, rows, times)
}

func timelineHead(times bool) []string {
	if times {
		return []string{"time", "attempt", "event", "state", "code", "seen"}
	}
	return []string{"attempt", "event", "state", "code", "seen"}
}

// timelineRow is an entry's cells; the last one may hold several lines.
func timelineRow(e Entry, start time.Time, times bool) []string {
	attempt := "-"
	if e.Attempt > 0 {
		attempt = strconv.Itoa(e.Attempt)
	}
	text, due := oneLine(e.Seen), timelineDue(e)
	switch {
	case !times || due == "":
	case text == "":
		text = due
	default:
		text += " · " + due
	}
	var seen []string
	if text != "" {
		seen = append(seen, text)
	}
	if e.Actor != "" {
		seen = append(seen, oneLine("by "+e.Actor+": "+e.Reason))
	}
	row := []string{attempt, oneLine(string(e.Event)), oneLine(timelineMove(e)), oneLine(e.Code)}
	if times {
		row = append([]string{"+" + span(e.At.Sub(start))}, row...)
	}
	return append(row, strings.Join(seen, "\n"))
}

func timelineMove(e Entry) string {
	if e.From == "" {
		return "→ " + string(e.To)
	}
	return string(e.From) + " → " + string(e.To)
}

func timelineDue(e Entry) string {
	switch in := e.DueAt.Sub(e.At); {
	case e.DueAt.IsZero():
		return ""
	case in < time.Millisecond: // the decision's clock is read before the commit's
		return "due at once"
	default:
		return "due in " + span(in)
	}
}

// span is a duration to the precision that matters at its size.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// writeTimelineRows aligns the columns but the last, which it wraps. The first one is a
// time, aligned on its right, if times says so. No line ends in spaces.
func writeTimelineRows(w io.Writer, rows [][]string, times bool) {
	last := len(rows[0]) - 1
	widths := make([]int, last)
	for _, row := range rows {
		for i, cell := range row[:last] {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	indent := 0
	for _, width := range widths {
		indent += width + 2
	}
	var b strings.Builder
	for n, row := range rows {
		var line strings.Builder
		for i, cell := range row[:last] {
			gap := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 && times {
				line.WriteString(gap + cell + "  ")
			} else {
				line.WriteString(cell + gap + "  ")
			}
		}
		room := max(seenWidth, timelineWidth-indent)
		if times {
			room = timelineWidth - indent
		}
		writeSeen(&line, row[last], indent, room, n == 0)
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, _ = fmt.Fprint(w, b.String())
}

// writeSeen ends a row with what was seen, in a column at indent that has room, or below the
// row where that is too narrow.
func writeSeen(line *strings.Builder, seen string, indent, room int, head bool) {
	switch below := room < narrow; {
	case below && (head || seen == ""):
		return
	case below:
		row := strings.TrimRight(line.String(), " ")
		line.Reset()
		line.WriteString(row)
		for _, part := range wrap(seen, timelineWidth-belowIndent) {
			line.WriteString("\n" + strings.Repeat(" ", belowIndent) + part)
		}
		return
	}
	for i, part := range wrap(seen, room) {
		if i > 0 {
			line.WriteString("\n" + strings.Repeat(" ", indent))
		}
		line.WriteString(part)
	}
}

// wrap breaks text at its newlines, and at spaces where a line would be wider than width.
// It returns at least one line; a word that is too wide stays whole.
func wrap(text string, width int) []string {
	var lines []string
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := ""
		for word := range strings.FieldsSeq(paragraph) {
			switch {
			case line == "":
				line = word
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
				lines = append(lines, line)
				line = word
			default:
				line += " " + word
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// oneLine keeps what PressOne or an operator wrote from ending the line or from steering
// the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}
