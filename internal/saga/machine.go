package saga

import (
	"fmt"
	"slices"
)

// Rule is one way for a saga to move.
type Rule struct {
	From State // empty: it does not exist yet
	On   EventName
	To   State
	Note string
}

// rules is the whole saga. Anything not listed here cannot happen to one.
var rules = []Rule{
	{"", Accepted, Pending, "the insert is the acceptance"},
	{"", Accepted, Submitting, "accepted with its intent, where there is room to run it at once"},

	{Pending, SubmitStarted, Submitting, "intent: attempt number and time, committed before the POST"},
	{Pending, PrecheckRefused, DeadLettered, "the top-up is not offered for that ICCID, or PressOne said no"},
	{Pending, PrecheckFailed, Pending, "the list could not be read: back off; no submission was spent"},
	{Pending, GaveUp, DeadLettered, "attempts or time used up"},
	{Pending, Found, Polling, "a late answer or the audit shows that it was bought after all: PressOne broke its bounds"},

	{Submitting, Submitted, Polling, "order id, code, price, sims recorded; the raw body is kept"},
	{Submitting, NotApplied, Pending, "provably no effect, or never sent: back off, or wait for Retry-After"},
	{Submitting, Refused, DeadLettered, "PressOne said no"},
	{Submitting, OutcomeUnknown, Unknown, "due after LIST_LAG or SETTLE_DELAY"},
	{Submitting, WorkerLost, Unknown, "the lease ran out: due SETTLE_DELAY after the intent's deadline"},

	{Unknown, Found, Polling, "adopted: one order, one saga"},
	{Unknown, FoundFailed, Pending, "PressOne's own record says the order failed"},
	{Unknown, NotFound, Unknown, "look again after the same delay"},
	{Unknown, ProvedAbsent, Pending, "ABSENCE_LOOKS complete look-ups, spaced, found nothing"},
	{Unknown, LookupFailed, Unknown, "back off"},
	{Unknown, GaveUp, DeadLettered, "may have been bought: an operator decides"},

	{Polling, NotReady, Polling, "back off"},
	{Polling, PollFailed, Polling, "back off"},
	{Polling, Ready, Notifying, "the result and its message in one commit"},
	{Polling, PollRefused, DeadLettered, "bought, and of no use"},
	{Polling, GaveUp, DeadLettered, "bought, and not ready in time"},

	{Notifying, Announced, Completed, "JetStream has acknowledged the result"},

	{DeadLettered, Replayed, Pending, "nothing was bought"},
	{DeadLettered, Replayed, Unknown, "not known whether it was bought: look"},
	{DeadLettered, Replayed, Polling, "it was bought"},
	{DeadLettered, Adopted, Polling, "an operator names the PressOne order"},
	{DeadLettered, ConfirmedAbsent, Pending, "an operator has checked that nothing was bought"},
	{DeadLettered, WasDiscarded, Discarded, "an operator closed it, with a reason"},
}

// Rules returns the table.
func Rules() []Rule { return append([]Rule(nil), rules...) }

// TransitionError says that something cannot happen to a saga in that state.
type TransitionError struct {
	From State
	On   EventName
	To   State // empty: nowhere
}

// Error implements error.
func (e *TransitionError) Error() string {
	if e.To == "" {
		return fmt.Sprintf("saga: %s cannot happen in state %s", e.On, e.From)
	}
	return fmt.Sprintf("saga: %s cannot lead from %s to %s", e.On, e.From, e.To)
}

// targets lists where an event may lead from a state.
func targets(from State, on EventName) []State {
	var to []State
	for _, r := range rules {
		if r.From == from && r.On == on {
			to = append(to, r.To)
		}
	}
	return to
}

// allow checks a move against the table.
func allow(from State, on EventName, to State) error {
	all := targets(from, on)
	switch {
	case slices.Contains(all, to):
		return nil
	case len(all) == 0:
		return &TransitionError{From: from, On: on}
	}
	return &TransitionError{From: from, On: on, To: to}
}
