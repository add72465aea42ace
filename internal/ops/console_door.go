package ops

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"esimflow/internal/saga"
)

// door lets people in who know the token. It gives them a cookie with their name, signed
// with a key that comes from the token: a worker keeps no sessions, all workers take the
// same cookie, and changing the token ends them all. Whoever logs in by other means needs
// another door: nothing else knows what is in the cookie.
type door struct {
	token []byte
	key   []byte
}

const (
	sessionCookie = "__Host-esimflow" // the prefix: Secure, for all paths, for no other host
	nameCookie    = "esimflow_name"   // who has acted last, where nobody logs in
	themeCookie   = "esimflow_theme"
	sessionTime   = 12 * time.Hour // a long shift
	longTime      = 365 * 24 * time.Hour
	mostName      = 80
)

// newDoor returns nil without a token: then loopback is asked for no name and no secret.
func newDoor(token string) *door {
	if token == "" {
		return nil
	}
	m := hmac.New(sha256.New, []byte(token))
	m.Write([]byte("esimflow console session 1"))
	return &door{token: []byte(token), key: m.Sum(nil)}
}

func (d *door) knows(token string) bool {
	return subtle.ConstantTimeCompare([]byte(token), d.token) == 1
}

// pass is a cookie's value: a name and when it ends, signed.
func (d *door) pass(name string, until time.Time) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(until.Unix(), 10) + " " + name))
	return text + "." + base64.RawURLEncoding.EncodeToString(d.sign(text))
}

func (d *door) sign(text string) []byte {
	m := hmac.New(sha256.New, d.key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// read returns the name in a pass that was given out here and has not ended.
func (d *door) read(pass string, now time.Time) (name string, ok bool) {
	text, signature, found := strings.Cut(pass, ".")
	given, err := base64.RawURLEncoding.DecodeString(signature)
	if !found || err != nil || !hmac.Equal(given, d.sign(text)) {
		return "", false
	}
	plain, err := base64.RawURLEncoding.DecodeString(text)
	until, name, found := strings.Cut(string(plain), " ")
	end, bad := strconv.ParseInt(until, 10, 64)
	if err != nil || !found || bad != nil || now.Unix() >= end {
		return "", false
	}
	return name, true
}

// admitted reports whether a request may be answered, and answers it if not.
func (c *console) admitted(w http.ResponseWriter, r *http.Request) bool {
	if c.door == nil {
		if !loopbackHost(r.Host) {
			c.fail(w, r, errNotLoopback)
			return false
		}
		return true
	}
	if _, ok := c.session(r); ok {
		return true
	}
	to := "/log-in?to=" + queryEscape(r.URL.RequestURI())
	if r.Method != http.MethodGet {
		to = "/log-in"
	}
	if r.Header.Get("HX-Request") != "" {
		w.Header().Set("HX-Redirect", "/log-in")
		w.WriteHeader(http.StatusUnauthorized)
		return false
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return false
}

func (c *console) session(r *http.Request) (name string, ok bool) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return "", false
	}
	return c.door.read(cookie.Value, c.Now())
}

// who is whose name stands in the forms: who has logged in, or who has acted last.
func (c *console) who(r *http.Request) string {
	if c.door != nil {
		name, _ := c.session(r)
		return name
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
	s = strings.TrimSpace(saga.Clean(s))
	for utf8.RuneCountInString(s) > mostName {
		_, last := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-last]
	}
	return s
}

// actor is who does what a form asks for: who has logged in, and nobody else; or, where
// nobody logs in, whom the form names, who is remembered.
func (c *console) actor(w http.ResponseWriter, r *http.Request) string {
	if c.door != nil {
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
}

func (c *console) showLogIn(w http.ResponseWriter, r *http.Request) {
	to := cmpOr(localPath(r.URL.Query().Get("to")), "/")
	if c.door == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	if _, ok := c.session(r); ok {
		http.Redirect(w, r, to, http.StatusSeeOther)
		return
	}
	v := logInView{To: to}
	if r.URL.Query().Get("in") != "" {
		v.Wrong = "Your browser did not keep the session's cookie, which it does over https, and on localhost only."
	}
	c.answerLogIn(w, r, http.StatusOK, v)
}

func (c *console) answerLogIn(w http.ResponseWriter, r *http.Request, status int, v logInView) {
	if err := c.show(w, r, status, "login", view{Title: "Log in", Section: "door", Data: v}); err != nil {
		c.fail(w, r, err)
	}
}

func (c *console) logIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	v := logInView{To: cmpOr(localPath(r.PostFormValue("to")), "/"), Name: nameOf(r.PostFormValue("name"))}
	switch {
	case c.door == nil:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	case v.Name == "":
		v.Wrong = "Say who you are: what you do is recorded with your name."
		c.answerLogIn(w, r, http.StatusBadRequest, v)
	case !c.door.knows(r.PostFormValue("token")):
		c.Log.WarnContext(r.Context(), "somebody was refused at the console's door", "remote_addr", r.RemoteAddr)
		v.Wrong = "That is not the token. It is the worker's OPS_TOKEN."
		c.answerLogIn(w, r, http.StatusUnauthorized, v)
	default:
		c.Log.InfoContext(r.Context(), "an operator has logged in", "actor", v.Name)
		setCookie(w, sessionCookie, c.door.pass(v.Name, c.Now().Add(sessionTime)), sessionTime, true)
		http.Redirect(w, r, "/log-in?in=1&to="+queryEscape(v.To), http.StatusSeeOther)
	}
}

func (c *console) logOut(w http.ResponseWriter, r *http.Request) {
	setCookie(w, sessionCookie, "", -1, true)
	http.Redirect(w, r, "/log-in?did=logged-out", http.StatusSeeOther)
}

// setTheme remembers how the pages are to look. It is a form, so that it works without
// JavaScript, and the first page after it looks right from its first moment.
func (c *console) setTheme(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	switch theme := r.PostFormValue("theme"); theme {
	case "light", "dark":
		setCookie(w, themeCookie, theme, longTime, false)
	default:
		setCookie(w, themeCookie, "", -1, false)
	}
	http.Redirect(w, r, cmpOr(localPath(r.PostFormValue("back")), "/"), http.StatusSeeOther)
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
