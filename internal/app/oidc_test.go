package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/pressonesim"
)

// visitor is a worker's console, seen by a browser, and the identity provider.
type visitor struct {
	*scene

	issuer *issuer
}

func visit(t *testing.T, away bool) *visitor {
	t.Helper()
	b := setup(t, pressonesim.Config{})
	i := startIssuer(t)
	i.isAway(away)
	b.env["OPS_TOKEN"], b.env["OIDC_ISSUER"], b.env["OIDC_CLIENT_ID"] = opsToken, i.server.URL, clientID
	b.env["OIDC_CLIENT_SECRET"], b.env["OIDC_REDIRECT_URL"] = clientSecret, callback
	return &visitor{scene: &scene{bench: b, w: b.worker(), browser: newBrowser()}, issuer: i}
}

func newBrowser() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// leave follows the console to the provider and back, and returns the address that the
// browser is sent to, with the cookie that it took along.
func (v *visitor) leave() (back string, cookies []*http.Cookie) {
	v.t.Helper()
	p := v.ask("/log-in/oidc?to=/sagas", nil, nil)
	require.Equal(v.t, http.StatusSeeOther, p.StatusCode, p.text)
	require.Len(v.t, p.Cookies(), 1)
	c := p.Cookies()[0]
	require.True(v.t, c.Secure && c.HttpOnly && c.SameSite == http.SameSiteLaxMode && strings.HasPrefix(c.Name, "__Host-"))
	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, p.Header.Get("Location"), http.NoBody)
	require.NoError(v.t, err)
	res, err := v.browser.Do(req)
	require.NoError(v.t, err)
	require.NoError(v.t, res.Body.Close())
	require.Equal(v.t, http.StatusFound, res.StatusCode)
	back, found := strings.CutPrefix(res.Header.Get("Location"), "http://127.0.0.1:1")
	require.True(v.t, found)
	return back, p.Cookies()
}

// session is the cookie of the session among others, or nil.
func sessionIn(cookies []*http.Cookie) *http.Cookie {
	for _, c := range cookies {
		if c.Name == "__Host-esimflow" {
			return c
		}
	}
	return nil
}

// People log in with their account: by the address that the provider has verified, or by the
// subject, with the role that their groups give them, for no longer than the provider says;
// what they do is recorded so.
func TestLogInByIdentityProvider(t *testing.T) {
	v := visit(t, false)
	require.Contains(t, v.ask("/log-in?to=/sagas", nil, nil).text, `href="/log-in/oidc?to=%2Fsagas"`)
	for name, tt := range map[string]struct {
		claims map[string]any
		as     string
		role   string
		age    time.Duration
	}{
		"an operator":                {map[string]any{"email": "ann@example.com", "email_verified": true, "groups": []string{"all", "esimflow-operators"}}, "ann@example.com", "operator", time.Hour},
		"a viewer":                   {map[string]any{"email": "kim@example.com", "email_verified": true, "groups": "esimflow-viewers"}, "kim@example.com", "viewer", time.Hour},
		"who is both":                {map[string]any{"groups": []string{"esimflow-viewers", "esimflow-operators"}}, "subject-1", "operator", time.Hour},
		"an address of anybody":      {map[string]any{"sub": "s-2", "email": "ann@example.com", "groups": "esimflow-viewers"}, "s-2", "viewer", time.Hour},
		"an address not verified":    {map[string]any{"sub": "s-3", "email": "ann@example.com", "email_verified": false, "groups": "esimflow-viewers"}, "s-3", "viewer", time.Hour},
		"an identity for many hours": {map[string]any{"sub": "s-4", "exp": time.Now().Add(72 * time.Hour).Unix(), "groups": "esimflow-viewers"}, "s-4", "viewer", 12 * time.Hour},
	} {
		v.issuer.says(tt.claims)
		back, journey := v.leave()
		p := v.ask(back, nil, journey)
		require.Equal(t, http.StatusOK, p.StatusCode, "%s: %s", name, p.text)
		require.Equal(t, "0; url=/log-in?in=1&to=%2Fsagas", p.Header.Get("Refresh"), "a page of ours goes on, so that the cookie is sent")
		cookie := sessionIn(p.Cookies())
		require.NotNil(t, cookie, name)
		require.True(t, cookie.Secure && cookie.HttpOnly && cookie.SameSite == http.SameSiteStrictMode)
		require.InDelta(t, tt.age.Seconds(), cookie.MaxAge, 60, name)
		me := []*http.Cookie{cookie}
		require.Equal(t, "/sagas", v.ask("/log-in?in=1&to=%2Fsagas", nil, me).Header.Get("Location"))
		require.Contains(t, v.ask("/sagas", nil, me).text, tt.as, name)
		require.Equal(t, tt.role+" oidc done", v.id(`SELECT role || ' ' || how || ' ' || result FROM action JOIN action_result ON action_id = id
			WHERE what = 'log_in' AND actor = '`+tt.as+`'`), name)

		want := http.StatusForbidden
		if tt.role == "operator" {
			want = http.StatusSeeOther
		}
		require.Equal(t, want, v.ask("/audit", url.Values{"actor": {"somebody else"}}, me).StatusCode, name)
		require.Equal(t, http.StatusForbidden, v.ask(back, nil, journey).StatusCode, "the code and its state serve once")
		out := v.ask("/log-out", url.Values{}, me)
		require.Negative(t, sessionIn(out.Cookies()).MaxAge)
		require.Equal(t, 1, v.count("SELECT count(*) FROM action WHERE what = 'log_out' AND how = 'oidc' AND actor = '"+tt.as+"'"))
	}
	require.Zero(t, v.count("SELECT count(*) FROM action WHERE actor = 'somebody else'"))
	v.nothingLeaked()
}

