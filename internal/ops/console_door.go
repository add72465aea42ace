package ops

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"esimflow/internal/saga"
)

const (
	sessionCookie = "__Host-esimflow" // the prefix: Secure, for all paths, for no other host
	nameCookie    = "esimflow_name"   // who has acted last, where nobody logs in
	themeCookie   = "esimflow_theme"
	sessionTime   = 12 * time.Hour // a long shift
	longTime      = 365 * 24 * time.Hour
	mostName      = 80
)

// session is who has logged in. It is in a cookie, signed: a worker keeps no sessions, all
// workers take the same cookie, and changing a token ends them all.
type session struct {
	Name  string `json:"name"`
	Role  Role   `json:"role"`
	How   string `json:"how"`
	Until int64  `json:"until"` // Unix time
}

// What is signed, so that what was signed as one thing is not taken for another.
const (
	forSession = "session"
	forJourney = "journey" // to the identity provider and back
)

// seal makes a cookie's value of v, which stays readable.
func (g *guard) seal(as string, v any) (string, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("ops: %s: %w", as, err)
	}
	text := base64.RawURLEncoding.EncodeToString(plain)
	return text + "." + base64.RawURLEncoding.EncodeToString(g.sign(as, text)), nil
}

// unseal reads what was sealed here as the same thing.
func (g *guard) unseal(as, value string, into any) bool {
	text, signature, found := strings.Cut(value, ".")
	given, err := base64.RawURLEncoding.DecodeString(signature)
	if !found || err != nil || !hmac.Equal(given, g.sign(as, text)) {
		return false
	}
	plain, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && json.Unmarshal(plain, into) == nil
}

func (g *guard) sign(as, text string) []byte {
	m := hmac.New(sha256.New, g.key)
	m.Write([]byte(as + " " + text))
	return m.Sum(nil)
}

// admitted says who may be answered, and answers everybody else.
func (c *console) admitted(w http.ResponseWriter, r *http.Request) (caller, bool) {
	if c.guard.open() {
		if !loopbackHost(r.Host) {
			c.guard.metrics.refuse(atConsole, refusedOrigin)
			c.fail(w, r, errNotLoopback)
			return caller{}, false
		}
		return caller{Role: Operator, How: howLoopback}, true
	}
	if s, ok := c.session(r); ok {
		return caller{Name: s.Name, Role: s.Role, How: s.How}, true
	}
	to := "/log-in"
	if r.Method == http.MethodGet {
		to += "?to=" + url.QueryEscape(r.URL.RequestURI())
	}
	switch {
	case r.Header.Get("HX-Request") != "":
		w.Header().Set("HX-Redirect", "/log-in")
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method == http.MethodGet && fromElsewhere(r):
		if err := c.leadOn(w, r, to); err != nil {
			c.fail(w, r, err)
		}
	default:
		http.Redirect(w, r, to, http.StatusSeeOther)
	}
	return caller{}, false
}

// fromElsewhere reports whether another site's page has made the browser ask.
func fromElsewhere(r *http.Request) bool { return r.Header.Get("Sec-Fetch-Site") == "cross-site" }

// leadOn answers a page that goes on by itself. A browser that another site has sent here keeps
// the session's cookie back, on a mere redirect too; from a page of ours it sends it.
func (c *console) leadOn(w http.ResponseWriter, r *http.Request, to string) error {
	w.Header().Set("Refresh", "0; url="+to)
	return c.answerLogIn(w, r, http.StatusOK, logInView{On: to})
}

// session is the session of whoever sends a request, if it has not ended.
func (c *console) session(r *http.Request) (s session, ok bool) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil || c.guard.open() {
		return s, false
	}
	ok = c.guard.unseal(forSession, cookie.Value, &s) && c.Now().Unix() < s.Until && s.Name != "" && s.Role.covers(Viewer)
	return s, ok
}

// letIn records a log-in and gives its session to the browser.
func (c *console) letIn(w http.ResponseWriter, r *http.Request, s session, until time.Time) error {
	if latest := c.Now().Add(sessionTime); until.After(latest) {
		until = latest
	}
	s.Until = until.Unix()
	value, err := c.guard.seal(forSession, s)
	if err != nil {
		return err
	}
	if err := c.trail().Was(r.Context(), Recorded{Actor: s.Name, Role: s.Role, How: s.How, What: didLogIn}); err != nil {
		return err
	}
	c.Log.InfoContext(r.Context(), "somebody has logged in", "actor", s.Name, "role", s.Role, "how", s.How)
	setCookie(w, sessionCookie, value, until.Sub(c.Now()), true)
	return nil
}

// who is whose name stands in the forms: who has logged in, or who has acted last.
func (c *console) who(r *http.Request) string {
	if !c.guard.open() {
		s, _ := c.session(r)
		return s.Name
	}
	cookie, err := r.Cookie(nameCookie)
	if err != nil {
		return ""
	}
	name, _ := base64.RawURLEncoding.DecodeString(cookie.Value)
	return nameOf(string(name))
}

