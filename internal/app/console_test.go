package app_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/deadletter"
	"esimflow/internal/pressonesim"
)

// An operator's pages, seen from outside: what they say, whom they let in, and what they
// never show.
func TestConsole(t *testing.T) {
	s := setup(t, pressonesim.Config{}).scene()
	ann := s.logIn()
	screens := s.screens()

	// Every screen can be read, forbids everything that is not ours, holds no script or
	// style, and no activation code, token or markup of others.
	for name, path := range screens {
		p := s.ask(path, nil, ann)
		require.Equal(t, http.StatusOK, p.StatusCode, "%s: %s", name, p.text)
		require.Equal(t, "text/html; charset=utf-8", p.Header.Get("Content-Type"), name)
		require.Contains(t, p.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'", name)
		require.Equal(t, "no-store", p.Header.Get("Cache-Control"), name)
		require.Contains(t, p.text, "<h1>", name)
		for _, bad := range []string{"LPA:", "CANARY", "canary", "<script>", "<b>berlin", "style=", "onclick", opsToken, s.env["PRESSONE_CLIENT_SECRET"]} {
			require.NotContains(t, p.text, bad, name)
		}
		for _, code := range s.codes() {
			require.NotContains(t, p.text, code, name)
		}
	}
	nasty := s.ask(screens["a dead letter of nasty bytes"], nil, ann)
	require.Contains(t, nasty.text, "&lt;script&gt;alert(1)&lt;/script&gt;")
	require.Contains(t, nasty.text, "[activation code]")
	require.Contains(t, s.ask(screens["a dead letter of no text"], nil, ann).text, "00 ff 20 6e 6f 74")
	overview := s.ask("/", nil, ann)
	for _, says := range []string{"Dead letters open", "Gate: write", "nothing waits", "insufficient credit"} {
		require.Contains(t, overview.text, says)
	}

	// A search that finds one saga leads there, by whatever it goes.
	five := s.sagaID("five")
	for _, sql := range []string{
		"SELECT request_id", "SELECT id::text", "SELECT order_id::text", "SELECT reference",
	} {
		q := s.id(sql + " FROM saga WHERE request_id = 'five'")
		require.Equal(t, "/sagas/"+five, s.ask("/sagas?q="+q, nil, ann).Header.Get("Location"), q)
	}
	// What only PressOne knows, PressOne is asked.
	for _, sold := range s.sim.Ledger().Sold {
		if len(sold.Sims) == 5 {
			require.Contains(t, s.ask("/sagas?q="+sold.Sims[2].ICCID, nil, ann).text, "PressOne can be asked")
			require.Equal(t, "/sagas/"+five, s.ask("/sagas?ask=pressone&q="+sold.Sims[2].ICCID, nil, ann).Header.Get("Location"))
			require.Equal(t, "/sagas/"+five, s.ask("/sagas?ask=pressone&q="+sold.Code, nil, ann).Header.Get("Location"))
		}
	}

	for path, want := range map[string]int{
		"/sagas/nobody":                           http.StatusNotFound,
		"/sagas/" + strings.Repeat("0", 32):       http.StatusNotFound,
		"/dead-letters/x":                         http.StatusNotFound,
		"/dead-letters/" + five:                   http.StatusNotFound,
		"/replays/x":                              http.StatusNotFound,
		"/replays/" + five:                        http.StatusNotFound,
		"/nowhere":                                http.StatusNotFound,
		"/replays/new":                            http.StatusBadRequest, // everything: refused
		"/sagas?before=x":                         http.StatusBadRequest,
		"/dead-letters?list=1&after=x":            http.StatusBadRequest,
		"/dead-letters?older=x":                   http.StatusBadRequest,
		"/trail?after=x":                          http.StatusBadRequest,
		"/replays/new?id=x":                       http.StatusBadRequest,
		"/sagas?q=%00":                            http.StatusBadRequest, // no text
		"/sagas?state=%ff":                        http.StatusBadRequest,
		"/sagas/%00":                              http.StatusBadRequest,
		"/dead-letters?code=%00":                  http.StatusBadRequest,
		"/replays/new?package=%ff":                http.StatusBadRequest,
		"/replays/new?older=-1h":                  http.StatusBadRequest, // everything, said in another way
		"/audit?status=%00":                       http.StatusBadRequest,
		"/trail?actor=%ff":                        http.StatusBadRequest,
		"/trail?show=effects&actor=%00":           http.StatusBadRequest,
		"/assets/console.css":                     http.StatusOK,
		"/assets/":                                http.StatusNotFound,
		"/assets/htmx.min.js":                     http.StatusOK,
		"/sagas/" + url.PathEscape("<script>x"):   http.StatusNotFound,
		"/dead-letters?code=" + "%3Cscript%3E":    http.StatusOK,
		"/sagas?q=" + url.QueryEscape("\"><img>"): http.StatusOK,
	} {
		p := s.ask(path, nil, ann)
		require.Equal(t, want, p.StatusCode, "%s: %s", path, p.text)
		require.NotContains(t, p.text, "<script>")
		require.NotContains(t, p.text, "<img>")
	}
	for _, body := range []string{`{"class":"\u0000"}`, `{"older":-1}`} {
		p := s.api("POST /api/v1/replays/preview", opsToken, body)
		require.Equal(t, http.StatusBadRequest, p.StatusCode, "%s: %s", body, p.text)
	}
	require.NotContains(t, s.log.String(), "level=ERROR msg=console", "what others send is nobody's alarm")
	require.NotContains(t, s.log.String(), "level=ERROR msg=api")

	// What the console takes out of others' bytes, the API does too.
	letter := s.api("GET /api/v1"+screens["a dead letter of nasty bytes"], opsToken, "")
	var got deadletter.Letter
	require.NoError(t, json.Unmarshal([]byte(letter.text), &got))
	require.Equal(t, []string{"[hidden]"}, got.Headers["Authorization"])
	require.Contains(t, string(got.Body), "[activation code]")
	require.NotContains(t, string(got.Body), "CANARY")
	mended := s.api("POST /api/v1"+screens["a dead letter of nasty bytes"]+"/resubmit", opsToken,
		`{"actor":"ann","reason":"x","body":"`+base64.StdEncoding.EncodeToString(got.Body)+`"}`)
	require.Equal(t, http.StatusBadRequest, mended.StatusCode, "what was taken out is not published: %s", mended.text)

	// Another site's page cannot spend the account's calls.
	asked := s.ask("/sagas?ask=pressone&q=somebodys-code", nil, ann, "Sec-Fetch-Site", "cross-site")
	require.Contains(t, asked.text, "PressOne can be asked")
}

// Nobody gets in without the token, nothing is taken from another site, and a cookie that
// was tampered with is none.
func TestConsoleDoor(t *testing.T) {
	s := setup(t, pressonesim.Config{}).scene()
	for name, path := range s.screens() {
		p := s.ask(path, nil, nil)
		require.Equal(t, http.StatusSeeOther, p.StatusCode, name)
		require.Equal(t, "/log-in?to="+url.QueryEscape(path), p.Header.Get("Location"), name)
	}
	p := s.ask("/", nil, nil, "HX-Request", "true")
	require.Equal(t, http.StatusUnauthorized, p.StatusCode)
	require.Equal(t, "/log-in", p.Header.Get("HX-Redirect"))

	require.Equal(t, http.StatusUnauthorized, s.ask("/log-in", url.Values{"name": {"ann"}, "token": {"guess"}}, nil).StatusCode)
	require.Equal(t, http.StatusBadRequest, s.ask("/log-in", url.Values{"name": {" "}, "token": {opsToken}}, nil).StatusCode)
	p = s.ask("/log-in", url.Values{"name": {"ann"}, "token": {opsToken}, "to": {"//evil.example"}}, nil)
	require.Equal(t, "/log-in?in=1&to=%2F", p.Header.Get("Location"))
	ann := p.Cookies()
	require.Len(t, ann, 1)
	require.True(t, ann[0].Secure && ann[0].HttpOnly && ann[0].SameSite == http.SameSiteStrictMode && strings.HasPrefix(ann[0].Name, "__Host-"))
	require.Equal(t, "/sagas", s.ask("/log-in?to=/sagas", nil, ann).Header.Get("Location"), "who is in is led on")

	forged := *ann[0]
	forged.Value = "A" + forged.Value
	require.Equal(t, http.StatusSeeOther, s.ask("/sagas", nil, []*http.Cookie{&forged}).StatusCode)
	require.Equal(t, http.StatusUnauthorized, s.ask("/api/v1/sagas", nil, ann).StatusCode, "the API takes no cookies")

	letter := s.id("SELECT id::text FROM dead_letter WHERE request_id = 'recycled'")
	form := url.Values{"reason": {"x"}, "back": {"https://evil.example/"}}
	for _, from := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
		p := s.ask("/dead-letters/"+letter+"/discard", form, ann, from...)
		require.Equal(t, http.StatusForbidden, p.StatusCode)
		require.NotContains(t, p.text, "evil.example")
	}
	require.Equal(t, http.StatusSeeOther, s.ask("/dead-letters/"+letter+"/discard", form, nil).StatusCode, "to the door")
	require.Equal(t, 11, s.count("SELECT count(*) FROM dead_letter WHERE status = 'open'"), "nothing was done")
	require.Equal(t, http.StatusSeeOther, s.ask("/theme", url.Values{"theme": {"dark"}, "back": {"//evil.example"}}, ann).StatusCode)
}

