package ops

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"esimflow/internal/audit"
	"esimflow/internal/deadletter"
	"esimflow/internal/outbox"
	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// ConsoleConfig is what the console works with, beside what the API does.
type ConsoleConfig struct {
	APIConfig

	DB     *pgxpool.Pool
	Lag    func(context.Context) ([]IntakeLag, error) // nil: intake is not shown
	Gather prometheus.Gatherer                        // what was measured: balance, exposure; nil: they are not shown
	Now    func() time.Time                           // Postgres's time
}

// IntakeLag is what waits on a stream of requests.
type IntakeLag struct {
	Consumer   string
	Waiting    uint64 // not delivered yet
	InHand     int    // delivered, and not acknowledged
	Redelivers int    // of them: not for the first time
}

//go:embed console
var consoleFiles embed.FS

// console is the operators' pages.
type console struct {
	ConsoleConfig

	pages    map[string]*template.Template
	door     *door
	overview cached[overviewView]
	open     cached[int]
}

// policy lets a page load what this program serves, and nothing else: no script or style in
// the page itself, nobody else's frame around it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Handler serves the API under /api/, and the console everywhere else.
func Handler(cfg ConsoleConfig) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/", API(cfg.APIConfig))
	mux.Handle("/", Console(cfg))
	return mux
}

// Console serves the operators' pages. They can be read without JavaScript; with it they
// keep themselves up to date.
func Console(cfg ConsoleConfig) http.Handler {
	c := &console{ConsoleConfig: cfg, pages: parsePages(cfg.Now), door: newDoor(cfg.Token)}
	c.overview.max, c.open.max = 3*time.Second, 3*time.Second

	mux := http.NewServeMux()
	page := func(pattern string, h func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if !c.admitted(w, r) {
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, 2<<20)
			if err := h(w, r); err != nil {
				c.fail(w, r, err)
			}
		})
	}
	page("GET /{$}", c.showOverview)
	page("GET /sagas", c.showSagas)
	page("GET /sagas/{id}", c.showSaga)
	page("POST /sagas/{id}/reveal", c.reveal)
	page("POST /sagas/{id}/adopt", c.adopt)
	page("POST /sagas/{id}/confirm-absent", c.confirmAbsent)
	page("GET /dead-letters", c.showLetters)
	page("GET /dead-letters/{id}", c.showLetter)
	page("POST /dead-letters/{id}/discard", c.discardLetter)
	page("GET /audit", c.showAudit)
	page("POST /audit", c.startAudit)
	page("POST /audit/findings/{id}/dismiss", c.dismiss)
	page("GET /trail", c.showTrail)
	c.replayPages(page)
	page("POST /gate", c.moveGate)
	page("/", func(_ http.ResponseWriter, r *http.Request) error {
		return notFoundError("there is nothing at " + r.URL.Path)
	})

	mux.HandleFunc("GET /log-in", c.showLogIn)
	mux.HandleFunc("POST /log-in", c.logIn)
	mux.HandleFunc("POST /log-out", c.logOut)
	mux.HandleFunc("POST /theme", c.setTheme)
	assets, err := fs.Sub(consoleFiles, "console/assets")
	if err != nil {
		panic(err) // the directory is embedded
	}
	mux.Handle("GET /assets/", cachedFor(time.Hour, http.StripPrefix("/assets/", http.FileServerFS(assets))))

	strangers := http.NewCrossOriginProtection()
	strangers.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.fail(w, r, errForeign)
	}))
	return headers(strangers.Handler(mux))
}

func headers(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		set := w.Header().Set
		set("Content-Security-Policy", policy)
		set("X-Content-Type-Options", "nosniff")
		set("Referrer-Policy", "same-origin")
		set("Cross-Origin-Opener-Policy", "same-origin")
		set("Cross-Origin-Resource-Policy", "same-origin")
		set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

func cachedFor(d time.Duration, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(d.Seconds())))
		h.ServeHTTP(w, r)
	})
}

// view is what every page is made of.
type view struct {
	Title   string
	Section string // of the navigation
	Path    string // of this page, to come back to
	Theme   string // light, dark, or empty: as the system has it
	Who     string // is signed in, or has acted last; may be empty
	Door    bool   // whether there is signing in, and so out
	Open    int    // dead letters that wait for an operator
	Notice  string // what was just done
	Refresh int    // seconds after which a browser without JavaScript loads the page again; 0: never
	Data    any
}

// notices are what a page may say was just done, by the word in its address.
var notices = map[string]string{
	"discarded":  "Discarded. It is on record with your name.",
	"adopted":    "Adopted. The saga goes on from the order.",
	"confirmed":  "Confirmed absent. The saga is submitted again.",
	"dismissed":  "Dismissed. The audit will not open it again.",
	"audit":      "An audit was asked for. It appears below as it goes on.",
	"started":    "Started. It goes on without this page.",
	"aborted":    "Aborted. What was released stays released.",
	"resubmit":   "Published as a new request.",
	"paused":     "Paused. What waits in front of it spends no attempt.",
	"resumed":    "Resumed.",
	"logged-out": "You are logged out.",
}

