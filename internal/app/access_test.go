package app_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/ops"
	"esimflow/internal/pressonesim"
)

const viewerToken = "canary-viewer-token-0816"

// api asks the worker's API as somebody who has a token.
func (s *scene) api(pattern, token, body string) page {
	s.t.Helper()
	method, path, _ := strings.Cut(pattern, " ")
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.w.APIAddr()+path, strings.NewReader(body))
	require.NoError(s.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := s.browser.Do(req)
	require.NoError(s.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	return page{res, string(text)}
}

// guarded is a worker with both tokens.
func guarded(t *testing.T) *scene {
	t.Helper()
	b := setup(t, pressonesim.Config{})
	b.env["OPS_TOKEN"], b.env["OPS_VIEWER_TOKEN"] = opsToken, viewerToken
	return &scene{bench: b, w: b.worker(), browser: newBrowser()}
}

const nobodys = "0190d4a6-7e0c-7000-8000-000000000000"

// Whatever acts leaves exactly one line, with who, as what, why and what came of it, whether it
// was done or refused; what only reads leaves none.
func TestEveryActionIsOnRecord(t *testing.T) {
	s := guarded(t)
	ann := s.logIn()
	lines := func() int { return s.count("SELECT count(*) FROM action") }
	results := func() int { return s.count("SELECT count(*) FROM action_result") }
	require.Equal(t, 1, lines(), "the log-in")
	for _, rt := range ops.Routes() {
		if rt.Needs == ops.Nobody {
			continue
		}
		before, ended := lines(), results()
		method, path, _ := strings.Cut(rt.Pattern, " ")
		path = strings.NewReplacer("{$}", "", "{id}", nobodys).Replace(path)
		if strings.HasPrefix(path, "/api/") {
			s.api(method+" "+path, opsToken, `{"actor":"ann","reason":"of `+path+`"}`)
		} else {
			var form url.Values
			if method == http.MethodPost {
				form = url.Values{"reason": {"of " + path}, "actor": {"kim"}, "filter": {"code=11"}, "expect": {"1"}, "what": {"kind order"}, "do": {"pause"}}
			}
			s.ask(path, form, ann)
		}
		if rt.Does == "" {
			require.Equal(t, before, lines(), rt.Pattern)
			continue
		}
		require.Equal(t, before+1, lines(), rt.Pattern)
		require.Equal(t, ended+1, results(), rt.Pattern)
		line := s.id(`SELECT a.actor || ' ' || a.role || ' ' || a.how || ' ' || a.what FROM action a ORDER BY at DESC, id DESC LIMIT 1`)
		does := rt.Does
		if path == "/gate" {
			does = "pause"
		}
		require.Equal(t, "ann operator token "+does, line, rt.Pattern)
		if rt.Reasoned {
			require.Equal(t, "of "+path, s.id(`SELECT reason FROM action ORDER BY at DESC, id DESC LIMIT 1`))
		}
		if strings.Contains(rt.Pattern, "{id}") {
			require.Equal(t, nobodys, s.id(`SELECT target FROM action ORDER BY at DESC, id DESC LIMIT 1`))
			require.Equal(t, "refused", s.id(`SELECT result FROM action_result ORDER BY at DESC LIMIT 1`), rt.Pattern)
		}
		// Viewers, strangers and those who give no reason leave none: nothing was done.
		if strings.HasPrefix(path, "/api/") {
			require.Equal(t, http.StatusForbidden, s.api(rt.Pattern, viewerToken, `{"actor":"kim","reason":"x"}`).StatusCode)
			require.Equal(t, http.StatusBadRequest, s.api(rt.Pattern, opsToken, `{}`).StatusCode)
			require.Equal(t, before+1, lines(), rt.Pattern)
		}
	}
	require.Equal(t, "done", s.id(`SELECT result FROM action_result JOIN action ON action_id = id WHERE what = 'pause' AND target = 'kind order'`))

	s.ask("/log-out", url.Values{}, ann)
	require.Equal(t, 1, s.count("SELECT count(*) FROM action WHERE what = 'log_out'"))
	trail := s.api("GET /api/v1/trail?actor=ann&what=pause", viewerToken, "")
	require.Equal(t, http.StatusOK, trail.StatusCode)
	require.Contains(t, trail.text, `"target":"kind order","reason":"of /gate","result":"done"`)
	for _, sql := range []string{
		"UPDATE action SET actor = 'kim'", "DELETE FROM action", "TRUNCATE action",
		"UPDATE action_result SET result = 'done'", "DELETE FROM action_result", "TRUNCATE action_result",
	} {
		_, err := s.db.Exec(t.Context(), sql)
		require.ErrorContains(t, err, "stays on record", sql)
	}
}

// What cannot be put on record is not done.
func TestNothingIsDoneOffTheRecord(t *testing.T) {
	s := guarded(t)
	ann := s.logIn()
	_, err := s.db.Exec(t.Context(), "ALTER TABLE action RENAME TO elsewhere")
	require.NoError(t, err)
	pause := `{"kind":"order","actor":"ann","reason":"x"}`
	require.Equal(t, http.StatusInternalServerError, s.api("POST /api/v1/gate/pause", opsToken, pause).StatusCode)
	form := url.Values{"do": {"pause"}, "what": {"kind order"}, "reason": {"x"}}
	require.Equal(t, http.StatusInternalServerError, s.ask("/gate", form, ann).StatusCode)
	require.Equal(t, http.StatusInternalServerError, s.ask("/log-in", url.Values{"name": {"kim"}, "token": {opsToken}}, nil).StatusCode)
	require.Zero(t, s.count("SELECT count(*) FROM gate_pause"))
	require.Negative(t, sessionIn(s.ask("/log-out", url.Values{}, ann).Cookies()).MaxAge, "one can always leave")
	_, err = s.db.Exec(t.Context(), "ALTER TABLE elsewhere RENAME TO action")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, s.api("POST /api/v1/gate/pause", opsToken, pause).StatusCode)
	require.Equal(t, 1, s.count("SELECT count(*) FROM gate_pause"))
}

