package ops

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"esimflow/internal/audit"
	"esimflow/internal/deadletter"
	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// APIConfig is what the API works with.
type APIConfig struct {
	Token   string // empty: none is asked for, and only loopback is answered
	Desk    *deadletter.Desk
	Auditor *audit.Auditor
	Store   *saga.Store
	Gate    *pressone.Gate
	Log     *slog.Logger
}

// Problem is the body of every answer that is not a success.
type Problem struct {
	Kind  string `json:"kind"` // usage, unauthorized, not_found, refused, failed
	Error string `json:"error"`
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
	handle("GET /api/v1/dead-letter-groups", a.groups)
	handle("POST /api/v1/dead-letters/{id}/resubmit", a.resubmit)
	handle("POST /api/v1/replays/preview", a.previewReplay)
	handle("POST /api/v1/replays", a.startReplay)
	handle("GET /api/v1/replays", a.replays)
	handle("GET /api/v1/replays/{id}", a.replayOf)
	handle("POST /api/v1/replays/{id}/abort", a.abortReplay)
	handle("GET /api/v1/audits", a.audits)
	handle("POST /api/v1/audits", a.startAudit)
	handle("GET /api/v1/audits/{id}", a.audit)
	handle("GET /api/v1/audit-findings", a.findings)
	handle("POST /api/v1/audit-findings/{id}/dismiss", a.dismiss)
	handle("POST /api/v1/privacy/export", a.exportData)
	handle("POST /api/v1/privacy/erase", a.eraseData)
	handle("GET /api/v1/gate", a.gate)
	handle("GET /api/v1/gate/trail", a.gateTrail)
	handle("POST /api/v1/gate/pause", a.pause)
	handle("POST /api/v1/gate/resume", a.resume)
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
	if !loopbackHost(r.Host) || r.Header.Get("Origin") != "" {
		return errNotLoopback
	}
	return nil
}

// loopbackHost reports whether a request names this machine as itself. Another name may be
// somebody's who has pointed it here.
func loopbackHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (a api) answer(w http.ResponseWriter, r *http.Request, v any, err error) {
	status, body := http.StatusOK, v
	if err != nil {
		p := Problem{Kind: "failed", Error: err.Error()}
		why, refused := deadletter.Refusal(err)
		_, usage := errors.AsType[usageError](err)
		paused, _ := errors.AsType[*pressone.PausedError](err)
		unaudited, _ := errors.AsType[*audit.RefusedError](err)
		_, missing := errors.AsType[notFoundError](err)
		switch {
		case errors.Is(err, errUnauthorized), errors.Is(err, errNotLoopback):
			status, p.Kind = http.StatusUnauthorized, "unauthorized"
		case usage, errors.Is(err, deadletter.ErrEmptyFilter), errors.Is(err, deadletter.ErrTooMany), errors.Is(err, deadletter.ErrRate):
			status, p.Kind = http.StatusBadRequest, "usage"
		case missing, errors.Is(err, saga.ErrNotFound), errors.Is(err, deadletter.ErrNotFound), errors.Is(err, deadletter.ErrNoReplay), errors.Is(err, deadletter.ErrNoneMatch),
			errors.Is(err, audit.ErrNotFound):
			status, p.Kind = http.StatusNotFound, "not_found"
		case paused != nil:
			status, p = http.StatusConflict, Problem{Kind: "refused", Error: paused.Why}
		case unaudited != nil:
			status, p = http.StatusConflict, Problem{Kind: "refused", Error: unaudited.Why}
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
