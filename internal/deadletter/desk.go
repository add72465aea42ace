package deadletter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// Provider is what operators' actions need of PressOne.
type Provider interface {
	Order(ctx context.Context, id int64) (pressone.Order, error)
	Packages(ctx context.Context) ([]pressone.Package, error)
	Balance(ctx context.Context) (pressone.Balance, error)
}

// Gate says whether PressOne may be asked, and what operators have paused.
type Gate interface {
	ClosedFor(lane pressone.Lane) time.Duration
	Paused(k message.Kind) bool
	Observe(ctx context.Context, lane pressone.Lane, err error) (closed bool, _ error)
}

// Config is what a Desk works with.
type Config struct {
	DB        *pgxpool.Pool
	Store     *saga.Store
	Policy    saga.Policy
	Provider  Provider
	Gate      Gate   // nil: it is open
	Wake      func() // called when a saga may be due
	Published func() // called when the outbox has got something to publish
	Metrics   *Metrics
	Log       *slog.Logger
}

// open reports whether a lane to PressOne is.
func (d *Desk) open(lane pressone.Lane) bool { return d.Gate == nil || d.Gate.ClosedFor(lane) <= 0 }

// paused lists the kinds of which nothing is submitted, for an operator has paused them.
func (d *Desk) paused() (kinds []message.Kind) {
	for _, k := range message.Kinds() {
		if d.Gate != nil && d.Gate.Paused(k) {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// NewDesk returns a desk.
func NewDesk(cfg Config) *Desk { return &Desk{Config: cfg, started: make(chan struct{}, 1)} }

// By is who acts, and why. Both are recorded.
type By struct {
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
}

// Result is what became of one letter.
type Result struct {
	ID        uuid.UUID    `json:"id"`
	SagaID    *uuid.UUID   `json:"saga_id"`
	Kind      message.Kind `json:"kind"`
	RequestID string       `json:"request_id"`
	PackageID string       `json:"package_id"`
	Code      string       `json:"code"`
	Done      bool         `json:"done"`
	To        string       `json:"to,omitempty"`     // where the saga went, or would go
	Why       string       `json:"why,omitempty"`    // why it was not done
	Failed    bool         `json:"failed,omitempty"` // not refused: it can be tried again
}

// ErrEmptyFilter refuses a replay of everything.
var ErrEmptyFilter = errors.New("deadletter: an empty filter is refused: name ids, a code, a class, a kind, a package, an iccid or an age")

// Refusal says why an action was refused; nothing was changed.
func Refusal(err error) (why string, ok bool) {
	if refused, is := errors.AsType[*saga.RefusedError](err); is {
		return refused.Why, true
	}
	if impossible, is := errors.AsType[*saga.TransitionError](err); is {
		return fmt.Sprintf("a saga that is %s cannot be %s", impossible.From, impossible.On), true
	}
	switch {
	case errors.Is(err, saga.ErrConflict):
		return "somebody else has moved it meanwhile", true
	case errors.Is(err, saga.ErrICCIDBusy):
		return "another top-up of this ICCID is in flight or unresolved: deal with that one first", true
	case errors.Is(err, saga.ErrOrderOwned):
		return "another saga owns that PressOne order", true
	}
	return "", false
}

// ErrTooMany refuses a replay of more than one can hold.
var ErrTooMany = fmt.Errorf("deadletter: more than %d letters match: narrow the filter", mostLetters)

// Replay replays one letter at once, by itself, and says what became of it. Many are
// replayed by a job: see Start.
func (d *Desk) Replay(ctx context.Context, id uuid.UUID, by By) (Result, error) {
	l, err := d.Get(ctx, id)
	if err != nil {
		return Result{}, err
	}
	r := Result{
		ID: l.ID, SagaID: l.SagaID, Kind: l.Kind, RequestID: l.RequestID, PackageID: l.PackageID, Code: l.Code,
		Why: refusal(l, true),
	}
	if r.Why == "" {
		d.replay(ctx, l, by, &r)
	}
	return r, nil
}

// refusal says why a letter cannot be replayed, or nothing.
func refusal(l Letter, single bool) string {
	switch {
	case l.Status != "open":
		return fmt.Sprintf("it was %s at %s by %s", l.Status, l.ResolvedAt.UTC().Format(time.RFC3339), l.Actor)
	case l.Class == saga.ClassExpired:
		return "whether it was bought is not on record any more: if upstream has no result for it, it should send it again, as a new message"
	case !l.Replayable:
		return "the eSIM was recycled: nothing can be bought for it"
	case l.Code == saga.CodeOutcomeUnknown && !single:
		return "whether it was bought is not known: replay it by itself, adopt the order, or confirm its absence"
	}
	return ""
}

// destination is where a replay would go.
func destination(l Letter) string {
	switch {
	case l.SagaID == nil:
		return message.RequestSubject(l.Kind)
	case l.Purchased == message.PurchasedYes:
		return string(saga.Polling)
	case l.Purchased == message.PurchasedUnknown:
		return string(saga.Unknown)
	}
	return string(saga.Pending)
}

func (d *Desk) replay(ctx context.Context, l Letter, by By, r *Result) {
	var to saga.State
	var err error
	if l.SagaID == nil {
		to, err = saga.State(message.RequestSubject(l.Kind)), d.Resubmit(ctx, l.ID, nil, by)
	} else {
		to, err = d.act(ctx, *l.SagaID, l.ID, saga.Event{Name: saga.Replayed, Actor: by.Actor, Reason: by.Reason})
	}
	if err == nil {
		r.Done, r.To = true, string(to)
		d.Metrics.count(Released, 1)
		return
	}
	why, refused := Refusal(err)
	fate := Refused
	if !refused {
		why, fate = err.Error(), Failed
		d.Log.ErrorContext(ctx, "replay", "dead_letter_id", l.ID, "err", err)
	}
	d.Metrics.count(fate, 1)
	r.Why, r.Failed = why, !refused
}

// Adopt gives a saga the PressOne order that is its purchase: a dead-lettered one, or one that
// waits to be submitted, as after the database was restored from an older point. PressOne is
// asked for the order first.
func (d *Desk) Adopt(ctx context.Context, id, letter uuid.UUID, order int64, by By) (saga.State, error) {
	s, err := d.Store.Get(ctx, id)
	if err != nil {
		return "", err
	}
	o, err := d.Provider.Order(ctx, order)
	if err != nil {
		if pressone.Hidden(err) {
			return "", &saga.RefusedError{Why: fmt.Sprintf("PressOne does not show order %d: %v", order, err)}
		}
		return "", fmt.Errorf("deadletter: PressOne could not be asked for order %d: %w", order, err)
	}
	lost, err := d.lostReference(ctx, o)
	if err != nil {
		return "", err
	}
	as := s
	if lost != "" {
		as.Reference = lost
	}
	if why := as.Unlike(o); why != "" {
		return "", &saga.RefusedError{Why: why}
	}
	e := saga.Event{
		Name: saga.Adopted, Actor: by.Actor, Reason: by.Reason, Purchase: &saga.Purchase{Order: o},
		Seen: fmt.Sprintf("order %d (%s)", o.ID, o.Code),
	}
	if s.State == saga.Pending {
		e.Name = saga.Found
	}
	return d.act(ctx, id, letter, e)
}

const referencesSQL = `
SELECT EXISTS (SELECT FROM saga WHERE reference = $1)`

// lostReference is the reference that an order bears, if no saga has it any more: the saga is
// older than RETENTION, or was lost with a database, and the request has another one now.
func (d *Desk) lostReference(ctx context.Context, o pressone.Order) (string, error) {
	refs, exact := saga.References(o)
	if !exact {
		return "", nil
	}
	var known bool
	if err := d.DB.QueryRow(ctx, referencesSQL, refs[0]).Scan(&known); err != nil {
		return "", fmt.Errorf("deadletter: %w", err)
	}
	if known {
		return "", nil
	}
	return refs[0], nil
}

// ConfirmAbsent records that an operator has checked with PressOne that nothing was
// bought; the saga is submitted again.
func (d *Desk) ConfirmAbsent(ctx context.Context, id, letter uuid.UUID, by By) (saga.State, error) {
	return d.act(ctx, id, letter, saga.Event{Name: saga.ConfirmedAbsent, Actor: by.Actor, Reason: by.Reason})
}

// DiscardSaga closes a dead-lettered saga for good.
func (d *Desk) DiscardSaga(ctx context.Context, id, letter uuid.UUID, by By) (saga.State, error) {
	return d.act(ctx, id, letter, saga.Event{Name: saga.WasDiscarded, Actor: by.Actor, Reason: by.Reason})
}

// act does one thing to one saga, about the stop that the operator has seen: its dead
// letter. A saga that has gone on and stopped again is another matter, and what was
// checked about the first stop says nothing about the second.
func (d *Desk) act(ctx context.Context, id, letter uuid.UUID, e saga.Event) (saga.State, error) {
	return d.actWith(ctx, id, letter, e, d.Store.Apply)
}

// actWith is act with a way to commit what was decided.
func (d *Desk) actWith(
	ctx context.Context, id, letter uuid.UUID, e saga.Event, apply func(context.Context, saga.Decision) error,
) (saga.State, error) {
	s, err := d.Store.Get(ctx, id)
	if err != nil {
		return "", err
	}
	if current := s.DeadLetter(); current != letter && s.State == saga.DeadLettered {
		return "", &saga.RefusedError{Why: fmt.Sprintf("it has stopped more than once, and its open dead letter is %s: look at that one, and name it", current)}
	}
	now, err := d.Store.Now(ctx)
	if err != nil {
		return "", err
	}
	decision, err := d.Policy.Decide(s, e, now, rand.Float64())
	if err != nil {
		return "", err
	}
	if err := apply(ctx, decision); err != nil {
		return "", err
	}
	d.Log.InfoContext(ctx, "operator acted", "saga_id", id, "event", e.Name, "to", decision.After.State,
		"actor", e.Actor, "reason", e.Reason)
	d.Wake()
	d.Published()
	return decision.After.State, nil
}