// A viewer reads every screen, is offered nothing to do, and is shown no activation code.
func TestViewer(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	b.env["OPS_VIEWER_TOKEN"] = viewerToken
	s := b.scene()
	p := s.ask("/log-in", url.Values{"name": {"kim"}, "token": {viewerToken}}, nil)
	require.Equal(t, http.StatusSeeOther, p.StatusCode, p.text)
	kim := p.Cookies()
	for name, path := range s.screens() {
		p := s.ask(path, nil, kim)
		require.Equal(t, http.StatusOK, p.StatusCode, name)
		require.Contains(t, p.text, `data-role="viewer"`)
	}
	for _, path := range []string{"sagas", "dead-letters", "dead-letter-groups", "replays", "audits", "audit-findings", "gate", "gate/trail", "trail"} {
		require.Equal(t, http.StatusOK, s.api("GET /api/v1/"+path, viewerToken, "").StatusCode, path)
	}
	require.Equal(t, http.StatusOK, s.api("POST /api/v1/replays/preview", viewerToken, `{"code":"11"}`).StatusCode, "it changes nothing")
	p = s.ask("/sagas/"+s.sagaID("five")+"/reveal", url.Values{"reason": {"curious"}}, kim)
	require.Equal(t, http.StatusForbidden, p.StatusCode)
	require.NotContains(t, p.text, "LPA:")
	require.Zero(t, s.count("SELECT count(*) FROM reveal"))
	require.NotContains(t, b.log.String(), viewerToken)
	require.Contains(t, s.ask("/trail", nil, kim).text, "viewer, token")
}

// Whoever sends no end of headers, or none at all, is not waited for.
func TestHeadersThatDoNotEnd(t *testing.T) {
	s := guarded(t)
	dial := func(send string) string {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", s.w.APIAddr())
		require.NoError(t, err)
		defer conn.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		end, _ := ctx.Deadline()
		require.NoError(t, conn.SetDeadline(end))
		_, _ = conn.Write([]byte(send)) // it may be hung up on
		got, _ := io.ReadAll(conn)
		require.NoError(t, ctx.Err(), "the connection is still open")
		return string(got)
	}
	require.Eventually(t, func() bool { // whoever reads late finds the connection reset, and the answer gone
		return strings.Contains(dial("GET / HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("a", 80<<10)+"\r\n\r\n"), " 431 ")
	}, time.Minute, 20*time.Millisecond)
	require.NotContains(t, dial("GET / HTTP/1.1\r\nHost: x\r\n"), " 200 ")
}
