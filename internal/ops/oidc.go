package ops

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// CallbackPath is where the identity provider sends people back to.
const CallbackPath = "/log-in/callback"

// OIDC is the identity provider that people log in with. Without an issuer there is none.
type OIDC struct {
	Issuer        string
	ClientID      string
	ClientSecret  string
	RedirectURL   string   // our CallbackPath, as a browser has it
	Scopes        []string // openid among them
	RoleClaim     string   // of the ID token: a text or a list of them; a.b is b in a
	OperatorValue string   // that the claim has for operators
	ViewerValue   string   // and for viewers
}

// provider is the identity provider, found when somebody first wants to log in: a worker
// starts, and works, without it.
type provider struct {
	OIDC

	now  func() time.Time
	http *http.Client

	mu    sync.Mutex
	found *oidc.Provider
	retry time.Time // not before that, after it was looked for in vain
}

// What is waited for, and how much is read.
const (
	oidcTimeout  = 10 * time.Second
	oidcPause    = 5 * time.Second
	oidcMostBody = 1 << 20
)

func newProvider(cfg OIDC, now func() time.Time) *provider {
	if cfg.Issuer == "" {
		return nil
	}
	return &provider{OIDC: cfg, now: now, http: &http.Client{
		Timeout: oidcTimeout, Transport: briefly{http.DefaultTransport},
		// A redirect leads away from the provider, and neither code nor secret must follow.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// briefly reads no more of an answer than a provider has reason to send.
type briefly struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b briefly) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(res.Body, oidcMostBody), res.Body}
	return res, nil
}

var errOIDCAway = errors.New("ops: the identity provider was looked for in vain a moment ago")

// find asks the provider about itself, once.
func (p *provider) find(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, nil
	}
	if time.Now().Before(p.retry) {
		return nil, errOIDCAway
	}
	// It keeps the context for when the provider's keys have to be read again.
	found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.http), p.Issuer)
	if err != nil {
		p.retry = time.Now().Add(oidcPause)
		return nil, fmt.Errorf("ops: identity provider: %w", err)
	}
	p.found = found
	return found, nil
}

func (p *provider) client(found *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, Endpoint: found.Endpoint(), RedirectURL: p.RedirectURL, Scopes: p.Scopes,
	}
}

// journey is what has to be the same when somebody comes back from the provider. It is in a
// cookie of the browser that left.
type journey struct {
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"` // of PKCE
	To       string `json:"to"`
	Until    int64  `json:"until"` // Unix time
}

const (
	journeyCookie = "__Host-esimflow_journey"
	journeyTime   = 10 * time.Minute
)

// leaveForOIDC sends the browser to the provider.
func (c *console) leaveForOIDC(w http.ResponseWriter, r *http.Request) error {
	if c.oidc == nil || c.guard.open() {
		return notFoundError("nobody logs in here by an identity provider")
	}
	to := cmp.Or(localPath(r.URL.Query().Get("to")), "/")
	if c.guard.attempts.limited(r.RemoteAddr, time.Now()) {
		c.guard.metrics.refuse(atOIDC, refusedRate)
		return errLimited
	}
	found, err := c.oidc.find(r.Context())
	if err != nil {
		c.Log.WarnContext(r.Context(), "the identity provider does not answer", "err", err)
		return c.answerLogIn(w, r, http.StatusBadGateway, logInView{To: to, Wrong: "The identity provider does not answer. Try again, or use the token."})
	}
	j := journey{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), To: to, Until: c.Now().Add(journeyTime).Unix()}
	value, err := c.guard.seal(forJourney, j)
	if err != nil {
		return err
	}
	// Lax: the provider's site sends the browser back here.
	http.SetCookie(w, &http.Cookie{
		Name: journeyCookie, Value: value, Path: "/", MaxAge: int(journeyTime.Seconds()), HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode,
	})
	http.Redirect(w, r, c.oidc.client(found).AuthCodeURL(j.State, oidc.Nonce(j.Nonce), oauth2.S256ChallengeOption(j.Verifier)), http.StatusSeeOther)
	return nil
}