// Nobody is let in by an answer that is not the provider's, not for us, not for this browser,
// or too old; nor whoever the provider knows and who has no role here.
func TestIdentitiesThatAreRefused(t *testing.T) {
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	operators := "esimflow-operators"
	for name, tt := range map[string]struct {
		claims map[string]any
		signer *ecdsa.PrivateKey
		change func(back string, journey []*http.Cookie) (string, []*http.Cookie)
		says   string
	}{
		"no role":            {claims: map[string]any{"groups": []string{"cleaning"}}, says: "have no role here"},
		"no groups":          {says: "have no role here"},
		"groups of no text":  {claims: map[string]any{"groups": []any{1, true}}, says: "have no role here"},
		"another's client":   {claims: map[string]any{"groups": operators, "aud": "other"}, says: "could not be checked"},
		"another's issuer":   {claims: map[string]any{"groups": operators, "iss": "https://evil.example"}, says: "could not be checked"},
		"ended":              {claims: map[string]any{"groups": operators, "exp": time.Now().Add(-time.Hour).Unix()}, says: "could not be checked"},
		"of another log-in":  {claims: map[string]any{"groups": operators, "nonce": "stolen"}, says: "could not be checked"},
		"of another's key":   {claims: map[string]any{"groups": operators}, signer: stranger, says: "could not be checked"},
		"in another browser": {claims: map[string]any{"groups": operators}, says: "not begun in this browser", change: func(back string, _ []*http.Cookie) (string, []*http.Cookie) { return back, nil }},
		"with another state": {claims: map[string]any{"groups": operators}, says: "not begun in this browser", change: func(back string, j []*http.Cookie) (string, []*http.Cookie) {
			return back[:strings.Index(back, "state=")] + "state=guess", j
		}},
		"with another code": {claims: map[string]any{"groups": operators}, says: "could not be checked", change: func(back string, j []*http.Cookie) (string, []*http.Cookie) {
			return strings.Replace(back, "code=", "code=x", 1), j
		}},
		"with an error": {claims: map[string]any{"groups": operators}, says: "did not let you in", change: func(back string, j []*http.Cookie) (string, []*http.Cookie) {
			return back + "&error=access_denied", j
		}},
		"with a session for a journey": {claims: map[string]any{"groups": operators}, says: "not begun in this browser", change: func(back string, j []*http.Cookie) (string, []*http.Cookie) {
			forged := *j[0]
			forged.Value = "x" + forged.Value
			return back, []*http.Cookie{&forged}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			v := visit(t, false)
			v.issuer.says(tt.claims)
			if tt.signer != nil {
				v.issuer.signsWith(tt.signer)
			}
			back, journey := v.leave()
			if tt.change != nil {
				back, journey = tt.change(back, journey)
			}
			p := v.ask(back, nil, journey)
			require.Equal(t, http.StatusForbidden, p.StatusCode, p.text)
			require.Contains(t, p.text, tt.says)
			require.Nil(t, sessionIn(p.Cookies()))
			require.Zero(t, v.count("SELECT count(*) FROM action"))
			v.nothingLeaked()
		})
	}
}

// A worker starts, and works, without the provider; whoever has the token gets in, and the
// others as soon as it is back. A provider that is guessed at is left in peace.
func TestIdentityProviderIsAway(t *testing.T) {
	v := visit(t, true)
	p := v.ask("/log-in/oidc", nil, nil)
	require.Equal(t, http.StatusBadGateway, p.StatusCode)
	require.Contains(t, p.text, "does not answer")
	require.Equal(t, http.StatusOK, v.ask("/", nil, v.logIn()).StatusCode)
	v.issuer.isAway(false)
	require.Eventually(t, func() bool { return v.ask("/log-in/oidc", nil, nil).StatusCode == http.StatusSeeOther }, 60*time.Second, 200*time.Millisecond)
	heard, began := 0, time.Now()
	for limited := false; !limited; { // a slow guesser is heard once more every six seconds
		p = v.ask("/log-in/callback?code=x&state=x", nil, nil)
		if p.StatusCode == http.StatusForbidden {
			heard++
			require.LessOrEqual(t, heard, 11+int(time.Since(began)/(6*time.Second)))
			continue
		}
		require.Equal(t, http.StatusTooManyRequests, p.StatusCode)
		p = v.ask("/log-in/oidc", nil, nil)
		limited = p.StatusCode == http.StatusTooManyRequests
	}
	require.GreaterOrEqual(t, heard, 10)
	require.Equal(t, "6", p.Header.Get("Retry-After"))
	v.nothingLeaked()
}

func (v *visitor) nothingLeaked() {
	v.t.Helper()
	for _, secret := range []string{clientSecret, "canary-access", "canary-description", opsToken} {
		require.NotContains(v.t, v.log.String(), secret)
	}
}
