package saga

// State is where a saga is. Every state says who moves next.
type State string

// The states, in the order of the flow.
const (
	// Pending is a worker's to move when due: nothing is in flight, submitting is safe.
	Pending State = "pending"
	// Submitting is moved by the worker that holds it: the intent is committed, a POST
	// may be in flight.
	Submitting State = "submitting"
	// Unknown is a worker's to move when due: a POST may have taken effect, and only a
	// look-up may decide.
	Unknown State = "unknown"
	// Polling is a worker's to move when due: PressOne's order id is recorded; waiting
	// until what was bought can be installed or used.
	Polling State = "polling"
	// Notifying is the publisher's to move: the result is committed with its message.
	Notifying State = "notifying"
	// Completed is final: JetStream has acknowledged the result.
	Completed State = "completed"
	// DeadLettered is an operator's to move: a dead letter says why it stopped and
	// whether money was spent.
	DeadLettered State = "dead_lettered"
	// Discarded is final: an operator closed it, with a reason.
	Discarded State = "discarded"
)

// States lists every state in the order of the flow.
func States() []State {
	return []State{Pending, Submitting, Unknown, Polling, Notifying, Completed, DeadLettered, Discarded}
}

// Mover is who moves a saga next.
type Mover string

// Who may move a saga.
const (
	Worker    Mover = "worker"
	Publisher Mover = "publisher"
	Operator  Mover = "operator"
	Nobody    Mover = "nobody"
)

// Mover says who moves a saga in state s. A state that this version does not know is
// nobody's: it is left alone.
func (s State) Mover() Mover {
	switch s {
	case Pending, Submitting, Unknown, Polling:
		return Worker
	case Notifying:
		return Publisher
	case DeadLettered:
		return Operator
	case Completed, Discarded:
		return Nobody
	}
	return Nobody
}

// EventName is what can happen to a saga.
type EventName string

// The events.
const (
	Accepted        EventName = "accepted"
	SubmitStarted   EventName = "submit_started"
	PrecheckRefused EventName = "precheck_refused"
	PrecheckFailed  EventName = "precheck_failed"
	GaveUp          EventName = "gave_up"
	Submitted       EventName = "submitted"
	NotApplied      EventName = "not_applied"
	Refused         EventName = "refused"
	OutcomeUnknown  EventName = "outcome_unknown"
	WorkerLost      EventName = "worker_lost"
	Found           EventName = "found"
	FoundFailed     EventName = "found_failed"
	NotFound        EventName = "not_found"
	ProvedAbsent    EventName = "proved_absent"
	LookupFailed    EventName = "lookup_failed"
	NotReady        EventName = "not_ready"
	PollFailed      EventName = "poll_failed"
	PollRefused     EventName = "poll_refused"
	Ready           EventName = "ready"
	Announced       EventName = "announced"
	Replayed        EventName = "replayed"
	Adopted         EventName = "adopted"
	ConfirmedAbsent EventName = "confirmed_absent"
	WasDiscarded    EventName = "discarded"
)
