package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// trafficSum is how sample traffic ended.
type trafficSum struct {
	Requests    int            `json:"requests"`
	Seconds     float64        `json:"seconds"`
	Completed   int            `json:"completed"`
	Duplicates  int            `json:"duplicates"`
	DeadLetters map[string]int `json:"dead_letters"` // by code
	Sold        int            `json:"sold"`         // by the simulator's books
	Needed      int            `json:"needed"`
	Wrong       []string       `json:"wrong"` // what did not end as it should
}

// sum counts how the traffic has ended.
func (t *traffic) sum() trafficSum {
	s := trafficSum{
		Requests: len(t.samples), Seconds: time.Since(t.started).Seconds(), Sold: t.sim.SoldCount(),
		DeadLetters: map[string]int{}, Wrong: []string{},
	}
	wrong := func(format string, args ...any) { s.Wrong = append(s.Wrong, fmt.Sprintf(format, args...)) }
	for _, one := range t.samples {
		s.Needed += one.needed
		end := t.end(one)
		switch end {
		case wantCompleted:
			s.Completed++
		case wantDuplicate:
			s.Duplicates++
		default:
			s.DeadLetters[end]++
		}
		if end != one.want {
			wrong("%s ended as %s instead of %s", one.id, end, one.want)
		}
		if one.pkg.ID != "" && len(t.sim.Ledger().Package(one.pkg.ID)) != one.needed {
			wrong("%s: sold %d times instead of %d", one.id, len(t.sim.Ledger().Package(one.pkg.ID)), one.needed)
		}
	}
	if doubles := t.sim.Ledger().Doubles(); len(doubles) > 0 {
		wrong("bought twice: %v", doubles)
	}
	if s.Sold != s.Needed {
		wrong("the ledger does not agree")
	}
	return s
}

// summarize prints how the traffic ended. The error says what did not end as it should.
func (t *traffic) summarize() error {
	s := t.sum()
	if err := t.print(s, s.write); err != nil {
		return err
	}
	if len(s.Wrong) > 0 {
		return fmt.Errorf("not as it should be:\n  %s", strings.Join(s.Wrong, "\n  "))
	}
	return nil
}

func (s trafficSum) write(w io.Writer) error {
	dead := 0
	var codes []string
	for _, code := range slices.Sorted(maps.Keys(s.DeadLetters)) {
		n := s.DeadLetters[code]
		dead += n
		if n > 1 {
			code = fmt.Sprintf("%s ×%d", code, n)
		}
		codes = append(codes, code)
	}
	end := ""
	if len(s.Wrong) == 0 {
		end = "everything ended as it should, and nothing was bought twice\n"
	}
	_, err := fmt.Fprintf(w, "%d requests in %.1f s: %d completed, %d duplicate, %d dead letters\n"+
		"dead letters: %s\nledger: PressOne sold %d orders, %d were needed\n%s",
		s.Requests, s.Seconds, s.Completed, s.Duplicates, dead, strings.Join(codes, " · "), s.Sold, s.Needed, end)
	return err
}
