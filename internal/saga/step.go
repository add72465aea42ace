package saga

import (
	"fmt"
	"time"
)

// Step is what a worker does next about a saga that is due.
type Step string

// The steps.
const (
	StepSubmit Step = "submit"
	StepLookup Step = "look_up"
	StepPoll   Step = "poll"
	StepGiveUp Step = "give_up"
	StepNone   Step = "none" // not a worker's to move, or a state that this version does not know
)

// Next says what to do about a due saga, and, if that is to give up, the event that says
// so. Only a pending saga is submitted: that is half of the promise. The other half is
// that nothing but evidence makes it pending again (see the table).
func (p Policy) Next(s Saga, now time.Time) (Step, Event) {
	late := !now.Before(s.DeadlineAt)
	switch s.State {
	case Pending:
		switch {
		case s.Tries >= p.MaxTries:
			return StepGiveUp, Event{
				Name: GaveUp, Code: CodeRetriesExhausted, Class: ClassExhausted,
				Seen: fmt.Sprintf("%d submissions, none of them accepted", s.Tries),
			}
		case late:
			return StepGiveUp, Event{
				Name: GaveUp, Code: CodeDeadline, Class: ClassExhausted,
				Seen: "not bought within SAGA_DEADLINE",
			}
		}
		return StepSubmit, Event{}
	case Unknown:
		// The look-up goes first, however late it is: it may find the order.
		return StepLookup, Event{}
	case Polling:
		return StepPoll, Event{}
	case Submitting, Notifying, Completed, DeadLettered, Discarded:
		return StepNone, Event{}
	}
	return StepNone, Event{}
}

// Absent says what a complete look-up that found nothing means.
func (p Policy) Absent(s Saga, seen string) Event {
	looks := s.Looks + 1
	seen = fmt.Sprintf("%s (look %d of %d)", seen, looks, p.AbsenceLooks)
	switch {
	case looks < p.AbsenceLooks:
		return Event{Name: NotFound, Seen: seen}
	case p.Hold:
		return Event{
			Name: GaveUp, Code: CodeOutcomeUnknown, Class: ClassOutcomeUnknown,
			Seen: seen + "; UNKNOWN_POLICY is hold",
		}
	}
	return Event{Name: ProvedAbsent, Seen: seen}
}

// Unclear says what to do when a look-up could not be completed.
func (p Policy) Unclear(now time.Time, s Saga, e Event) Event {
	if now.Before(s.DeadlineAt) {
		e.Name = LookupFailed
		return e
	}
	return Event{
		Name: GaveUp, Code: CodeOutcomeUnknown, Class: ClassOutcomeUnknown,
		Seen: "SAGA_DEADLINE has passed: " + e.Seen,
	}
}

// Unready says what to do when a poll did not see what was bought ready.
func (p Policy) Unready(now time.Time, s Saga, e Event) Event {
	if now.Before(s.DeadlineAt) {
		return e
	}
	return Event{
		Name: GaveUp, Code: CodePollDeadline, Class: ClassNotReady, Purchase: e.Purchase,
		Seen: "POLL_DEADLINE has passed: " + e.Seen,
	}
}
