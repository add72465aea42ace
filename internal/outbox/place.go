package outbox

import "time"

// place is where in the outbox to look for what is new. Rows that were deleted stand in the
// way of whoever reads from the beginning, until they are vacuumed, and for as long as
// anybody holds a snapshot that is never.
//
// Numbers are given before commits, so a row may appear below others that have been seen:
// what is read again is all of the last seconds. And now and then it is everything: what
// was refused, and what took longer.
type place struct {
	marks []mark
	next  time.Time // when to look from the beginning
}

// mark says that all rows up to a number were seen by a time, but for late ones.
type mark struct {
	at time.Time
	id int64
}

const (
	lateness  = 2 * time.Second // most commits are far faster
	wholeLook = time.Second     // from the beginning, at most so often,
	wholeCost = 20              // and at most one twentieth of the time
)

// from is the number behind which to look.
func (p *place) from(now time.Time) int64 {
	for len(p.marks) > 1 && now.Sub(p.marks[1].at) > lateness {
		p.marks = p.marks[1:]
	}
	if !now.Before(p.next) || len(p.marks) == 0 || now.Sub(p.marks[0].at) <= lateness {
		return 0
	}
	return p.marks[0].id
}

// looked notes what was read.
func (p *place) looked(start time.Time, took time.Duration, from int64, rows []row) {
	if from == 0 && !full(rows) {
		p.next = start.Add(max(wholeLook, wholeCost*took))
	}
	if len(rows) == 0 {
		return
	}
	last := rows[len(rows)-1].id
	if n := len(p.marks); n == 0 || last > p.marks[n-1].id {
		p.marks = append(p.marks, mark{start, last})
	}
}
