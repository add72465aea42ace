package ops

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"esimflow/internal/deadletter"
	"esimflow/internal/saga"
)

// Whoever logs in is let in for a shift: not longer, not with another name or role, and not
// after a token has changed.
func TestSessions(t *testing.T) {
	t.Parallel()
	now := time.Now()
	access := Access{Token: "a token", ViewerToken: "another"}
	g := newGuard(access)
	c := &console{ConsoleConfig: ConsoleConfig{Now: func() time.Time { return now }}, guard: g}
	sealed := func(g *guard, as string, s session) string {
		value, err := g.seal(as, s)
		require.NoError(t, err)
		return value
	}
	read := func(value string) (session, bool) {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.AddCookie(&http.Cookie{Name: sessionCookie, Value: value})
		return c.session(r)
	}
	ann := session{Name: "Ann Ö.", Role: Viewer, How: howToken, Until: now.Add(time.Hour).Unix()}
	pass := sealed(g, forSession, ann)
	got, ok := read(pass)
	require.True(t, ok)
	require.Equal(t, ann, got)
	promoted := ann
	promoted.Role = Operator
	nobody, old := ann, ann
	nobody.Role, old.Until = Nobody, now.Unix()
	text, signature, _ := strings.Cut(pass, ".")
	theirs, _, _ := strings.Cut(sealed(g, forSession, promoted), ".")
	for what, bad := range map[string]string{
		"nothing": "", "no signature": text + ".", "another's signature": pass + "A", "another role": theirs + "." + signature,
		"of another token":         sealed(newGuard(Access{Token: "b token", ViewerToken: "another"}), forSession, ann),
		"of another viewers' one":  sealed(newGuard(Access{Token: "a token", ViewerToken: "changed"}), forSession, ann),
		"of another provider":      sealed(newGuard(Access{Token: "a token", ViewerToken: "another", OIDC: OIDC{Issuer: "x"}}), forSession, ann),
		"of other roles":           sealed(newGuard(Access{Token: "a token", ViewerToken: "another", OIDC: OIDC{OperatorValue: "everybody"}}), forSession, ann),
		"signed as something else": sealed(g, forJourney, ann), "no role": sealed(g, forSession, nobody), "ended": sealed(g, forSession, old),
	} {
		_, ok := read(bad)
		require.False(t, ok, what)
	}
	require.True(t, newGuard(Access{}).open())
	require.True(t, newGuard(Access{ViewerToken: "alone"}).open())
}

// Times, numbers and money as operators read them.
func TestWords(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0 ms", 850 * time.Millisecond: "850 ms", 2 * time.Second: "2 s", 2500 * time.Millisecond: "2.5 s", 42 * time.Second: "42 s",
		190 * time.Second: "3 min 10 s", 40 * time.Minute: "40 min", 125 * time.Minute: "2 h 5 min", 49 * time.Hour: "2 d 1 h", 900 * time.Hour: "37 d",
	} {
		require.Equal(t, want, span(d))
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var none *time.Time
	for at, want := range map[any]string{
		now: ">now<", now.Add(-90 * time.Second): ">1 min ago<", now.Add(3 * time.Hour): ">in 3 h<", none: "–", time.Time{}: "–",
		now.Add(-72 * time.Hour): `title="Fri 20 Nov 2026 12:00:00.000 UTC">3 d ago<`,
	} {
		require.Contains(t, string(ago(at, now)), want)
	}
	require.Equal(t, "1\u202f234\u202f567", num(1234567))
	require.Equal(t, "-12", num(-12))
	require.Equal(t, "99\u202f582.50", money("99582.50"))
	require.Equal(t, "100\u202f000+", upTo(100_001, 100_000))
	require.Equal(t, "/x?a=1&c=%3C", href("/x", "a", 1, "b", "", "c", "<"))
	require.Equal(t, "not found", plain(errors.New("saga: not found")), "a word before a colon is the package")
	require.Equal(t, "two words: stay", plain(errors.New("two words: stay")))
}

