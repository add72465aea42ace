package ops

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"esimflow/internal/audit"
	"esimflow/internal/deadletter"
	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// Problem is the body of every answer that is not a success.
type Problem struct {
	Kind  string `json:"kind"` // usage, unauthorized, forbidden, limited, not_found, refused, failed
	Error string `json:"error"`

	status int
	title  string // for people
}

type (
	usageError    string
	notFoundError string
	tooLargeError string
)

func (e usageError) Error() string    { return string(e) }
func (e notFoundError) Error() string { return string(e) }
func (e tooLargeError) Error() string { return string(e) }

// idOf is the id in a request's address, of what.
func idOf(r *http.Request, what string) (uuid.UUID, error) {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		return id, notFoundError(fmt.Sprintf("%q is not the id of %s", r.PathValue("id"), what))
	}
	return id, nil
}

// unreadable is why a body cannot be read.
func unreadable(err error) error {
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLargeError("the body is larger than " + num(large.Limit) + " bytes")
	}
	return usageError("the body cannot be read: " + err.Error())
}

// noText is what Postgres says of bytes that are not UTF-8, or hold a NUL. Wherever in a
// request they were, whoever has sent it can help that, and the worker cannot.
const noText = "22021"

var errForeign = errors.New("this came from another site, and is not done")

// problemOf is what to say about an error. A status of 500 or more is for the log.
func problemOf(err error) Problem {
	why, refused := deadletter.Refusal(err)
	_, usage := errors.AsType[usageError](err)
	_, missing := errors.AsType[notFoundError](err)
	_, large := errors.AsType[tooLargeError](err)
	paused, _ := errors.AsType[*pressone.PausedError](err)
	unaudited, _ := errors.AsType[*audit.RefusedError](err)
	stored, _ := errors.AsType[*pgconn.PgError](err)
	switch {
	case errors.Is(err, errForeign):
		return Problem{"forbidden", err.Error(), http.StatusForbidden, "Not from here"}
	case errors.Is(err, errForbidden):
		return Problem{"forbidden", err.Error(), http.StatusForbidden, "Not for viewers"}
	case errors.Is(err, errLimited):
		return Problem{"limited", err.Error(), http.StatusTooManyRequests, "Too often"}
	case errors.Is(err, errUnauthorized), errors.Is(err, errNotLoopback):
		return Problem{"unauthorized", err.Error(), http.StatusUnauthorized, "Only on this machine"}
	case large:
		return Problem{"usage", err.Error(), http.StatusRequestEntityTooLarge, "That is too much"}
	case usage, errors.Is(err, deadletter.ErrEmptyFilter), errors.Is(err, deadletter.ErrTooMany), errors.Is(err, deadletter.ErrRate):
		return Problem{"usage", err.Error(), http.StatusBadRequest, "That cannot be asked"}
	case stored != nil && stored.Code == noText:
		return Problem{"usage", "there is something in it that is no text", http.StatusBadRequest, "That cannot be asked"}
	case errors.Is(err, saga.ErrTooMuch):
		return Problem{"failed", err.Error(), http.StatusServiceUnavailable, "Too much to look through"}
	case missing, errors.Is(err, saga.ErrNotFound), errors.Is(err, deadletter.ErrNotFound), errors.Is(err, deadletter.ErrNoReplay),
		errors.Is(err, deadletter.ErrNoneMatch), errors.Is(err, audit.ErrNotFound):
		return Problem{"not_found", err.Error(), http.StatusNotFound, "Nothing here"}
	case paused != nil:
		return Problem{"refused", paused.Why, http.StatusConflict, "Refused"}
	case unaudited != nil:
		return Problem{"refused", unaudited.Why, http.StatusConflict, "Refused"}
	case refused:
		return Problem{"refused", why, http.StatusConflict, "Refused"}
	}
	return Problem{"failed", err.Error(), http.StatusInternalServerError, "That did not work"}
}
