package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"esimflow/internal/deadletter"
)

// printPreview prints the exact set, and says what it amounts to.
func (c *cli) printPreview(p deadletter.Preview) error {
	err := c.print(p, func(w io.Writer) error {
		t := table{head: []string{"DEAD LETTER", "REQUEST", "RESULT"}}
		for _, l := range p.Set {
			t.add(l.ID.String(), shorten(l.RequestID, 24), wouldBe(l))
		}
		return t.write(w)
	})
	if err != nil {
		return err
	}
	c.say("%s would be replayed, %d refused.", letters(p.Willing), p.Refused)
	for _, g := range []struct {
		name string
		all  []deadletter.Tally
	}{{"codes", p.Codes}, {"classes", p.Classes}, {"packages", p.Packages}} {
		for i, line := range wrapWords(g.name+": "+tallied(g.all), tableWidth-2) {
			c.say("%s%s", strings.Repeat(" ", 2*min(i, 1)), line)
		}
	}
	if cost := costs(p); cost != "" {
		c.say("cost: %s", cost)
	}
	return nil
}

// wouldBe is what a replay would do to a letter.
func wouldBe(l deadletter.PreviewLetter) string {
	switch {
	case l.Why != "":
		return "refused: " + l.Why
	case l.SagaID == nil:
		return "→ " + l.To + ", as a new request"
	case l.Price != "":
		return fmt.Sprintf("→ %s, %s %s", l.To, l.Price, l.Currency)
	}
	return "→ " + l.To
}

// mostTallies is how many groups are told one by one.
const mostTallies = 8

func tallied(all []deadletter.Tally) string {
	var parts []string
	for i, t := range all {
		if i == mostTallies {
			parts = append(parts, fmt.Sprintf("and %d more", len(all)-i))
			break
		}
		text := fmt.Sprintf("%s ×%d", plain(orDash(t.Name)), t.Letters)
		if t.Refused > 0 {
			text += fmt.Sprintf(" (%d refused)", t.Refused)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// costs is what a replay would cost, as far as it is known.
func costs(p deadletter.Preview) string {
	var parts []string
	for _, m := range p.Cost {
		parts = append(parts, m.Amount+" "+m.Currency)
	}
	if p.Unpriced > 0 {
		parts = append(parts, fmt.Sprintf("%d of unknown price", p.Unpriced))
	}
	return strings.Join(slices.Clip(parts), " and ")
}