// Nobody is sent to another site.
func TestLocalPath(t *testing.T) {
	t.Parallel()
	require.Equal(t, "/sagas?q=1", localPath("/sagas?q=1"))
	for _, bad := range []string{"", "sagas", "//evil.example", "https://evil.example", "/\\evil.example", "/\r\nX: y", "/\t/evil.example"} {
		require.Empty(t, localPath(bad), bad)
	}
}

// Whatever bytes a request is made of, they are shown without doing anything, and without
// an activation code.
func TestBytes(t *testing.T) {
	t.Parallel()
	require.Equal(t, bytesView{Size: 2, Text: "{}"}, viewBytes([]byte("{}")))
	for _, code := range []string{
		"LPA:1$a.b$C-1", "lpa:1$a.b$C-1", "LPA%3A1%24a.b%24C-1", `LPA:1\u0024a.b\u0024C-1`,
	} {
		v := viewBytes([]byte(`{"a":"` + code + `","b":1}`))
		require.True(t, v.Hidden)
		require.NotContains(t, v.Text, "C-1", code)
		require.Contains(t, v.Text, `"b":1`)
		require.NotContains(t, viewBytes(append([]byte{0}, code...)).Hex, "C-1", "nor in a dump")
	}
	for _, steering := range []string{"\x1b[2J", "a\u202eb", "\x00", "\xff"} {
		v := viewBytes([]byte(steering))
		require.Empty(t, v.Text)
		require.NotEmpty(t, v.Hex)
	}
	long := viewBytes([]byte(strings.Repeat("ü", mostShown)))
	require.True(t, long.Cut)
	require.LessOrEqual(t, len(long.Text), mostShown)
	require.NotEmpty(t, long.Text)
}

// Every state has a colour of its own making, and what nobody knows is not taken for well.
func TestTones(t *testing.T) {
	t.Parallel()
	for _, s := range saga.States() {
		require.NotEmpty(t, tone(s))
	}
	require.Equal(t, "calm", tone("a state of a newer version"))
}

// Bars add up to the minute that they stand for, and none is taller than the picture.
func TestPace(t *testing.T) {
	t.Parallel()
	p := paceOf([]saga.Minute{{Ago: 0, Accepted: 10, Completed: 7, Stopped: 1}, {Ago: 3, Accepted: 1000, Completed: 1000}, {Ago: 99, Accepted: 5}}, true)
	require.Len(t, p.Bars, paced)
	require.Equal(t, []int{1010, 1007, 1, 2}, []int{p.Accepted, p.Completed, p.Stopped, p.Open()})
	require.Equal(t, 202, p.PerMinute)
	for _, b := range p.Bars {
		require.GreaterOrEqual(t, b.BadY, -3, "each part is seen, however small")
		require.Equal(t, barHeight, b.BadY+b.Bad+b.Other+b.Good)
	}
}

// What is read for many is read once, and not kept when reading failed.
func TestCached(t *testing.T) {
	t.Parallel()
	c := cached[int]{max: time.Hour, patience: time.Minute}
	n := 0
	read := func(context.Context) (int, error) { n++; return n, nil }
	_, err := c.get(t.Context(), func(context.Context) (int, error) { return 0, errors.New("away") })
	require.Error(t, err)
	for range 3 {
		v, err := c.get(t.Context(), read)
		require.NoError(t, err)
		require.Equal(t, 1, v)
	}
	c.forget()
	v, err := c.get(t.Context(), read)
	require.NoError(t, err)
	require.Equal(t, 2, v)
}

