package pressone

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Disposition says what is known about a failed call. It states a fact, not a policy: what to do about it is decided
// elsewhere.
type Disposition int

// The dispositions. The zero value is the most cautious one.
const (
	// Unknown means that the call may or may not have taken effect; also whatever nobody classified.
	Unknown Disposition = iota
	// NotApplied means that the call provably had no effect: sending it again is safe.
	NotApplied
	// Refused means that PressOne understood the call and declined it: the same call gets the same answer.
	Refused
)

// String returns the disposition as metrics and logs name it.
func (d Disposition) String() string {
	switch d {
	case Unknown:
		return "unknown"
	case NotApplied:
		return "not_applied"
	case Refused:
		return "refused"
	}
	return "unknown"
}

// Operation names a call, for errors and metrics.
type Operation string

// The operations: two that spend money, the token, and those that read.
const (
	OpSubmitOrder  Operation = "submit_order"
	OpSubmitTopup  Operation = "submit_topup"
	OpToken        Operation = "token"
	OpListOrders   Operation = "list_orders"
	OpGetOrder     Operation = "get_order"
	OpGetSim       Operation = "get_sim"
	OpListTopups   Operation = "list_topups"
	OpGetBalance   Operation = "get_balance"
	OpListPackages Operation = "list_packages"
)

// operations lists them all, for metrics.
var operations = []Operation{
	OpSubmitOrder, OpSubmitTopup, OpToken, OpListOrders, OpGetOrder, OpGetSim, OpListTopups, OpGetBalance, OpListPackages,
}

// Error is what is known about a call that did not succeed.
type Error struct {
	Disposition Disposition
	Operation   Operation
	// Status is the HTTP status; 0 when no answer came.
	Status int
	// Code is PressOne's code as text, letters, digits, dash and underscore only, so that it can be part of a subject; ""
	// when the answer had none.
	Code string
	// Reason is one short line for people: at most 200 runes, without control characters and without secrets.
	Reason string
	// Fields are the keys of data in an answer about fields, in order, e.g. "quantity".
	Fields []string
	// Answered says that PressOne itself answered (a body with a code): the request has ended, whatever came of it.
	Answered bool
	// Account says that the failure concerns the account (credentials, allow-list), not this request.
	Account bool
	// Limited says that the account's rate limit was hit; see RetryAfter.
	Limited bool
	// Maintenance says that the operator is under maintenance: back off ten times as slow.
	Maintenance bool
	// NotSent says that not one byte of the request was written to a connection.
	NotSent bool
	// Lost says that nobody answered, and that this was not our doing: no connection, one that broke, a time-out.
	Lost bool
	// RetryAfter is how long PressOne asked to wait; 0 when it did not say.
	RetryAfter time.Duration
	// Raw is the whole body (at most 1 MiB) of an answer to a submission that may be a success: a 2xx that could not be
	// understood, or an order under another status. It may hold activation codes; it is to be kept, and never printed.
	Raw []byte `json:"-"`
	// Err is the cause, if there is one.
	Err error
}

// Causes that callers may want to tell apart with errors.Is.
var (
	// ErrInvalid means that the call was refused here, before anything was sent: a required value is missing or malformed.
	ErrInvalid = errors.New("invalid argument")
	// ErrIncomplete means that a list could not be read to its end, so that nothing may be concluded from it.
	ErrIncomplete = errors.New("list is incomplete")
	// ErrUnreadable means that a successful answer could not be understood.
	ErrUnreadable = errors.New("answer cannot be understood")
	// ErrGateClosed means that a lane of the gate is closed, so that no call was made.
	ErrGateClosed = errors.New("gate is closed")
)

// DispositionOf reports what is known about err; anything that is not an *Error is Unknown.
func DispositionOf(err error) Disposition {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Disposition
	}
	return Unknown
}

// Error describes the failure in one line that holds no secret.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("pressone: ")
	b.WriteString(string(e.Operation))
	switch {
	case e.Status != 0:
		fmt.Fprintf(&b, ": http %d", e.Status)
	case e.NotSent:
		b.WriteString(": not sent")
	default:
		b.WriteString(": no answer")
	}
	if e.Code != "" {
		b.WriteString(" code " + e.Code)
	}
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	if len(e.Fields) > 0 {
		b.WriteString(" (" + strings.Join(e.Fields, ", ") + ")")
	}
	if e.Err != nil {
		b.WriteString(": " + clean(e.Err.Error()))
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Format prints the error as Error does whatever the verb, so that no verb prints Raw.
func (e *Error) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, e.Error()) }

// DeadLetterCode returns the code under which a refusal is kept: PressOne's own, or http_<status> for an answer without
// one, or "" when nothing answered (the reason is then ours to name).
func (e *Error) DeadLetterCode() string {
	switch {
	case e.Code != "":
		return e.Code
	case e.Status != 0:
		return "http_" + strconv.Itoa(e.Status)
	}
	return ""
}

// The reason classes: what kind of refusal it was, and so under which rules it may be replayed.
const (
	ClassInsufficientCredit = "insufficient_credit"
	ClassOutOfStock         = "out_of_stock"
	ClassRecycled           = "recycled"
	ClassRejected           = "rejected"
)

// Class returns the reason class of a refusal.
func (e *Error) Class() string {
	switch {
	case e.Status == 402 || e.Code == codeInsufficientCredit || e.Code == codePaymentRequired:
		return ClassInsufficientCredit
	case e.Code == codeOutOfStock:
		return ClassOutOfStock
	case e.Status == 422 && e.Code == "" && slices.Contains(e.Fields, "quantity"):
		return ClassOutOfStock
	case e.Code == codeRecycled:
		return ClassRecycled
	}
	return ClassRejected
}

// invalid is a call that was refused here.
func invalid(op Operation, what string) *Error {
	return &Error{
		Disposition: Refused, Operation: op, NotSent: true,
		Err: fmt.Errorf("%w: %s", ErrInvalid, what),
	}
}

// Hidden reports that a read came to nothing because PressOne has no such thing for us: a definite no, or the 401 that it
// answers for orders of other accounts.
func Hidden(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Disposition == Refused || e.Status == http.StatusUnauthorized && !e.Account)
}