// What an operator does in the console is done once, by the name they have logged in with,
// with a reason, and is on record.
func TestConsoleActions(t *testing.T) {
	s := setupAsApp(t, pressonesim.Config{}).scene()
	ann := s.logIn()
	five := s.sagaID("five")

	t.Run("shows an activation code only when that is recorded", func(t *testing.T) {
		reveal := "/sagas/" + five + "/reveal"
		require.Equal(t, http.StatusNotFound, s.ask(reveal, nil, ann).StatusCode, "no address leads there")
		require.Equal(t, http.StatusBadRequest, s.ask(reveal, url.Values{"reason": {" "}}, ann).StatusCode)
		require.Equal(t, http.StatusConflict, s.ask("/sagas/"+s.sagaID("poor-1")+"/reveal", url.Values{"reason": {"x"}}, ann).StatusCode)
		require.Zero(t, s.count("SELECT count(*) FROM reveal"))

		p := s.ask(reveal, url.Values{"actor": {"somebody else"}, "reason": {"cannot scan " + aCode}}, ann)
		require.Equal(t, http.StatusOK, p.StatusCode)
		require.Equal(t, 5, strings.Count(p.text, "LPA:1$"))
		require.Equal(t, "ann cannot scan [activation code] 5", s.id("SELECT actor || ' ' || reason || ' ' || cardinality(iccids) FROM reveal"))
		require.NotContains(t, s.ask("/sagas/"+five, nil, ann).text, "LPA:1$")
		require.Contains(t, s.ask("/sagas/"+five, nil, ann).text, "cannot scan")
		require.Contains(t, s.ask("/trail?show=effects", nil, ann).text, "revealed")
		require.NotContains(t, s.log.String(), "CANARY-MATCHING-ID", "a reason is logged, too")
		for _, sql := range []string{"DELETE FROM reveal", "UPDATE reveal SET actor = 'x'", "TRUNCATE reveal"} {
			_, err := s.db.Exec(t.Context(), sql)
			require.ErrorContains(t, err, "stays on record")
		}
	})
	t.Run("replays what the preview has shown", func(t *testing.T) {
		preview := s.ask("/replays/new?code=11", nil, ann)
		require.Contains(t, preview.text, "Replay 6 letters")
		start := func(expect, reason string) page {
			return s.ask("/replays", url.Values{"filter": {"code=11"}, "expect": {expect}, "reason": {reason}, "rate": {"100"}}, ann)
		}
		require.Equal(t, http.StatusBadRequest, start("", "x").StatusCode)
		require.Equal(t, http.StatusBadRequest, start("6", "").StatusCode)
		require.Equal(t, http.StatusConflict, start("5", "x").StatusCode, "there are more by now")
		p := start("6", "credit added")
		require.Equal(t, http.StatusSeeOther, p.StatusCode, p.text)
		require.Eventually(t, func() bool {
			text := s.ask(p.Header.Get("Location"), nil, ann).text
			return strings.Contains(text, "6 of 6 released") && strings.Contains(text, `Completed</span><span class="big">6`)
		}, 60*time.Second, 100*time.Millisecond)
		require.Contains(t, s.ask("/replays", nil, ann).text, "credit added")
		require.Contains(t, s.ask("/trail?actor=ann&show=effects", nil, ann).text, "and 5 more")
		require.Contains(t, s.ask("/trail?actor=ann", nil, ann).text, "credit added")
		require.NotContains(t, s.ask("/trail?actor=kim", nil, ann).text, "credit added")
	})
	t.Run("asks for the number of many letters", func(t *testing.T) {
		p := s.ask("/replays", url.Values{"filter": {"code=11"}, "expect": {"101"}, "reason": {"x"}}, ann)
		require.Equal(t, http.StatusBadRequest, p.StatusCode)
		require.Contains(t, p.text, "type 101")
	})
	t.Run("closes letters, adopts orders, confirms absences", func(t *testing.T) {
		letter := s.id("SELECT id::text FROM dead_letter WHERE request_id = 'recycled'")
		require.Contains(t, s.ask("/dead-letters/"+letter+"/discard", url.Values{"reason": {"refunded"}}, ann).Header.Get("Location"), "did=discarded")
		require.Contains(t, s.ask("/dead-letters/"+letter, nil, ann).text, "refunded")
		require.Equal(t, http.StatusConflict, s.ask("/dead-letters/"+letter+"/discard", url.Values{"reason": {"again"}}, ann).StatusCode)

		lost, stop := s.sagaID("lost"), s.id("SELECT id::text FROM dead_letter WHERE request_id = 'lost'")
		require.Equal(t, http.StatusBadRequest, s.ask("/sagas/"+lost+"/adopt", url.Values{"reason": {"x"}, "letter": {stop}, "order": {"x"}}, ann).StatusCode)
		require.Equal(t, http.StatusBadRequest, s.ask("/sagas/"+lost+"/adopt", url.Values{"reason": {"x"}, "order": {"1"}}, ann).StatusCode)
		require.Equal(t, http.StatusConflict, s.ask("/sagas/"+lost+"/adopt", url.Values{"reason": {"x"}, "letter": {stop}, "order": {"1"}}, ann).StatusCode)
		p := s.ask("/sagas/"+lost+"/confirm-absent", url.Values{"reason": {"looked there"}, "letter": {stop}}, ann)
		require.Equal(t, "/sagas/"+lost+"?did=confirmed", p.Header.Get("Location"), p.text)
		require.Contains(t, s.result("lost", 2).Type, ".completed.")
	})
	t.Run("publishes bytes that were mended", func(t *testing.T) {
		letter := s.id("SELECT id::text FROM dead_letter WHERE code = 'conflict'")
		require.Contains(t, s.ask("/dead-letters/"+letter, nil, ann).text, "Edit and publish")
		p := s.ask("/dead-letters/"+letter+"/resubmit", url.Values{"reason": {"a new id"}, "body": {order("mended")}}, ann)
		require.Equal(t, http.StatusSeeOther, p.StatusCode, p.text)
		s.completed("mended")
	})
	t.Run("pauses and resumes", func(t *testing.T) {
		move := func(do, what string) page {
			return s.ask("/gate", url.Values{"do": {do}, "what": {what}, "reason": {"maintenance"}}, ann)
		}
		require.Equal(t, http.StatusBadRequest, move("pause", "lane nowhere").StatusCode)
		require.Equal(t, http.StatusBadRequest, move("open", "kind topup").StatusCode)
		require.Equal(t, "/?did=paused", move("pause", "kind topup").Header.Get("Location"))
		require.Equal(t, http.StatusConflict, move("pause", "kind topup").StatusCode)
		require.Contains(t, s.ask("/", nil, ann).text, "maintenance")
		require.Equal(t, "/?did=resumed", move("resume", "kind topup").Header.Get("Location"))
	})
	t.Run("asks for an audit, and closes what it finds", func(t *testing.T) {
		require.Equal(t, http.StatusBadRequest, s.ask("/audit", url.Values{"from": {"yesterday"}}, ann).StatusCode)
		require.Equal(t, http.StatusConflict, s.ask("/audit", url.Values{"from": {"2030-01-02"}, "to": {"2030-01-01"}}, ann).StatusCode)
		require.Contains(t, s.ask("/audit", nil, ann).text, "&lt;trade fair&gt;")
		require.Equal(t, "/audit?did=audit", s.ask("/audit", url.Values{}, ann).Header.Get("Location"))
		require.Eventually(t, func() bool { return strings.Contains(s.ask("/audit", nil, ann).text, "good\">done") }, 60*time.Second, 100*time.Millisecond)
		require.Equal(t, http.StatusNotFound, s.ask("/audit/findings/"+five+"/dismiss", url.Values{"reason": {"x"}}, ann).StatusCode)
		dismiss := "/audit/findings/" + s.id("SELECT id::text FROM audit_finding") + "/dismiss"
		require.Equal(t, http.StatusBadRequest, s.ask(dismiss, url.Values{}, ann).StatusCode)
		require.Equal(t, "/audit?did=dismissed", s.ask(dismiss, url.Values{"reason": {"the trade fair's"}}, ann).Header.Get("Location"))
		require.Equal(t, http.StatusConflict, s.ask(dismiss, url.Values{"reason": {"again"}}, ann).StatusCode)
		require.Contains(t, s.ask("/trail?show=effects", nil, ann).text, "dismissed")
	})
	t.Run("remembers how it is to look", func(t *testing.T) {
		p := s.ask("/theme", url.Values{"theme": {"dark"}, "back": {"/sagas"}}, ann)
		require.Equal(t, "/sagas", p.Header.Get("Location"))
		require.Contains(t, s.ask("/sagas", nil, append(p.Cookies(), ann...)).text, `data-theme="dark"`)
		out := s.ask("/log-out", url.Values{}, ann)
		require.Negative(t, out.Cookies()[0].MaxAge)
	})
}

