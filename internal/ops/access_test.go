package ops

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"esimflow/internal/deadletter"
)

const (
	operatorToken = "canary-operator"
	viewerToken   = "canary-viewer"
)

// gatehouse is the console and the API with nothing behind their doors: what gets through
// panics, or answers that there is nothing.
type gatehouse struct {
	http.Handler

	metrics *Metrics
	log     *bytes.Buffer
	guard   *guard
}

func newGatehouse(access Access) *gatehouse {
	h := &gatehouse{metrics: NewMetrics(prometheus.NewRegistry()), log: &bytes.Buffer{}}
	access.Metrics = h.metrics
	h.guard = newGuard(access)
	h.Handler = Handler(ConsoleConfig{
		APIConfig: APIConfig{Access: access, Log: slog.New(slog.NewTextHandler(h.log, nil))}, Now: time.Now,
	})
	return h
}

// ask sends a request; how may change it.
func (h *gatehouse) ask(pattern string, how ...func(*http.Request)) *httptest.ResponseRecorder {
	method, path, found := strings.Cut(pattern, " ")
	if !found {
		method, path = http.MethodGet, pattern
	}
	path = strings.NewReplacer("{$}", "", "{id}", "0190d4a6-7e0c-7000-8000-000000000000").Replace(path)
	body := ""
	if method == http.MethodPost {
		body = `{"actor":"ann","reason":"x"}`
	}
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for _, f := range how {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func withBearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func (h *gatehouse) withSession(t *testing.T, role Role) func(*http.Request) {
	t.Helper()
	value, err := h.guard.seal(forSession, session{Name: "ann", Role: role, How: howToken, Until: time.Now().Add(time.Hour).Unix()})
	require.NoError(t, err)
	return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: sessionCookie, Value: value}) }
}

func from(addr string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = addr } }

// Nobody gets anything but the door without saying who they are, and whoever may only look
// gets nothing that acts: at every address that there is, of the API and of the console.
func TestEveryRouteHasItsRole(t *testing.T) {
	t.Parallel()
	h := newGatehouse(Access{Token: operatorToken, ViewerToken: viewerToken})
	acting, open := 0, 0
	for i, rt := range Routes() {
		address := from(fmt.Sprintf("192.0.2.%d:1", i)) // nobody is wrong too often
		isAPI := strings.Contains(rt.Pattern, "/api/")
		require.Equal(t, rt.Does != "", rt.Needs == Operator, "%s: whatever acts is for operators, and on record", rt.Pattern)
		if rt.Needs == Nobody {
			open++
			require.False(t, isAPI, rt.Pattern)
			require.Regexp(t, `^(GET|POST) /(log-in|log-in/oidc|log-in/callback|log-out|theme)$`, rt.Pattern)
			continue
		}
		for what, how := range map[string]func(*http.Request){
			"nothing": func(*http.Request) {}, "no token": withBearer(""), "a wrong one": withBearer(operatorToken + "x"),
			"a forged cookie": func(r *http.Request) { r.AddCookie(&http.Cookie{Name: sessionCookie, Value: "e30.AAAA"}) },
			"another scheme":  func(r *http.Request) { r.SetBasicAuth("ann", operatorToken) },
			"a token in the address": func(r *http.Request) {
				r.URL.RawQuery = url.Values{"token": {operatorToken}, "access_token": {operatorToken}}.Encode()
			},
		} {
			w := h.ask(rt.Pattern, how, address)
			if isAPI {
				require.Equal(t, http.StatusUnauthorized, w.Code, "%s with %s", rt.Pattern, what)
				require.Equal(t, "Bearer", w.Header().Get("WWW-Authenticate"))
				continue
			}
			require.Equal(t, http.StatusSeeOther, w.Code, "%s with %s", rt.Pattern, what)
			require.True(t, strings.HasPrefix(w.Header().Get("Location"), "/log-in"), rt.Pattern)
		}
		if rt.Does == "" {
			continue
		}
		acting++
		how := h.withSession(t, Viewer)
		if isAPI {
			how = withBearer(viewerToken)
			require.Equal(t, http.StatusUnauthorized, h.ask(rt.Pattern, h.withSession(t, Operator), address).Code, "the API takes no cookies")
		} else {
			require.Equal(t, http.StatusSeeOther, h.ask(rt.Pattern, withBearer(operatorToken), address).Code, "the console takes no bearer tokens")
		}
		w := h.ask(rt.Pattern, how, address)
		require.Equal(t, http.StatusForbidden, w.Code, "a viewer at %s: %s", rt.Pattern, w.Body)
	}
	require.Equal(t, 6, open)
	require.GreaterOrEqual(t, acting, 19)
	require.InDelta(t, acting, testutil.ToFloat64(h.metrics.refused.WithLabelValues(atAPI, refusedRole))+
		testutil.ToFloat64(h.metrics.refused.WithLabelValues(atConsole, refusedRole)), 0)
	require.NotContains(t, h.log.String(), "canary", "nor does the log say a token")
}

