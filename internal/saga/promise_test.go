package saga

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// The promise, against a PressOne that does whatever the promise's conditions allow: it
// may apply a request as late as SETTLE_DELAY after receiving it, list an order as late as
// the conditions say, and lose any answer. Workers may die at any point, and may write
// late, up to the intent's deadline, even after they were taken over. Operators replay,
// and confirm absence when it is so.
func TestNoSagaIsSubmittedAgainWithoutEvidence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if err := live(t, testPolicy, brokenRules{}); err != nil {
			t.Fatal(err)
		}
	})
}

// A check that cannot fail proves nothing: each of these breaks one rule, and the same
// model finds the second purchase.
func TestTheModelFindsBrokenRules(t *testing.T) {
	hasty := testPolicy
	hasty.SettleDelay, hasty.ListLag = 0, 0
	broken := map[string]struct {
		policy Policy
		rules  brokenRules
	}{
		"looking up before it has settled":          {hasty, brokenRules{}},
		"submitting again when a worker was lost":   {testPolicy, brokenRules{lostIsNotApplied: true}},
		"submitting again when an answer was lost":  {testPolicy, brokenRules{unknownIsNotApplied: true}},
		"writing after the deadline":                {testPolicy, brokenRules{lateWrites: true}},
		"believing a list that was not read to end": {testPolicy, brokenRules{failedListIsEmpty: true}},
	}
	for name, b := range broken {
		t.Run(name, func(t *testing.T) {
			found := rapid.Custom(func(t *rapid.T) bool { return errors.Is(live(t, b.policy, b.rules), errTwice) })
			for seed := range 5000 {
				if found.Example(seed) {
					return
				}
			}
			t.Fatal("no second purchase in 5000 lives")
		})
	}
}

var errTwice = errors.New("bought more than once")

// brokenRules are broken on purpose.
type brokenRules struct{ lostIsNotApplied, unknownIsNotApplied, lateWrites, failedListIsEmpty bool }

var testPolicy = Policy{
	SubmitTimeout: 60 * time.Second, ListLag: 5 * time.Second, SettleDelay: 30 * time.Second, AbsenceLooks: 2,
	RetryInitial: time.Second, RetryMax: 5 * time.Minute, MaxTries: 4, Deadline: 24 * time.Hour,
	PollInitial: 2 * time.Second, PollMax: time.Minute, PollDeadline: 75 * time.Minute,
}

// The bounds that PressOne keeps to: the conditions of the promise.
const (
	worldListLag     = 5 * time.Second
	worldSettleDelay = 30 * time.Second
)

// world is PressOne's books, and a clock.
type world struct {
	t      *rapid.T
	now    time.Time
	orders []worldOrder
}

type worldOrder struct {
	pressone.Order
	listed time.Time
}

// sell is the effect of a request: an order, listed some time until latest.
func (w *world) sell(reference string, latest time.Time, status string) pressone.Order {
	o := pressone.Order{ID: int64(1000 + len(w.orders)), Description: &reference, Status: status, Quantity: 1}
	listed := latest
	if rapid.Bool().Draw(w.t, "listed early") {
		listed = w.now
	}
	w.orders = append(w.orders, worldOrder{o, listed})
	return o
}

func (w *world) list() []pressone.Order {
	var all []pressone.Order
	for _, o := range w.orders {
		if !o.listed.After(w.now) {
			all = append(all, o.Order)
		}
	}
	return all
}

func (w *world) bought() int {
	n := 0
	for _, o := range w.orders {
		if o.Status != statusFailed {
			n++
		}
	}
	return n
}

