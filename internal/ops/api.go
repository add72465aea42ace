package ops

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"esimflow/internal/deadletter"
	"esimflow/internal/message"
	"esimflow/internal/saga"
)

// APIConfig is what the API works with.
type APIConfig struct {
	Token string // empty: none is asked for, and only loopback is answered
	Desk  *deadletter.Desk
	Store *saga.Store
	Log   *slog.Logger
}

// Problem is the body of every answer that is not a success.
type Problem struct {
	Kind  string `json:"kind"` // usage, unauthorized, not_found, refused, failed
	Error string `json:"error"`
}

// Action is the body of everything that changes a saga.
//
// DeadLetter is the stop that the actor has seen; without one, it is the last one, as long
// as the saga has stopped only once.
type Action struct {
	deadletter.By
	DeadLetter uuid.UUID `json:"dead_letter_id,omitzero"`
	OrderID    int64     `json:"order_id,omitempty"` // adopt
}

// ReplayRequest is the body of a replay.
type ReplayRequest struct {
	deadletter.Filter
	deadletter.By
	DryRun bool `json:"dry_run,omitempty"`
}

// SagaView is one saga with its timeline.
type SagaView struct {
	saga.Summary
	Price  string   `json:"price,omitempty"` // with currency
	Order  string   `json:"order,omitempty"` // PressOne's code
	ICCIDs []string `json:"iccids,omitempty"`
	// DeadLetter is the open letter of a saga that has stopped.
	DeadLetter *uuid.UUID   `json:"dead_letter_id,omitempty"`
	Timeline   []saga.Entry `json:"timeline"`
}

// Moved is the answer to an action.
type Moved struct {
	ID    uuid.UUID  `json:"id"`
	State saga.State `json:"state"`
}

type api struct{ APIConfig }

// API serves what esimctl asks of a worker.
func API(cfg APIConfig) http.Handler {
	a := api{cfg}
	mux := http.NewServeMux()
	handle := func(pattern string, h func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := a.admit(r); err != nil {
				a.answer(w, r, nil, err)
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
			v, err := h(r)
			a.answer(w, r, v, err)
		})
	}
	handle("GET /api/v1/sagas", a.sagas)
	handle("GET /api/v1/sagas/{id}", a.saga)
	handle("POST /api/v1/sagas/{id}/adopt", a.act(func(ctx context.Context, id uuid.UUID, in Action) (saga.State, error) {
		if in.OrderID <= 0 {
			return "", usageError("order_id is missing")
		}
		return a.Desk.Adopt(ctx, id, in.DeadLetter, in.OrderID, in.By)
	}))
	handle("POST /api/v1/sagas/{id}/confirm-absent", a.act(func(ctx context.Context, id uuid.UUID, in Action) (saga.State, error) {
		return a.Desk.ConfirmAbsent(ctx, id, in.DeadLetter, in.By)
	}))
	handle("POST /api/v1/sagas/{id}/discard", a.act(func(ctx context.Context, id uuid.UUID, in Action) (saga.State, error) {
		return a.Desk.DiscardSaga(ctx, id, in.DeadLetter, in.By)
	}))
	handle("GET /api/v1/dead-letters", a.letters)
	handle("GET /api/v1/dead-letters/{id}", a.letter)
	handle("POST /api/v1/dead-letters/replay", a.replay)
	handle("POST /api/v1/dead-letters/{id}/discard", a.discard)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.answer(w, r, nil, notFoundError("there is nothing at "+r.URL.Path))
	})
	return mux
}

type (
	usageError    string
	notFoundError string
)

func (e usageError) Error() string    { return string(e) }
func (e notFoundError) Error() string { return string(e) }

var (
	errUnauthorized = errors.New("the token is missing or wrong: set OPS_TOKEN to the worker's")
	errNotLoopback  = errors.New("without a token the API answers loopback addresses only, and no web pages")
)

// admit checks the token. Without one the API is on loopback; then a page in a browser on
// the same machine must not be able to use it, so only a loopback Host is answered.
func (a api) admit(r *http.Request) error {
	if a.Token != "" {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || subtle.ConstantTimeCompare([]byte(given), []byte(a.Token)) != 1 {
			return errUnauthorized
		}
		return nil
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); host != "localhost" && (ip == nil || !ip.IsLoopback()) || r.Header.Get("Origin") != "" {
		return errNotLoopback
	}
	return nil
}

func (a api) answer(w http.ResponseWriter, r *http.Request, v any, err error) {
	status, body := http.StatusOK, v
	if err != nil {
		p := Problem{Kind: "failed", Error: err.Error()}
		why, refused := deadletter.Refusal(err)
		_, usage := errors.AsType[usageError](err)
		_, missing := errors.AsType[notFoundError](err)
		switch {
		case errors.Is(err, errUnauthorized), errors.Is(err, errNotLoopback):
			status, p.Kind = http.StatusUnauthorized, "unauthorized"
		case usage, errors.Is(err, deadletter.ErrEmptyFilter), errors.Is(err, deadletter.ErrTooMany):
			status, p.Kind = http.StatusBadRequest, "usage"
		case missing, errors.Is(err, saga.ErrNotFound), errors.Is(err, deadletter.ErrNotFound):
			status, p.Kind = http.StatusNotFound, "not_found"
		case refused:
			status, p = http.StatusConflict, Problem{Kind: "refused", Error: why}
		default:
			status = http.StatusInternalServerError
			a.Log.ErrorContext(r.Context(), "api", "path", r.URL.Path, "err", err)
		}
		body = p
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // the reader is gone, or nothing can be said to it
}

func decode(r *http.Request, into any) error {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return usageError("the content type has to be application/json")
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return usageError("the body cannot be read: " + err.Error())
	}
	return nil
}