// nameOf makes a name fit for the record.
func nameOf(s string) string {
	s = strings.TrimSpace(hide(saga.Clean(s)))
	for utf8.RuneCountInString(s) > mostName {
		_, last := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-last]
	}
	return s
}

// actor is who does what a form asks for: who has logged in, and nobody else; or, where
// nobody logs in, whom the form names, who is remembered.
func (c *console) actor(w http.ResponseWriter, r *http.Request) string {
	if !c.guard.open() {
		return c.who(r)
	}
	name := nameOf(r.PostFormValue("actor"))
	if name != "" {
		setCookie(w, nameCookie, base64.RawURLEncoding.EncodeToString([]byte(name)), longTime, false)
	}
	return name
}

type logInView struct {
	To    string
	Name  string
	Wrong string
	OIDC  bool   // there is an identity provider to log in with
	On    string // where the page leads; empty: it asks who one is
}

func (c *console) showLogIn(w http.ResponseWriter, r *http.Request) error {
	to := cmp.Or(localPath(r.URL.Query().Get("to")), "/")
	if c.guard.open() {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	if _, ok := c.session(r); ok {
		http.Redirect(w, r, to, http.StatusSeeOther)
		return nil
	}
	v := logInView{To: to}
	if r.URL.Query().Get("in") != "" {
		v.Wrong = "Your browser did not keep the session's cookie, which it does over https, and on localhost only."
	}
	return c.answerLogIn(w, r, http.StatusOK, v)
}

func (c *console) answerLogIn(w http.ResponseWriter, r *http.Request, status int, v logInView) error {
	v.OIDC = c.oidc != nil
	return c.show(w, r, status, "login", view{Title: "Log in", Section: "door", Data: v})
}

func (c *console) logIn(w http.ResponseWriter, r *http.Request) error {
	v := logInView{To: cmp.Or(localPath(r.PostFormValue("to")), "/"), Name: nameOf(r.PostFormValue("name"))}
	if c.guard.open() {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	if v.Name == "" {
		v.Wrong = "Say who you are: what you do is recorded with your name."
		return c.answerLogIn(w, r, http.StatusBadRequest, v)
	}
	role, err := c.guard.knows(atConsole, r.RemoteAddr, r.PostFormValue("token"))
	switch {
	case errors.Is(err, errLimited):
		v.Wrong = "Too many wrong tokens came from your address. Wait a minute."
		return c.answerLogIn(w, r, http.StatusTooManyRequests, v)
	case err != nil:
		c.Log.WarnContext(r.Context(), "somebody was refused at the console's door", "remote_addr", r.RemoteAddr)
		v.Wrong = "That is not the token. It is the worker's OPS_TOKEN, or its OPS_VIEWER_TOKEN."
		return c.answerLogIn(w, r, http.StatusUnauthorized, v)
	}
	if err := c.letIn(w, r, session{Name: v.Name, Role: role, How: howToken}, c.Now().Add(sessionTime)); err != nil {
		return err
	}
	http.Redirect(w, r, "/log-in?in=1&to="+url.QueryEscape(v.To), http.StatusSeeOther)
	return nil
}

// logOut ends the session in this browser, on record or not.
func (c *console) logOut(w http.ResponseWriter, r *http.Request) error {
	if s, ok := c.session(r); ok {
		err := c.trail().Was(r.Context(), Recorded{Actor: s.Name, Role: s.Role, How: s.How, What: didLogOut})
		if err != nil {
			c.Log.ErrorContext(r.Context(), "a log-out is not on record", "actor", s.Name, "err", err)
		}
	}
	setCookie(w, sessionCookie, "", -1, true)
	http.Redirect(w, r, "/log-in?did=logged-out", http.StatusSeeOther)
	return nil
}

// setTheme remembers how the pages are to look. It is a form, so that it works without
// JavaScript, and the first page after it looks right from its first moment.
func (c *console) setTheme(w http.ResponseWriter, r *http.Request) error {
	switch theme := r.PostFormValue("theme"); theme {
	case "light", "dark":
		setCookie(w, themeCookie, theme, longTime, false)
	default:
		setCookie(w, themeCookie, "", -1, false)
	}
	http.Redirect(w, r, cmp.Or(localPath(r.PostFormValue("back")), "/"), http.StatusSeeOther)
	return nil
}

func themeOf(r *http.Request) string {
	if cookie, err := r.Cookie(themeCookie); err == nil && (cookie.Value == "light" || cookie.Value == "dark") {
		return cookie.Value
	}
	return ""
}

func setCookie(w http.ResponseWriter, name, value string, keep time.Duration, secure bool) {
	age := int(keep.Seconds())
	if keep < 0 {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode,
	})
}
