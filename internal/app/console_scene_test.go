package app_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/message"
	"esimflow/internal/pressone"
	"esimflow/internal/pressonesim"
)

const (
	opsToken   = "canary-ops-token-0815"
	aCode      = "LPA:1$smdp.example.com$CANARY-MATCHING-ID"
	nastyBytes = `{"request_id":"<script>alert(1)</script>","note":"` + aCode + `"`
)

// scene is a worker with a bit of everything for operators to look at: what went well, what
// was refused, what nobody knows, bytes that mean harm, and an order that nobody asked for.
type scene struct {
	*bench

	w       *app.Worker
	browser *http.Client
}

func (b *bench) scene() *scene {
	b.t.Helper()
	b.env["OPS_TOKEN"] = opsToken
	b.env["UNKNOWN_POLICY"] = "hold"
	maps.Copy(b.env, patient) // an answer that comes late would be held, too
	s := &scene{bench: b, w: b.worker()}
	b.publisher()
	s.browser = &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	b.sim.AddPackage(pressonesim.Package{ID: "lost-package", Price: 450})
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, PackageID: "lost-package", Action: pressonesim.Status, Status: 503, Code: 4033, Times: 1})
	b.sim.AddPackage(pressonesim.Package{ID: "dead-package", Price: 450, Recycled: true})

	b.completed(b.orders("good", 8)...)
	b.publish(message.Order, `{"request_id":"five","package_id":"kallur-digital-7days-1gb","quantity":5,"metadata":{"customer":"c-19"}}`)
	b.completed("five")
	b.publish(message.Order, `{"request_id":"recycled","package_id":"dead-package"}`)
	b.publish(message.Order, `{"request_id":"lost","package_id":"lost-package"}`)
	b.result("recycled", 1)
	require.Equal(b.t, "outcome_unknown", b.result("lost", 1).Data["code"])
	balance := b.sim.Balance()
	b.sim.SetBalance(0)
	for _, id := range b.orders("poor", 6) {
		require.Equal(b.t, "11", b.result(id, 1).Data["code"])
	}
	b.sim.SetBalance(balance)
	b.publish(message.Order, nastyBytes, "Authorization", "Bearer canary-of-upstream", "X-Shop", "<b>berlin</b>")
	b.publish(message.Order, "\x00\xff not a request")
	b.publish(message.Order, `{"request_id":"good-1","package_id":"change-7days-1gb"}`)
	require.Eventually(b.t, func() bool { return b.count("SELECT count(*) FROM dead_letter WHERE status = 'open'") == 11 },
		60*time.Second, 50*time.Millisecond)
	s.orphan()
	return s
}

// orphan buys an order behind our back, and has the audit find it.
func (s *scene) orphan() {
	s.t.Helper()
	client, err := pressone.New(pressone.Config{
		BaseURL: s.env["PRESSONE_BASE_URL"], ClientID: s.env["PRESSONE_CLIENT_ID"], ClientSecret: s.env["PRESSONE_CLIENT_SECRET"],
	})
	require.NoError(s.t, err)
	defer client.Close()
	_, err = client.SubmitOrder(s.t.Context(), func() error { return nil }, pressone.OrderRequest{
		PackageID: "kallur-digital-7days-1gb", Quantity: 1, Description: "by hand, for the <trade fair>",
	})
	require.NoError(s.t, err)
	p := s.ask("/audit", url.Values{}, s.logIn())
	require.Equal(s.t, http.StatusSeeOther, p.StatusCode, p.text)
	require.Eventually(s.t, func() bool { return s.count("SELECT count(*) FROM audit_run WHERE state = 'done'") == 1 }, 60*time.Second, 50*time.Millisecond)
	require.Equal(s.t, 1, s.count("SELECT count(*) FROM audit_finding WHERE status = 'open'"))
}

// page is an answer of the console's.
type page struct {
	*http.Response

	text string
}

// ask sends a request as a browser that has these cookies does. A form makes it a POST.
func (s *scene) ask(path string, form url.Values, cookies []*http.Cookie, header ...string) page {
	s.t.Helper()
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.w.APIAddr()+path, strings.NewReader(body))
	require.NoError(s.t, err)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range cookies {
		req.AddCookie(c)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	res, err := s.browser.Do(req)
	require.NoError(s.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	return page{res, string(text)}
}

// logIn returns the cookies of Ann, who has logged in.
func (s *scene) logIn() []*http.Cookie {
	s.t.Helper()
	p := s.ask("/log-in", url.Values{"name": {"ann"}, "token": {opsToken}}, nil)
	require.Equal(s.t, http.StatusSeeOther, p.StatusCode, p.text)
	return p.Cookies()
}

// id is the id of the only row that a query selects.
func (s *scene) id(sql string) string {
	s.t.Helper()
	var id string
	require.NoError(s.t, s.db.QueryRow(s.t.Context(), sql).Scan(&id))
	return id
}

func (s *scene) sagaID(request string) string {
	return s.id(fmt.Sprintf("SELECT id::text FROM saga WHERE kind = 'order' AND request_id = '%s'", request))
}

// codes are the activation codes of everything that PressOne has sold.
func (s *scene) codes() (codes []string) {
	for _, o := range s.sim.Ledger().Sold {
		for _, sim := range o.Sims {
			codes = append(codes, sim.MatchingID)
		}
	}
	return codes
}

// screens are the addresses of every screen.
func (s *scene) screens() map[string]string {
	s.t.Helper()
	return map[string]string{
		"overview":                     "/",
		"sagas":                        "/sagas",
		"sagas in a state":             "/sagas?state=dead_lettered&kind=order",
		"nothing found":                "/sagas?q=nobody-has-this",
		"a saga that is completed":     "/sagas/" + s.sagaID("five"),
		"a saga that has stopped":      "/sagas/" + s.sagaID("lost"),
		"dead letters by group":        "/dead-letters",
		"dead letters of a group":      "/dead-letters?code=11&class=insufficient_credit",
		"dead letters one by one":      "/dead-letters?list=1",
		"a dead letter":                "/dead-letters/" + s.id("SELECT id::text FROM dead_letter WHERE request_id = 'poor-1'"),
		"a dead letter of nasty bytes": "/dead-letters/" + s.id("SELECT id::text FROM dead_letter WHERE code = 'malformed' AND body LIKE '{%'"),
		"a dead letter of no text":     "/dead-letters/" + s.id("SELECT id::text FROM dead_letter WHERE code = 'malformed' AND body NOT LIKE '{%'"),
		"a preview":                    "/replays/new?code=11",
		"a preview of nothing":         "/replays/new?code=nothing",
		"replays":                      "/replays",
		"audit":                        "/audit",
		"audit, all findings":          "/audit?status=any",
		"trail":                        "/trail",
		"trail of effects":             "/trail?show=effects",
	}
}
