package ops

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"esimflow/internal/audit"
	"esimflow/internal/deadletter"
	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// APIConfig is what the API works with.
type APIConfig struct {
	Access

	DB      *pgxpool.Pool
	Desk    *deadletter.Desk
	Auditor *audit.Auditor
	Store   *saga.Store
	Gate    *pressone.Gate
	Log     *slog.Logger
}

type api struct{ APIConfig }

// mostJSON is how long a body may be: a request that is edited, in base64, and room.
const mostJSON = 1 << 20

// newAPI serves what esimctl asks of a worker.
func newAPI(cfg APIConfig, g *guard) http.Handler {
	a := api{cfg}
	mux := http.NewServeMux()
	for _, rt := range apiRoutes {
		mux.HandleFunc(rt.Pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, mostJSON)
			v, err := a.handle(g, rt, r)
			a.answer(w, r, v, err)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		_, err := g.bearer(r)
		if err == nil {
			err = notFoundError("there is nothing at " + r.URL.Path)
		}
		a.answer(w, r, nil, err)
	})
	return mux
}

// handle lets whoever may use a route use it, and records what acts.
func (a api) handle(g *guard, rt apiRoute, r *http.Request) (v any, err error) {
	who, err := g.bearer(r)
	if err != nil {
		return nil, err
	}
	if err := g.may(atAPI, who, rt.Route); err != nil {
		return nil, err
	}
	if rt.Does == "" {
		return rt.serve(a, r)
	}
	in, err := askedInJSON(r)
	if err != nil {
		return nil, err
	}
	if in.DryRun && rt.Does == didReplayLetter {
		return rt.serve(a, r)
	}
	err = a.recorded().actWith(r, who, rt.Route, in, func(r *http.Request) error {
		v, err = rt.serve(a, r)
		return err
	})
	return v, err
}

func (c APIConfig) recorded() Trail { return Trail{DB: c.DB, Log: c.Log} }

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

// retryAfter is when one more try is allowed, in seconds.
var retryAfter = strconv.Itoa(int(triesEvery.Seconds()))

func (a api) answer(w http.ResponseWriter, r *http.Request, v any, err error) {
	status, body := http.StatusOK, v
	if err != nil {
		p := problemOf(err)
		p.Error = hide(p.Error)
		status, body = p.status, p
		if status == http.StatusInternalServerError {
			a.Log.ErrorContext(r.Context(), "api", "path", r.URL.Path, "err", err)
		}
		switch status {
		case http.StatusUnauthorized:
			w.Header().Set("WWW-Authenticate", "Bearer")
		case http.StatusTooManyRequests:
			w.Header().Set("Retry-After", retryAfter)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // the reader is gone, or nothing can be said to it
}

func checkJSON(r *http.Request) error {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return usageError("the content type has to be application/json")
	}
	return nil
}

func decode(r *http.Request, into any) error {
	if err := checkJSON(r); err != nil {
		return err
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return unreadable(err)
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