// Without a token the console is for whoever sits at the machine: another name for it, that
// somebody has pointed here, is refused, and so is what another site sends. Who acts says
// who they are.
func TestConsoleWithoutAToken(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	s := &scene{bench: b, w: b.worker(), browser: &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for path, says := range map[string]string{
		"/": "nothing is open", "/sagas": "No sagas yet", "/dead-letters": "Nothing has stopped", "/replays": "Nothing was replayed yet",
		"/audit": "The books agree", "/trail": "Nobody has done anything",
	} {
		p := s.ask(path, nil, nil)
		require.Equal(t, http.StatusOK, p.StatusCode)
		require.Contains(t, p.text, says)
	}
	require.Equal(t, http.StatusUnauthorized, s.ask("/", nil, nil, "Host", "rebound.example").StatusCode)
	require.Equal(t, http.StatusForbidden, s.ask("/audit", url.Values{"actor": {"ann"}}, nil, "Origin", "https://evil.example").StatusCode)
	require.Equal(t, http.StatusBadRequest, s.ask("/audit", url.Values{}, nil).StatusCode)
	p := s.ask("/audit", url.Values{"actor": {"Ann Ö."}}, nil)
	require.Equal(t, http.StatusSeeOther, p.StatusCode, p.text)
	require.Contains(t, s.ask("/audit", nil, p.Cookies()).text, `value="Ann Ö."`)
	require.Equal(t, "/", s.ask("/log-in", nil, nil).Header.Get("Location"))
}