// live is one saga's life of up to 40 events. The error says how the promise was broken.
func live(t *rapid.T, p Policy, broken brokenRules) error {
	w := &world{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	s := New(message.Request{Kind: message.Order, RequestID: "r", PackageID: "p", Quantity: 1}, Source{Metadata: []byte("{}")}, w.now)
	if rapid.Bool().Draw(t, "eager") {
		s.Worker = uuid.New()
	}
	happen := func(e Event) error {
		d, err := p.Decide(s, e, w.now, rapid.Float64Range(0, 0.999).Draw(t, "roll"))
		if err != nil {
			return fmt.Errorf("%s in %s: %w", e.Name, s.State, err)
		}
		s = d.After
		return nil
	}
	if err := happen(Event{Name: Accepted}); err != nil {
		return err
	}
	for range 40 {
		if s.DueAt.After(w.now) {
			w.now = s.DueAt
		}
		w.now = w.now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
		var e Event
		switch s.State {
		case Submitting:
			e = w.submit(s, broken)
		case Notifying:
			e = Event{Name: Announced}
		case DeadLettered:
			e = w.operate(s)
		case Completed, Discarded:
			return nil
		case Pending, Unknown, Polling:
			s.Worker = uuid.New()
			step, giveUp := p.Next(s, w.now)
			switch step {
			case StepGiveUp:
				e = giveUp
			case StepSubmit:
				e = Event{Name: SubmitStarted}
			case StepLookup:
				e = w.lookUp(p, s, broken)
			case StepPoll:
				e = rapid.SampledFrom([]Event{
					{Name: NotReady},
					{Name: PollFailed},
					{Name: Ready, Purchase: s.Purchase},
					{Name: PollRefused, Class: ClassRecycled, Code: "73"},
				}).Draw(t, "poll")
			case StepNone:
			}
		}
		if err := happen(e); err != nil {
			return err
		}
		if n := w.bought(); n > 1 {
			return fmt.Errorf("%w: %d, after %s", errTwice, n, e.Name)
		}
	}
	return nil
}

// submit is what can come of a POST.
func (w *world) submit(s Saga, broken brokenRules) Event {
	lost, unknown := Event{Name: WorkerLost}, Event{Name: OutcomeUnknown}
	if broken.lostIsNotApplied {
		lost = Event{Name: NotApplied}
	}
	if broken.unknownIsNotApplied {
		unknown = Event{Name: NotApplied}
	}
	failedRow := func(latest time.Time) {
		if rapid.Bool().Draw(w.t, "leaves a failed row") {
			w.sell(s.Reference, latest, statusFailed)
		}
	}
	applies := func() bool { return rapid.Bool().Draw(w.t, "takes effect") }
	switch rapid.IntRange(0, 6).Draw(w.t, "outcome") {
	case 0:
		o := w.sell(s.Reference, w.now.Add(worldListLag), "completed")
		return Event{Name: Submitted, Purchase: &Purchase{Order: o}}
	case 1:
		return Event{Name: Refused, Code: "33", Class: "out_of_stock"}
	case 2:
		failedRow(w.now.Add(worldListLag))
		return Event{Name: NotApplied, Free: rapid.Bool().Draw(w.t, "free")}
	case 3: // PressOne's own answer, after which nothing more happens
		if applies() {
			w.sell(s.Reference, w.now.Add(worldListLag), "completed")
		} else {
			failedRow(w.now.Add(worldListLag))
		}
		unknown.Ended = true
		return unknown
	case 4: // the answer was lost: received by now, and possibly not yet applied
		if applies() {
			w.sell(s.Reference, w.now.Add(worldSettleDelay), "completed")
		} else {
			failedRow(w.now.Add(worldSettleDelay))
		}
		return unknown
	case 5: // the worker dies before writing
		return lost
	}
	// The worker is taken over, and writes all the same, as late as it may.
	written := s.IntentDeadline.Add(-time.Millisecond)
	if broken.lateWrites {
		written = s.IntentDeadline.Add(10 * time.Minute)
	}
	if applies() {
		w.sell(s.Reference, written.Add(worldSettleDelay), "completed")
	}
	return lost
}

func (w *world) lookUp(p Policy, s Saga, broken brokenRules) Event {
	if rapid.IntRange(0, 4).Draw(w.t, "list") == 0 {
		if broken.failedListIsEmpty {
			return p.Absent(s, "nothing")
		}
		return p.Unclear(w.now, s, Event{Seen: "the list cannot be read"})
	}
	if e := matchReference(s, w.list(), nil); e.Name != "" {
		return e
	}
	return p.Absent(s, "nothing")
}

// operate is what an operator may do. Absence is confirmed when PressOne's books say so.
func (w *world) operate(s Saga) Event {
	switch rapid.IntRange(0, 3).Draw(w.t, "operator") {
	case 0:
		return Event{Name: WasDiscarded, Actor: "ann", Reason: "refunded"}
	case 1:
		if s.StoppedIn == Unknown && w.bought() == 0 {
			return Event{Name: ConfirmedAbsent, Actor: "ann", Reason: "PressOne has no such order"}
		}
		for _, o := range w.orders {
			if s.StoppedIn == Unknown && o.Status != statusFailed {
				return Event{Name: Adopted, Purchase: &Purchase{Order: o.Order}, Actor: "ann", Reason: "it is this one"}
			}
		}
	}
	return Event{Name: Replayed, Actor: "ann", Reason: "again"}
}

func TestOperators(t *testing.T) {
	now := time.Now()
	dead := func(in State, order int64) Saga {
		return Saga{
			ID: uuid.New(), State: DeadLettered, StoppedIn: in, OrderID: order, Ends: 1, Source: Source{Metadata: []byte("{}")},
			IntentDeadline: now.Add(time.Minute),
		}
	}
	by := func(n EventName) Event {
		return Event{Name: n, Actor: "ann", Reason: "x", Purchase: &Purchase{Order: pressone.Order{ID: 9}}}
	}
	t.Run("replay to where it stopped", func(t *testing.T) {
		for _, s := range []Saga{dead(Pending, 0), dead(Unknown, 0), dead(Polling, 7)} {
			d, err := testPolicy.Decide(s, by(Replayed), now, 0)
			require.NoError(t, err)
			require.Equal(t, s.StoppedIn, d.After.State)
		}
	})
	t.Run("look up no sooner than the last submission has settled", func(t *testing.T) {
		d, err := testPolicy.Decide(dead(Unknown, 0), by(Replayed), now, 0)
		require.NoError(t, err)
		require.Equal(t, now.Add(time.Minute+testPolicy.SettleDelay), d.After.DueAt)
	})
	t.Run("confirm absence only of what is not known", func(t *testing.T) {
		for _, s := range []Saga{dead(Pending, 0), dead(Polling, 7)} {
			_, err := testPolicy.Decide(s, by(ConfirmedAbsent), now, 0)
			require.ErrorAs(t, err, new(*RefusedError))
		}
	})
	t.Run("adopt nothing where an order is owned", func(t *testing.T) {
		_, err := testPolicy.Decide(dead(Polling, 7), by(Adopted), now, 0)
		require.ErrorAs(t, err, new(*RefusedError))
	})
	t.Run("move nothing that is not dead-lettered", func(t *testing.T) {
		for _, state := range States() {
			if state == DeadLettered {
				continue
			}
			_, err := testPolicy.Decide(Saga{State: state}, by(Replayed), now, 0)
			require.ErrorAs(t, err, new(*TransitionError), state)
		}
	})
}
