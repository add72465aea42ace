package ops

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"esimflow/internal/deadletter"
)

// ConsoleConfig is what the console works with, beside what the API does.
type ConsoleConfig struct {
	APIConfig

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

// console is the operators' pages.
type console struct {
	ConsoleConfig

	pages    map[string]*template.Template
	guard    *guard
	oidc     *provider // nil: nobody logs in by one
	overview cached[overviewView]
	open     cached[int]
}

// policy lets a page load what this program serves, and nothing else: no script or style in
// the page itself, nobody else's frame around it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Handler serves the API under /api/, and the console everywhere else.
func Handler(cfg ConsoleConfig) http.Handler {
	g := newGuard(cfg.Access)
	mux := http.NewServeMux()
	mux.Handle("/api/", newAPI(cfg.APIConfig, g))
	mux.Handle("/", newConsole(cfg, g))
	return headers(mux)
}

// mostForm is how long a form may be: a request that is edited, and room.
const mostForm = 2 << 20

// newConsole serves the operators' pages. They can be read without JavaScript; with it they
// keep themselves up to date.
func newConsole(cfg ConsoleConfig, g *guard) http.Handler {
	versions := assetVersions()
	c := &console{
		ConsoleConfig: cfg, pages: parsePages(cfg.Now, versions), guard: g, oidc: newProvider(cfg.OIDC, cfg.Now),
		overview: cached[overviewView]{max: 3 * time.Second, patience: 10 * time.Second},
		open:     cached[int]{max: 3 * time.Second, patience: 2 * time.Second}, // every page waits for it
	}
	mux := http.NewServeMux()
	for _, p := range pages {
		mux.HandleFunc(p.Pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, mostForm)
			if err := c.handle(p, w, r); err != nil {
				c.fail(w, r, err)
			}
		})
	}
	mux.HandleFunc("GET /assets/{name}", func(w http.ResponseWriter, r *http.Request) { serveAsset(w, r, versions) })

	strangers := http.NewCrossOriginProtection()
	strangers.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.metrics.refuse(atConsole, refusedOrigin)
		r.Body = http.MaxBytesReader(w, r.Body, mostForm)
		c.fail(w, r, errForeign)
	}))
	return strangers.Handler(mux)
}

// handle lets whoever may use a page use it, and records what acts.
func (c *console) handle(p page, w http.ResponseWriter, r *http.Request) error {
	var who caller
	if p.Needs != Nobody {
		var ok bool
		if who, ok = c.admitted(w, r); !ok {
			return nil
		}
	}
	if err := c.guard.may(atConsole, who, p.Route); err != nil {
		return err
	}
	if r.Method == http.MethodPost {
		if err := r.ParseForm(); err != nil {
			return unreadable(err)
		}
	}
	if p.Does == "" {
		return p.serve(c, w, r)
	}
	in := asked{By: deadletter.By{Actor: c.actor(w, r), Reason: r.PostFormValue("reason")}, do: r.PostFormValue("do")}
	return c.trail().actWith(r, who, p.Route, in, func(r *http.Request) error { return p.serve(c, w, r) })
}

func (c *console) trail() Trail { return c.recorded() }

func (c *console) showNothing(_ http.ResponseWriter, r *http.Request) error {
	return notFoundError("there is nothing at " + r.URL.Path)
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

// view is what every page is made of.
type view struct {
	Title   string
	Section string // of the navigation
	Path    string // of this page, to come back to
	Theme   string // light, dark, or empty: as the system has it
	Who     string // is signed in, or has acted last; may be empty
	Role    Role   // of who reads it
	Door    bool   // whether there is signing in, and so out
	Open    int    // dead letters that wait for an operator
	Notice  string // what was just done
	Live    bool   // it moves: a browser without JavaScript loads it again by and by
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
		v.Path = cmp.Or(localPath(r.PostFormValue("back")), "/")
	}
	v.Theme, v.Door, v.Role = themeOf(r), !c.guard.open(), Operator
	if v.Who == "" {
		v.Who = c.who(r)
	}
	if v.Door {
		s, _ := c.session(r)
		v.Role = s.Role
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
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // the reader is gone, or nothing can be said to it
	return nil
}

// fail shows why something could not be done. What the reader cannot help is logged.
func (c *console) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	why := p.Error
	switch {
	case p.status == http.StatusInternalServerError:
		why = "The worker could not do that. Its log says why; trying again is safe."
		c.Log.ErrorContext(r.Context(), "console", "path", r.URL.Path, "err", err)
	case errors.Is(err, errNotLoopback):
		why = "Without OPS_TOKEN the console answers loopback addresses only."
	case p.Kind != "refused":
		why = plain(err)
	}
	back := localPath(r.PostFormValue("back"))
	if err := c.show(w, r, p.status, "error", view{Title: p.title, Data: errorView{Why: why, Back: back}}); err != nil {
		c.Log.ErrorContext(r.Context(), "console", "path", r.URL.Path, "err", err)
		http.Error(w, p.title, http.StatusInternalServerError)
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