// Another method is another address, and so is a path written in another way: neither gets
// anybody further than what is in the table.
func TestOtherMethods(t *testing.T) {
	t.Parallel()
	h := newGatehouse(Access{Token: operatorToken, ViewerToken: viewerToken})
	known := map[string]bool{}
	paths := map[string]bool{}
	for _, rt := range append(Routes(), reads("GET /assets/console.css")) {
		if method, path, found := strings.Cut(rt.Pattern, " "); found {
			known[rt.Pattern], known["HEAD "+path] = true, known["HEAD "+path] || method == http.MethodGet
			paths[path] = true
		}
	}
	for path := range paths {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "LOOK"} {
			if known[method+" "+path] {
				continue
			}
			for _, written := range []string{path, "/." + path, "//" + path, strings.Replace(path, "/api/", "/%61pi/", 1)} {
				pattern := method + " " + written
				w := h.ask(pattern)
				require.Contains(t, []int{http.StatusUnauthorized, http.StatusSeeOther, http.StatusTemporaryRedirect}, w.Code, "nobody at %s", pattern)
				if w.Code == http.StatusTemporaryRedirect { // to how it is written
					require.Regexp(t, "^/([^/]|$)", w.Header().Get("Location"), pattern)
				}
				if written != path {
					continue
				}
				for _, who := range []func(*http.Request){withBearer(viewerToken), withBearer(operatorToken), h.withSession(t, Viewer), h.withSession(t, Operator)} {
					w := h.ask(pattern, who)
					require.Contains(t, []int{http.StatusUnauthorized, http.StatusSeeOther, http.StatusNotFound}, w.Code, pattern)
				}
			}
		}
	}
}

// Whoever follows a link from elsewhere, an alert's say, is logged in as they are: their browser
// keeps the session's cookie back until a page of ours leads on. Elsewhere's pages get nothing by it.
func TestLinksFromElsewhere(t *testing.T) {
	t.Parallel()
	h := newGatehouse(Access{Token: operatorToken})
	elsewhere := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	w := h.ask("GET /sagas?state=unknown", elsewhere)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "0; url=/log-in?to=%2Fsagas%3Fstate%3Dunknown", w.Header().Get("Refresh"))
	require.Equal(t, "/sagas?state=unknown", h.ask("GET /log-in?to=%2Fsagas%3Fstate%3Dunknown", h.withSession(t, Viewer)).Header().Get("Location"))
	w = h.ask("GET /log-in?to=%2Fsagas", elsewhere)
	require.Contains(t, w.Body.String(), "OPS_TOKEN", "who is not logged in is asked to")
	require.Equal(t, http.StatusForbidden, h.ask("POST /audit", elsewhere).Code)
}