func checkBy(by deadletter.By) error {
	if strings.TrimSpace(by.Actor) == "" || strings.TrimSpace(by.Reason) == "" {
		return usageError("actor and reason are required: they are recorded")
	}
	return nil
}

func (a api) act(do func(context.Context, uuid.UUID, Action) (saga.State, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var in Action
		if err := decode(r, &in); err != nil {
			return nil, err
		}
		if err := checkBy(in.By); err != nil {
			return nil, err
		}
		s, err := a.find(r.Context(), r.PathValue("id"))
		if err != nil {
			return nil, err
		}
		if in.DeadLetter == uuid.Nil && s.Ends == 1 {
			in.DeadLetter = saga.Saga{ID: s.ID, Ends: s.Ends}.DeadLetter()
		}
		state, err := do(r.Context(), s.ID, in)
		return Moved{ID: s.ID, State: state}, err
	}
}

// find takes a saga's id, or a request id if only one saga has it.
func (a api) find(ctx context.Context, id string) (saga.Summary, error) {
	f := saga.ListFilter{RequestID: id, Limit: 2}
	if parsed, err := uuid.Parse(id); err == nil {
		f = saga.ListFilter{ID: &parsed, Limit: 1}
	}
	all, err := a.Store.List(ctx, f)
	switch {
	case err != nil:
		return saga.Summary{}, err
	case len(all) == 0:
		return saga.Summary{}, notFoundError(fmt.Sprintf("there is no saga with id or request id %q", id))
	case len(all) > 1:
		return saga.Summary{}, usageError(fmt.Sprintf("an order and a top-up have request id %q: give the saga's id", id))
	}
	return all[0], nil
}

func (a api) sagas(r *http.Request) (any, error) {
	q := r.URL.Query()
	f := saga.ListFilter{
		Kind: message.Kind(q.Get("kind")), State: saga.State(q.Get("state")),
		RequestID: q.Get("request_id"), ICCID: q.Get("iccid"),
	}
	var err error
	if f.Limit, err = limit(q.Get("limit")); err != nil {
		return nil, err
	}
	if n := q.Get("order_id"); n != "" {
		if f.OrderID, err = strconv.ParseInt(n, 10, 64); err != nil {
			return nil, usageError("order_id has to be a number")
		}
	}
	return a.Store.List(r.Context(), f)
}

func (a api) saga(r *http.Request) (any, error) {
	s, err := a.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	whole, err := a.Store.Get(r.Context(), s.ID)
	if err != nil {
		return nil, err
	}
	v := SagaView{Summary: s}
	if whole.State == saga.DeadLettered {
		id := whole.DeadLetter()
		v.DeadLetter = &id
	}
	if p := whole.Purchase; p != nil {
		v.Order = p.Order.Code
		v.Price = fmt.Sprintf("%s %s", p.Order.Price, p.Order.Currency)
		for _, sim := range p.Order.Sims {
			v.ICCIDs = append(v.ICCIDs, sim.ICCID)
		}
	}
	v.Timeline, err = a.Store.Timeline(r.Context(), s.ID)
	return v, err
}

func (a api) letters(r *http.Request) (any, error) {
	q := r.URL.Query()
	f := deadletter.Filter{
		Kind: message.Kind(q.Get("kind")), Code: q.Get("code"), Class: q.Get("class"),
		Package: q.Get("package"), ICCID: q.Get("iccid"),
	}
	n, err := limit(q.Get("limit"))
	if err != nil {
		return nil, err
	}
	if older := q.Get("older"); older != "" {
		if f.Older, err = time.ParseDuration(older); err != nil {
			return nil, usageError("older has to be a duration, like 1h30m")
		}
	}
	status := q.Get("status")
	switch status {
	case "any":
		status = ""
	case "":
		status = "open"
	}
	return a.Desk.List(r.Context(), f, status, n)
}

func (a api) letter(r *http.Request) (any, error) {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		return nil, notFoundError(fmt.Sprintf("%q is not the id of a dead letter", r.PathValue("id")))
	}
	return a.Desk.Get(r.Context(), id)
}

func (a api) replay(r *http.Request) (any, error) {
	var in ReplayRequest
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if !in.DryRun {
		if err := checkBy(in.By); err != nil {
			return nil, err
		}
	}
	results, err := a.Desk.Replay(r.Context(), in.Filter, in.By, in.DryRun)
	if err == nil && len(in.IDs) > 0 && len(results) == 0 {
		return nil, deadletter.ErrNotFound
	}
	return results, err
}

func (a api) discard(r *http.Request) (any, error) {
	var in Action
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if err := checkBy(in.By); err != nil {
		return nil, err
	}
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		return nil, notFoundError(fmt.Sprintf("%q is not the id of a dead letter", r.PathValue("id")))
	}
	return struct {
		ID     uuid.UUID `json:"id"`
		Status string    `json:"status"`
	}{id, "discarded"}, a.Desk.Discard(r.Context(), id, in.By)
}

// limit reads how many rows are wanted.
func limit(s string) (int, error) {
	if s == "" {
		return 100, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 10_000 {
		return 0, usageError("limit has to be 1 to 10000")
	}
	return n, nil
}
