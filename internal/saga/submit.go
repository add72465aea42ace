package saga

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"syscall"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// prepare does what comes before a submission: the gate, a top-up's fresh list, the rate, and
// an access token. Only then the intent is committed, so that its time is not spent waiting.
func (r *Runner) prepare(ctx context.Context, s Saga) (Event, error) {
	if err := r.gate(pressone.LaneWrite); err != nil {
		return Event{}, err
	}
	if err := r.gateKind(s.Kind); err != nil {
		return Event{}, err
	}
	if s.Kind == message.Topup {
		if err := r.queue(ctx, s); err != nil {
			return Event{}, err
		}
		if e, err := r.precheck(ctx, s); err != nil || e.Name != "" {
			return e, err
		}
	}
	if err := r.Limiter.Wait(ctx); err != nil {
		return Event{}, err
	}
	if err := r.Provider.Authorize(ctx); err != nil { // an intent would come to nothing
		return Event{}, r.unauthorized(ctx, err)
	}
	if err := r.gateKind(s.Kind); err != nil { // either may have closed meanwhile
		return Event{}, err
	}
	pass, err := r.enter(ctx, s, pressone.LaneWrite)
	if err == nil && pass.Counted() {
		r.passes.put(s.ID, pass)
	}
	return Event{Name: SubmitStarted}, err
}

// queue postpones a top-up for as long as another one of its eSIM is in flight or
// unresolved. The unique index would stop it too, but only after asking PressOne.
func (r *Runner) queue(ctx context.Context, s Saga) error {
	until, busy, err := r.Store.Busy(ctx, s)
	if err != nil || !busy {
		return err
	}
	soon := r.Lease.Now().Add(r.Policy.retryDelay(1, rand.Float64(), false))
	if until.Before(soon) {
		until = soon
	}
	if late := r.Lease.Now().Add(r.Policy.longestSleep()); until.After(late) {
		until = late
	}
	return &postponeError{until: until}
}

// precheck asks PressOne which top-ups it offers for the eSIM: every time before one is
// ordered, and never from a cache (PressOne's own rule). No event: go on.
func (r *Runner) precheck(ctx context.Context, s Saga) (Event, error) {
	pass, err := r.enter(ctx, s, pressone.LaneRead)
	if err != nil {
		return Event{}, err
	}
	offers, err := r.Provider.Topups(ctx, s.ICCID)
	r.leave(ctx, pass, pressone.LaneRead, err)
	if ctx.Err() != nil {
		return Event{}, context.Cause(ctx)
	}
	if err != nil {
		e := failure(err)
		e.Name = PrecheckFailed
		if pressone.DispositionOf(err) == pressone.Refused {
			e.Name = PrecheckRefused
		}
		return e, nil
	}
	for _, p := range offers {
		if p.ID == s.PackageID {
			return Event{}, nil
		}
	}
	return Event{
		Name: PrecheckRefused, Code: CodePrecheck, Class: ClassNotOffered,
		Seen: fmt.Sprintf("PressOne offers %d top-ups for this eSIM, and %s is not among them", len(offers), s.PackageID),
	}, nil
}

// submit sends the one POST of an intent. It lives in work, not in ctx: shutting down
// does not cancel a POST, it only keeps one from being begun.
func (r *Runner) submit(ctx, work context.Context, s Saga) Event {
	if ctx.Err() != nil {
		return Event{Name: NotApplied, Free: true, Seen: "not sent: the worker is stopping"}
	}
	work, cancel := context.WithTimeout(work, s.IntentDeadline.Sub(r.Lease.Now()))
	defer cancel()
	pass, ok := r.passes.take(s.ID)
	if !ok {
		pass = r.Gate.Pass(pressone.LaneWrite) // nobody counted when its intent was committed
	}
	var receipt pressone.Receipt
	var err error
	switch s.Kind {
	case message.Order:
		receipt, err = r.Provider.SubmitOrder(work, r.Lease.guard(s), pressone.OrderRequest{
			PackageID: s.PackageID, Quantity: s.Quantity, Description: s.Reference,
		})
	case message.Topup:
		receipt, err = r.Provider.SubmitTopup(work, r.Lease.guard(s), pressone.TopupRequest{
			PackageID: s.PackageID, ICCID: s.ICCID, Description: s.Reference,
		})
	}
	r.leave(work, pass, pressone.LaneWrite, err)
	e := answered(s, receipt, err)
	if pass.Probe && (e.Name == NotApplied || e.Name == OutcomeUnknown) {
		e.Free = true // it was made for everybody. What it may have bought is looked for all the same
	}
	return e
}