// The reason that somebody gives is kept, logged and shown in many places: none of them is
// where an activation code that is in it goes.
func TestReasonsHoldNoCodes(t *testing.T) {
	t.Parallel()
	by, err := byOf(deadletter.By{Actor: " Ann\x00 LPA:1$a.b$C-1", Reason: "ticket 7: lpa:1$smdp.example$SECRET-1 cannot\nbe scanned "}, true)
	require.NoError(t, err)
	require.Equal(t, deadletter.By{Actor: "Ann [activation code]", Reason: "ticket 7: [activation code] cannot; be scanned"}, by)
	for _, nobody := range []deadletter.By{{}, {Actor: "ann"}, {Actor: "ann", Reason: " \x00"}, {Actor: "\u200b", Reason: "x"}} {
		_, err := byOf(nobody, true)
		require.ErrorAs(t, err, new(usageError))
	}
	_, err = byOf(deadletter.By{Actor: "ann"}, false)
	require.NoError(t, err)
}

// Text that the database cannot hold is the sender's fault, not the worker's.
func TestTextThatIsNone(t *testing.T) {
	t.Parallel()
	p := problemOf(fmt.Errorf("saga: list: %w", &pgconn.PgError{Code: noText, Message: "invalid byte sequence"}))
	require.Equal(t, http.StatusBadRequest, p.status)
	require.Equal(t, "usage", p.Kind)
	require.Equal(t, http.StatusInternalServerError, problemOf(&pgconn.PgError{Code: "57014"}).status)
}

// What is at no address is not told to strangers either, and what everybody may have is that.
func TestWhatStrangersGet(t *testing.T) {
	t.Parallel()
	h := newGatehouse(Access{Token: operatorToken})
	require.Equal(t, http.StatusUnauthorized, h.ask("GET /api/v1/nothing").Code)
	require.Equal(t, http.StatusNotFound, h.ask("GET /api/v1/nothing", withBearer(operatorToken)).Code)
	require.Equal(t, http.StatusSeeOther, h.ask("GET /nothing").Code)
	require.Equal(t, http.StatusUnauthorized, h.ask("GET /api/v1/sagas", withBearer("")).Code, "no viewers' token is not an empty one")
	require.Equal(t, http.StatusNotFound, h.ask("GET /log-in/oidc").Code, "there is no provider")
	w := h.ask("GET /log-in")
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'")
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	require.NotContains(t, w.Body.String(), "/log-in/oidc")
}

// Whoever guesses is heard ten times, by the form and by the API together, and then not even
// when they are right; somebody elsewhere is heard, and so is a session that is there.
func TestGuessing(t *testing.T) {
	t.Parallel()
	h := newGatehouse(Access{Token: operatorToken, ViewerToken: viewerToken})
	guess := func(token, addr string) *httptest.ResponseRecorder {
		return h.ask("POST /log-in", from(addr), func(r *http.Request) {
			form := url.Values{"name": {"eve"}, "token": {token}}.Encode()
			*r = *httptest.NewRequest(http.MethodPost, "/log-in", strings.NewReader(form))
			r.RemoteAddr = addr
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		})
	}
	for range triesBurst / 2 {
		require.Equal(t, http.StatusUnauthorized, guess("canary-guess", "192.0.2.1:1").Code)
		require.Equal(t, http.StatusUnauthorized, h.ask("GET /api/v1/sagas", withBearer("canary-guess"), from("192.0.2.1:2")).Code)
	}
	for range 3 {
		w := guess(operatorToken, "192.0.2.1:3")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Equal(t, "6", w.Header().Get("Retry-After"))
		w = h.ask("GET /api/v1/nothing", withBearer(operatorToken), from("192.0.2.1:4"))
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Equal(t, "6", w.Header().Get("Retry-After"))
	}
	require.Equal(t, http.StatusNotFound, h.ask("GET /api/v1/nothing", withBearer(operatorToken), from("192.0.2.2:1")).Code)
	require.Equal(t, http.StatusNotFound, h.ask("GET /nothing", h.withSession(t, Viewer), from("192.0.2.1:5")).Code)
	for door, want := range map[string]float64{atAPI: 5, atConsole: 5} {
		require.InDelta(t, want, testutil.ToFloat64(h.metrics.refused.WithLabelValues(door, refusedSecret)), 0)
		require.InDelta(t, 3, testutil.ToFloat64(h.metrics.refused.WithLabelValues(door, refusedRate)), 0)
	}
	require.NotContains(t, h.log.String(), "canary")
}