// show renders a page.
func (c *console) show(w http.ResponseWriter, r *http.Request, status int, name string, v view) error {
	v.Path = r.URL.RequestURI()
	if r.Method != http.MethodGet {
		v.Path = cmpOr(localPath(r.PostFormValue("back")), "/")
	}
	v.Theme, v.Door = themeOf(r), c.door != nil
	if v.Who == "" {
		v.Who = c.who(r)
	}
	if v.Notice == "" {
		v.Notice = notices[r.URL.Query().Get("did")]
	}
	if v.Section != "" && v.Section != "door" {
		v.Open, _ = c.open.get(r.Context(), c.Desk.Open) // it adorns the page
	}
	var page bytes.Buffer
	if err := c.pages[name].ExecuteTemplate(&page, "layout", v); err != nil {
		return fmt.Errorf("ops: page %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // the reader is gone, or nothing can be said to it
	return nil
}

var errForeign = errors.New("this came from another site, and is not done")

// fail shows why something could not be done. What the reader cannot help is logged.
func (c *console) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, title, why := http.StatusInternalServerError, "That did not work", "The worker could not do that. Its log says why; trying again is safe."
	refusedWhy, refused := deadletter.Refusal(err)
	_, usage := errors.AsType[usageError](err)
	unaudited, _ := errors.AsType[*audit.RefusedError](err)
	_, missing := errors.AsType[notFoundError](err)
	paused, _ := errors.AsType[*pressone.PausedError](err)
	switch {
	case errors.Is(err, errForeign):
		status, title, why = http.StatusForbidden, "Not from here", err.Error()
	case errors.Is(err, errNotLoopback):
		status, title, why = http.StatusUnauthorized, "Only on this machine", "Without OPS_TOKEN the console answers loopback addresses only."
	case usage, errors.Is(err, deadletter.ErrEmptyFilter), errors.Is(err, deadletter.ErrTooMany), errors.Is(err, deadletter.ErrRate):
		status, title, why = http.StatusBadRequest, "That cannot be asked", plain(err)
	case errors.Is(err, saga.ErrTooMuch):
		status, title, why = http.StatusServiceUnavailable, "Too much to look through", plain(err)
	case missing, errors.Is(err, saga.ErrNotFound), errors.Is(err, deadletter.ErrNotFound),
		errors.Is(err, deadletter.ErrNoReplay), errors.Is(err, audit.ErrNotFound):
		status, title, why = http.StatusNotFound, "Nothing here", plain(err)
	case unaudited != nil:
		status, title, why = http.StatusConflict, "Refused", unaudited.Why
	case paused != nil:
		status, title, why = http.StatusConflict, "Refused", paused.Why
	case refused:
		status, title, why = http.StatusConflict, "Refused", refusedWhy
	default:
		c.Log.ErrorContext(r.Context(), "console", "path", r.URL.Path, "err", err)
	}
	back := localPath(r.PostFormValue("back"))
	if err := c.show(w, r, status, "error", view{Title: title, Data: errorView{Why: why, Back: back}}); err != nil {
		c.Log.ErrorContext(r.Context(), "console", "path", r.URL.Path, "err", err)
		http.Error(w, title, http.StatusInternalServerError)
	}
}

type errorView struct{ Why, Back string }

// plain is an error without the package that it comes from.
func plain(err error) string {
	_, text, found := strings.Cut(err.Error(), ": ")
	if !found || strings.Contains(strings.TrimSuffix(err.Error(), ": "+text), " ") {
		text = err.Error()
	}
	return text
}

// back sends the browser to a page that says what was done. What was read before is old.
func (c *console) back(w http.ResponseWriter, r *http.Request, path, did string) {
	c.overview.forget()
	c.open.forget()
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	http.Redirect(w, r, path+sep+"did="+did, http.StatusSeeOther)
}

// localPath is a path on this site, or nothing: nobody may be sent elsewhere.
func localPath(s string) string {
	if !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\\r\n\t") {
		return ""
	}
	return s
}

func cmpOr(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// cached keeps a value for a while, so that many who look cost as much as one.
type cached[T any] struct {
	max time.Duration

	mu    sync.Mutex
	at    time.Time
	value T
}

// get returns the value, read anew if it is too old. Who comes meanwhile waits for it.
func (c *cached[T]) get(ctx context.Context, read func(context.Context) (T, error)) (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.IsZero() && time.Since(c.at) < c.max {
		return c.value, nil
	}
	v, err := read(ctx)
	if err == nil {
		c.value, c.at = v, time.Now()
	}
	return v, err
}

// forget has the value read anew, by whoever comes next.
func (c *cached[T]) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = time.Time{}
}

// backlogOf reads the outbox.
func (c *console) backlogOf(ctx context.Context) (outbox.Backlog, error) {
	return outbox.ReadBacklog(ctx, c.DB)
}
