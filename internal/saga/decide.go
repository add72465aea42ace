package saga

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"esimflow/internal/message"
	"esimflow/internal/outbox"
)

// Decision is what an event does to a saga: the whole of what one commit has to write.
type Decision struct {
	Before     Saga // the owner and version that the write expects
	After      Saga
	At         time.Time // when it was made, by Postgres's clock; zero if nothing happened
	Earlier    []Entry   // where several things happened at once: all but the last
	Entry      Entry     // of the history; without an event: the saga only changes hands
	Messages   []outbox.Message
	DeadLetter *message.DeadLetter // a letter to open
	Resolved   string              // the status that the open letter gets, "" if none is resolved
	Answer     *Answer             // to be kept raw
}

// entries are the history's rows.
func (d Decision) entries() []Entry {
	if d.Entry.Event == "" {
		return nil
	}
	return append(slices.Clip(d.Earlier), d.Entry)
}

// Entry is a row of the history.
type Entry struct {
	Version int64     `json:"version"`
	At      time.Time `json:"at"` // set by Postgres
	Event   EventName `json:"event"`
	From    State     `json:"from,omitempty"`
	To      State     `json:"to"`
	Attempt int       `json:"attempt"`
	Code    string    `json:"code,omitempty"`
	Seen    string    `json:"seen,omitempty"`
	DueAt   time.Time `json:"due_at,omitzero"`
	Actor   string    `json:"actor,omitempty"`
	Reason  string    `json:"reason,omitempty"`
}

// New is a saga that does not exist yet, for a request that was understood. Give it a
// Worker to have it accepted with its first intent, as that worker's.
func New(r message.Request, src Source, requestedAt time.Time) Saga {
	return Saga{
		ID: uuid.Must(uuid.NewV7()), Kind: r.Kind, RequestID: r.RequestID,
		Reference: newReference(r, src, requestedAt), Fingerprint: r.Fingerprint(),
		PackageID: r.PackageID, Quantity: r.Quantity, ICCID: r.ICCID,
		RequestedAt: requestedAt, Source: src,
	}
}

// Decide says what e does to s at the time now, which is Postgres's. It is pure: roll, a
// random number in [0, 1), is its only chance. The error is a *TransitionError if e
// cannot happen to s.
func (p Policy) Decide(s Saga, e Event, now time.Time, roll float64) (Decision, error) {
	e.Seen, e.Actor, e.Reason = Clean(e.Seen), Clean(e.Actor), Clean(e.Reason)
	d := Decision{Before: s, After: s, At: now, Answer: e.Answer}
	to, err := p.move(&d, e, now, roll)
	if err != nil {
		return Decision{}, err
	}
	if err := allow(s.State, e.Name, to); err != nil {
		return Decision{}, err
	}
	next := &d.After
	next.State = to
	next.Version++
	if to.Mover() != Worker || next.DueAt.After(now) || e.Name == WorkerLost || e.Name == Found && s.State == Pending {
		next.Worker = uuid.Nil // whoever is free when it is due
	}
	if to.Mover() != Worker {
		next.DueAt = time.Time{}
	}
	if to != DeadLettered && to != Discarded {
		next.StoppedIn = ""
	}
	d.Entry = Entry{
		Version: next.Version, Event: e.Name, From: s.State, To: to, Attempt: next.Attempts,
		Code: e.Code, Seen: e.Seen, Actor: e.Actor, Reason: e.Reason,
	}
	if next.DueAt.After(now) {
		d.Entry.DueAt = next.DueAt // it waits
	}
	return d, p.announce(&d, e, now)
}