// Allowances come back with time, belong to an address or a /64, are counted for everybody
// together too, and are remembered for so many addresses only.
func TestAttempts(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a := newAttempts()
	wrong := func() bool { return false }
	right := func() bool { return true }
	spend := func(addr string) (heard int) {
		for range 2 * triesBurst {
			if _, limited := a.try(addr, now, wrong); !limited {
				heard++
			}
		}
		return heard
	}
	for range 3 * triesBurst {
		ok, limited := a.try("192.0.2.1:1", now, right)
		require.True(t, ok && !limited, "who is right is not counted")
	}
	require.Equal(t, triesBurst, spend("192.0.2.1:1"))
	require.True(t, a.limited("[::ffff:192.0.2.1]:9", now), "it is the same address")
	require.False(t, a.limited("192.0.2.2:1", now))
	require.False(t, a.limited("192.0.2.1:1", now.Add(triesEvery+time.Millisecond)))
	require.Equal(t, triesBurst, spend("[2001:db8::1]:1"))
	require.True(t, a.limited("[2001:db8::ffff]:1", now), "a /64 is one customer's")
	require.False(t, a.limited("[2001:db8:0:1::1]:1", now))
	for i := range allTriesBurst {
		a.wrong(fmt.Sprintf("198.51.100.%d:1", i), now)
	}
	require.True(t, a.limited("203.0.113.1:1", now), "all together have been wrong too often")

	later := now.Add(time.Hour)
	a = newAttempts()
	for i := range 2 * mostAddresses {
		a.wrong(fmt.Sprintf("10.0.%d.%d:1", i/256, i%256), now)
	}
	require.Len(t, a.by, mostAddresses)
	a.wrong("203.0.113.1:1", later)
	require.Less(t, len(a.by), 3, "those that were quiet for long are forgotten")
}

// What is too long is not read, whoever sends it; and what does not say who asks and why is
// refused before anything is done.
func TestBodies(t *testing.T) {
	t.Parallel()
	h := newGatehouse(Access{Token: operatorToken})
	for _, rt := range Routes() {
		method, path, _ := strings.Cut(rt.Pattern, " ")
		if method != http.MethodPost {
			continue
		}
		long := func(r *http.Request) {
			body, kind := "reason="+strings.Repeat("a", mostForm), "application/x-www-form-urlencoded"
			if strings.HasPrefix(path, "/api/") {
				body, kind = `{"reason":"`+strings.Repeat("a", mostJSON)+`"}`, "application/json"
			}
			*r = *httptest.NewRequest(http.MethodPost, r.URL.Path, strings.NewReader(body))
			r.Header.Set("Content-Type", kind)
		}
		w := h.ask(rt.Pattern, long, withBearer(operatorToken), h.withSession(t, Operator))
		require.Equal(t, http.StatusRequestEntityTooLarge, w.Code, "%s: %s", rt.Pattern, w.Body)
		if rt.Does == "" {
			continue
		}
		for _, body := range []string{``, `{}`, `{"actor":" ","reason":"x"}`, `{"actor":"ann","reason":"\u0000"`, `[]`} {
			w := h.ask(rt.Pattern, func(r *http.Request) {
				*r = *httptest.NewRequest(http.MethodPost, r.URL.Path, strings.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
			}, withBearer(operatorToken))
			if strings.HasPrefix(path, "/api/") {
				require.Equal(t, http.StatusBadRequest, w.Code, "%s: %s", rt.Pattern, body)
			} else {
				require.Equal(t, http.StatusSeeOther, w.Code, "the console takes no bearer tokens")
			}
		}
	}
}