// comeFromOIDC lets in whom the provider vouches for.
func (c *console) comeFromOIDC(w http.ResponseWriter, r *http.Request) error {
	if c.oidc == nil || c.guard.open() {
		return notFoundError("nobody logs in here by an identity provider")
	}
	if c.guard.attempts.limited(r.RemoteAddr, time.Now()) {
		c.guard.metrics.refuse(atOIDC, refusedRate)
		return errLimited
	}
	j, s, until, err := c.identify(r)
	setCookie(w, journeyCookie, "", -1, true) // it serves once
	if err != nil {
		wrong, known := errors.AsType[notLetIn](err)
		if !known {
			wrong = "The identity provider's answer could not be checked. Try again, or use the token."
		}
		c.guard.attempts.wrong(r.RemoteAddr, time.Now())
		c.guard.metrics.refuse(atOIDC, refusedSecret)
		c.Log.WarnContext(r.Context(), "somebody was refused at the console's door", "how", howOIDC, "remote_addr", r.RemoteAddr, "err", err)
		return c.answerLogIn(w, r, http.StatusForbidden, logInView{To: cmp.Or(j.To, "/"), Wrong: string(wrong)})
	}
	if err := c.letIn(w, r, s, until); err != nil {
		return err
	}
	return c.leadOn(w, r, "/log-in?in=1&to="+url.QueryEscape(j.To))
}

// notLetIn says why somebody whom the provider knows is not let in, for them to read.
type notLetIn string

func (e notLetIn) Error() string { return "ops: " + string(e) }

// identify checks what the provider's answer says: that this browser asked for it, now, and
// who uses it.
func (c *console) identify(r *http.Request) (j journey, s session, until time.Time, err error) {
	q := r.URL.Query()
	cookie, err := r.Cookie(journeyCookie)
	if err != nil || !c.guard.unseal(forJourney, cookie.Value, &j) || c.Now().Unix() >= j.Until ||
		subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(j.State)) != 1 {
		return journey{}, s, until, notLetIn("This log-in was not begun in this browser, or too long ago. Try again.")
	}
	if q.Get("error") != "" {
		return j, s, until, notLetIn("The identity provider did not let you in.")
	}
	found, err := c.oidc.find(r.Context())
	if err != nil {
		return j, s, until, err
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(r.Context(), c.oidc.http), oidcTimeout)
	defer cancel()
	tokens, err := c.oidc.client(found).Exchange(ctx, q.Get("code"), oauth2.VerifierOption(j.Verifier))
	if err != nil {
		return j, s, until, fmt.Errorf("ops: code for tokens: %w", withoutBody(err))
	}
	raw, _ := tokens.Extra("id_token").(string)
	id, err := found.Verifier(&oidc.Config{ClientID: c.oidc.ClientID, Now: c.Now}).Verify(ctx, raw)
	if err != nil {
		return j, s, until, fmt.Errorf("ops: id token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(j.Nonce)) != 1 {
		return j, s, until, errors.New("ops: id token: it is of another log-in")
	}
	s, err = c.oidc.sessionOf(id)
	return j, s, id.Expiry, err
}

// withoutBody is an error without what the provider answered, which is not ours to log.
func withoutBody(err error) error {
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok && e.Response != nil {
		return fmt.Errorf("it answered %s %s", e.Response.Status, brief(e.ErrorCode))
	}
	return err
}

// sessionOf is who somebody is, and what they may do, by what the ID token claims. Their name is
// an address that the provider has verified, or else the subject.
func (p *provider) sessionOf(id *oidc.IDToken) (session, error) {
	var who struct {
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return session{}, fmt.Errorf("ops: id token: %w", err)
	}
	_ = id.Claims(&who) // a claim of another type counts as none
	s := session{Name: nameOf(id.Subject), How: howOIDC}
	if who.Verified && nameOf(who.Email) != "" {
		s.Name = nameOf(who.Email)
	}
	values := claimed(claims, p.RoleClaim)
	switch {
	case s.Name == "":
		return s, notLetIn("The identity provider does not say who you are.")
	case slices.Contains(values, p.OperatorValue):
		s.Role = Operator
	case slices.Contains(values, p.ViewerValue):
		s.Role = Viewer
	default:
		return s, notLetIn("You are known, but have no role here. Ask for one: " + p.OperatorValue + " or " + p.ViewerValue + ".")
	}
	return s, nil
}

// claimed are the texts of a claim: one, or a list. Of a name with dots that is no claim's,
// what is before a dot names an object.
func claimed(claims map[string]any, name string) []string {
	v, ok := claims[name]
	if outer, inner, dotted := strings.Cut(name, "."); !ok && dotted {
		if object, is := claims[outer].(map[string]any); is {
			return claimed(object, inner)
		}
	}
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, one := range v {
			if s, is := one.(string); is && s != "" {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}