// move changes d.After by e and returns its new state.
func (p Policy) move(d *Decision, e Event, now time.Time, roll float64) (State, error) {
	s := &d.After
	retry := func() {
		s.Failures++
		s.DueAt = now.Add(max(p.retryDelay(s.Failures, roll, e.Slow), e.RetryAfter))
		if s.Tries >= p.MaxTries {
			s.DueAt = now // it will give up: nothing is gained by waiting for that
		}
	}
	intent := func() {
		s.Attempts++
		s.Tries++
		s.Looks = 0
		s.IntentAt, s.IntentDeadline = now, now.Add(p.SubmitTimeout)
		s.DueAt = time.Time{} // it is under way, whatever Postgres's clock does meanwhile
	}
	look := func(delay time.Duration, from time.Time) {
		s.Looks, s.LookDelay = 0, delay
		s.DueAt = from.Add(delay)
	}
	bought := func() {
		s.OrderID, s.Purchase = e.Purchase.Order.ID, e.Purchase
		s.Failures, s.DueAt, s.DeadlineAt = 0, now, now.Add(p.PollDeadline)
	}

	switch e.Name {
	case Accepted:
		s.DueAt, s.DeadlineAt = now, now.Add(p.Deadline)
		if s.Worker == uuid.Nil {
			return Pending, nil
		}
		intent()
		return Submitting, nil
	case SubmitStarted:
		intent()
		return Submitting, nil
	case PrecheckFailed, LookupFailed:
		s.Failures++
		s.DueAt = now.Add(max(p.retryDelay(s.Failures, roll, false), e.RetryAfter))
		return s.State, nil
	case Submitted, Found:
		bought()
		return Polling, nil
	case NotApplied:
		if e.Free {
			s.Tries--
		}
		retry()
		return Pending, nil
	case OutcomeUnknown:
		if e.Free {
			s.Tries--
		}
		delay := p.SettleDelay
		if e.Ended {
			delay = p.ListLag
		}
		look(delay, now)
		return Unknown, nil
	case WorkerLost:
		sent := s.IntentDeadline
		if e.SentBy.After(now) { // Postgres's clock has stepped, this way or that
			sent = later(e.SentBy, earlier(sent, now.Add(p.SubmitTimeout)))
		}
		look(p.SettleDelay, sent)
		return Unknown, nil
	case FoundFailed:
		retry()
		return Pending, nil
	case NotFound:
		if !e.Unwaited {
			s.Looks++
		}
		s.Failures = 0
		s.DueAt = now.Add(s.LookDelay)
		return Unknown, nil
	case ProvedAbsent:
		s.Looks++
		retry()
		return Pending, nil
	case NotReady, PollFailed:
		s.Failures++
		if e.Purchase != nil {
			s.Purchase = e.Purchase
		}
		s.DueAt = now.Add(max(p.pollDelay(s.Failures, roll), e.RetryAfter))
		if s.DueAt.After(s.DeadlineAt) {
			s.DueAt = s.DeadlineAt
		}
		return Polling, nil
	case Ready:
		s.Purchase = e.Purchase
		s.Ends++
		return Notifying, nil
	case Announced:
		return Completed, nil
	case PrecheckRefused, Refused, PollRefused, GaveUp:
		if e.Purchase != nil {
			s.Purchase = e.Purchase
		}
		s.StoppedIn = s.State
		if s.State == Submitting {
			s.StoppedIn = Pending // it was refused: nothing is in flight
		}
		s.Ends++
		return DeadLettered, nil
	case Replayed, ConfirmedAbsent, Adopted, WasDiscarded:
		return p.operate(d, e, now)
	}
	return "", &TransitionError{From: s.State, On: e.Name}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// operate is what operators do to a dead letter. Where a replay goes is not theirs to
// choose: it is what is known about the money.
func (p Policy) operate(d *Decision, e Event, now time.Time) (State, error) {
	s := &d.After
	if s.State != DeadLettered {
		return "", &TransitionError{From: s.State, On: e.Name}
	}
	s.Tries, s.Failures, s.Looks = 0, 0, 0
	s.DueAt, s.DeadlineAt = now, now.Add(p.Deadline)
	// Nothing is looked up or submitted again before the last submission has settled.
	if settled := s.IntentDeadline.Add(p.SettleDelay); s.StoppedIn == Unknown && settled.After(now) {
		s.DueAt = settled
	}
	switch e.Name { //nolint:exhaustive // only the operators' events get here
	case Replayed:
		d.Resolved = "replayed"
		if s.StoppedIn == Polling {
			s.DeadlineAt = now.Add(p.PollDeadline)
		}
		if s.StoppedIn == Unknown {
			s.LookDelay = p.SettleDelay
		}
		return s.StoppedIn, nil
	case ConfirmedAbsent:
		if s.StoppedIn != Unknown {
			return "", &RefusedError{fmt.Sprintf("whether it was bought is known (it stopped in %s): replay it", s.StoppedIn)}
		}
		d.Resolved = "confirmed_absent"
		return Pending, nil
	case Adopted:
		if s.OrderID != 0 {
			return "", &RefusedError{fmt.Sprintf("it owns PressOne's order %d already", s.OrderID)}
		}
		d.Resolved = "adopted"
		s.OrderID, s.Purchase = e.Purchase.Order.ID, e.Purchase
		s.DueAt, s.DeadlineAt = now, now.Add(p.PollDeadline)
		return Polling, nil
	}
	d.Resolved = "discarded"
	return Discarded, nil
}

// Clean makes text from outside fit for a column and a header: one line of valid UTF-8.
// Postgres refuses NUL, and what happened must be written.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\n", "; "))
}

// RefusedError says why an operator's action is refused.
type RefusedError struct{ Why string }

// Error implements error.
func (e *RefusedError) Error() string { return "saga: refused: " + e.Why }
