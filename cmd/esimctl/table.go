package main

import (
	"bytes"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"
)

// tableWidth is how wide a table becomes, in columns of a terminal.
const tableWidth = 100

// table is rows below a head, or without one if head is empty. The last column is wrapped
// to keep the table narrow, and the column cut, if it is not 0, is cut off for the same
// reason.
type table struct {
	head []string
	rows [][]string
	cut  int
}

// add appends a row. Cells are shown in one line, without what steers terminals: much of
// it was written by others.
func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = plain(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// write writes the table; no line ends in spaces.
func (t *table) write(w io.Writer) error {
	rows := t.rows
	if len(t.head) > 0 {
		rows = append([][]string{t.head}, rows...)
	}
	var b bytes.Buffer
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, line := range t.fit(rows) {
		if _, err := io.WriteString(tw, strings.Join(line, "\t")+"\n"); err != nil {
			return err
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// The least that is left of a column.
const (
	leastCut  = 10
	leastWrap = 24
	idWidth   = 37 // with a mark behind it: ids are not broken
)

// fit cuts and wraps the cells of rows until they fit.
func (t *table) fit(rows [][]string) [][]string {
	if len(rows) == 0 {
		return nil
	}
	last := len(rows[0]) - 1
	widths := make([]int, last+1)
	total, least := 2*last, leastWrap
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
		for word := range strings.FieldsSeq(row[last]) {
			least = max(least, min(utf8.RuneCountInString(word), idWidth))
		}
	}
	for _, width := range widths {
		total += width
	}
	wrapAt := widths[last]
	if over := total - tableWidth; over > 0 && last > 0 && t.cut != last {
		wrapAt = min(widths[last], max(least, widths[last]-over))
		total -= widths[last] - wrapAt
	}
	cutAt := tableWidth
	if over := total - tableWidth; over > 0 && t.cut > 0 {
		cutAt = max(leastCut, widths[t.cut]-over)
	}
	var lines [][]string
	for _, row := range rows {
		first := append([]string(nil), row...)
		if t.cut > 0 {
			first[t.cut] = shorten(first[t.cut], cutAt)
		}
		if t.cut == last && last > 0 {
			lines = append(lines, first)
			continue
		}
		parts := wrapWords(row[last], wrapAt)
		first[last] = parts[0]
		lines = append(lines, first)
		for _, part := range parts[1:] {
			more := make([]string, len(row))
			more[last] = part
			lines = append(lines, more)
		}
	}
	return lines
}

// shorten cuts s to width.
func shorten(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

// wrapWords breaks s at spaces. It returns at least one line; a word that is too wide
// stays whole.
func wrapWords(s string, width int) []string {
	if utf8.RuneCountInString(s) <= width {
		return []string{s}
	}
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
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
	return append(lines, line)
}

// plain is s in one line, without what steers terminals.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, s)
}

// writeFields writes names and values, a line each, leaving out the empty ones.
func writeFields(w io.Writer, pairs ...string) error {
	var t table
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			t.add(pairs[i], pairs[i+1])
		}
	}
	return t.write(w)
}

// age is how long ago t was, to the precision that matters.
func age(t time.Time) string {
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return max(d, 0).Truncate(time.Second).String()
	case d < time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Hour).String(), "0m0s")
	}
	return strings.TrimSuffix((d/24).Truncate(time.Hour).String(), "h0m0s") + "d"
}

// instant is a moment for people; empty for the zero one.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}