// While the database is away, a hundred who look wait as long as one: nobody queues behind
// the others' waiting, nor does one who leaves spoil it for them.
func TestCachedTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := cached[int]{max: time.Hour, patience: 10 * time.Second}
		reads, began := 0, time.Now()
		read := func(ctx context.Context) (int, error) {
			reads++
			<-ctx.Done()
			return 0, ctx.Err()
		}
		leaves, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		for range 100 {
			for _, ctx := range []context.Context{leaves, t.Context()} {
				all.Go(func() {
					_, err := c.get(ctx, read)
					require.ErrorIs(t, err, context.DeadlineExceeded)
				})
			}
		}
		all.Wait()
		require.Equal(t, 1, reads)
		require.Equal(t, 10*time.Second, time.Since(began))
	})
}

// What was begun to be read before something was done is not shown after it.
func TestCachedBefore(t *testing.T) {
	t.Parallel()
	c := cached[int]{max: time.Hour, patience: time.Minute}
	_, err := c.get(t.Context(), func(context.Context) (int, error) {
		c.forget() // somebody acts meanwhile
		return 1, nil
	})
	require.NoError(t, err)
	v, err := c.get(t.Context(), func(context.Context) (int, error) { return 2, nil })
	require.NoError(t, err)
	require.Equal(t, 2, v)
}

// Money is what the metrics say, under their names: currencies of which there is nothing are
// left out, and what was not measured is not shown as nothing.
func TestMoney(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	c := &console{ConsoleConfig: ConsoleConfig{Gather: reg}}
	balance, exposure := c.money()
	require.Empty(t, balance)
	require.Empty(t, exposure)
	gauges := map[string]*prometheus.GaugeVec{}
	for _, name := range []string{"esimflow_provider_balance", "esimflow_unknown_exposure"} {
		gauges[name] = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name}, []string{"currency"})
		require.NoError(t, reg.Register(gauges[name]))
	}
	gauges["esimflow_provider_balance"].WithLabelValues("USD").Set(41768)
	for currency, amount := range map[string]float64{"USD": 4.5, "EUR": 0} {
		gauges["esimflow_unknown_exposure"].WithLabelValues(currency).Set(amount)
	}
	balance, exposure = c.money()
	require.Equal(t, []figure{{"41768.00", "USD"}}, balance)
	require.Equal(t, []figure{{"4.50", "USD"}}, exposure)
	v := overviewView{Exposure: exposure, Flow: []saga.Tally{{State: saga.Unknown, Count: 2}}, Groups: []deadletter.Group{{Unknown: 1}}}
	require.Equal(t, 3, v.Unknown())
	require.True(t, v.Priced())
	gauges["esimflow_unknown_exposure"].WithLabelValues("USD").Set(0)
	_, exposure = c.money()
	require.Equal(t, []figure{{Amount: "0"}}, exposure)
	require.False(t, overviewView{Exposure: exposure}.Priced())
}

// Every asset is served with its type, under an address that changes with it, and is not
// listed; and every page parses.
func TestAssets(t *testing.T) {
	t.Parallel()
	var pages map[string]*template.Template
	require.NotPanics(t, func() { pages = parsePages(time.Now, assetVersions()) })
	require.Len(t, pages, 12)
	h := Handler(ConsoleConfig{Now: time.Now})
	for path, kind := range map[string]string{
		"console.css": "text/css", "console.js": "text/javascript", "htmx.min.js": "text/javascript", "icon.svg": "image/svg+xml",
		"inter.woff2": "font/woff2", "htmx.LICENSE.txt": "text/plain", "inter.LICENSE.txt": "text/plain", "mono.LICENSE.txt": "text/plain",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/assets/"+path, http.NoBody))
		require.Equal(t, http.StatusOK, w.Code, path)
		require.Contains(t, w.Header().Get("Content-Type"), kind, path)
	}
	for _, path := range []string{"", "nothing.css", "../layout.html", "%2e%2e/layout.html"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/assets/"+path, http.NoBody))
		require.NotEqual(t, http.StatusOK, w.Code, path)
		require.NotContains(t, w.Body.String(), "inter.woff2", path)
	}
	require.Regexp(t, `href="/assets/console\.css\?v=[0-9a-f]{8}"`, newGatehouse(Access{Token: operatorToken}).ask("GET /log-in").Body.String())
}