// answered says what an answer to a submission, or the lack of one, means to the saga. It
// is the only switch on a submission's Disposition. An order that bears the reference of
// another saga is not ours, however it got here; ours has yet to be found.
func answered(s Saga, receipt pressone.Receipt, err error) Event {
	switch answer := (&Answer{Status: receipt.Status, Body: receipt.Raw}); {
	case err == nil && bearsReference(receipt.Order) && !Bears(receipt.Order, s.Reference):
		return Event{Name: OutcomeUnknown, Seen: fmt.Sprintf("order %d, which has another saga's reference", receipt.Order.ID), Answer: answer}
	case err == nil:
		return Event{
			Name: Submitted, Seen: describe(receipt.Order), Purchase: &Purchase{Order: receipt.Order, answered: true}, Answer: answer,
		}
	}
	e := failure(err)
	switch pressone.DispositionOf(err) {
	case pressone.NotApplied:
		e.Name = NotApplied
	case pressone.Refused:
		e.Name = Refused
	case pressone.Unknown:
		e.Name = OutcomeUnknown
	}
	return e
}

// failure carries what is known about a failed call over to an event without a name.
func failure(err error) Event {
	p, ok := errors.AsType[*pressone.Error](err)
	if !ok {
		return Event{Seen: "no answer: " + cause(err)}
	}
	e := Event{
		Code: p.DeadLetterCode(), Class: p.Class(), RetryAfter: p.RetryAfter,
		Slow: p.Maintenance, Ended: p.Answered,
		// What concerns the account, its rate limit included, or was never sent, is not this
		// request's fault.
		Free: p.Account || p.Limited || p.NotSent,
	}
	if len(p.Raw) > 0 {
		e.Answer = &Answer{Status: p.Status, Body: p.Raw}
	}
	switch {
	case p.Status != 0:
		e.Seen = fmt.Sprintf("HTTP %d", p.Status)
		if p.Code != "" {
			e.Seen += " code " + p.Code
		}
		if p.Reason != "" {
			e.Seen += ": " + p.Reason
		}
		if p.Status < 300 {
			e.Seen += ", an answer that cannot be understood"
		}
	case p.NotSent:
		e.Seen = "not sent: " + cause(p.Err)
	default:
		e.Seen = "no answer: " + cause(p.Err)
	}
	return e
}

// cause says in a few words why there was no answer, without addresses and ports.
func cause(err error) string {
	if err == nil {
		return "no reason given"
	}
	timeout, isNet := errors.AsType[net.Error](err)
	errno, isErrno := errors.AsType[syscall.Errno](err)
	_, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, ErrLeaseLost), errors.Is(err, context.Canceled):
		return "the worker had to stop"
	case isDNS:
		return "the host was not found"
	case errors.Is(err, context.DeadlineExceeded), isNet && timeout.Timeout():
		return "time-out"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection was lost"
	case isErrno:
		return errno.Error()
	}
	return err.Error()
}

// describe says in a few words what was bought, without what installs it.
func describe(o pressone.Order) string {
	text := fmt.Sprintf("order %d", o.ID)
	if o.Code != "" {
		text += " (" + o.Code + ")"
	}
	if o.Type != "topup" {
		text += fmt.Sprintf(", %d of %d eSIMs", len(o.Sims), o.Quantity)
	}
	if o.Price != "" {
		text += fmt.Sprintf(", %s %s", o.Price, o.Currency)
	}
	return text
}
