package pressonesim

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	simPackage   = "kallur-digital-7days-1gb"
	topupPackage = "bonbon-mobile-30days-3gb-topup"
)

// clock is a time that only moves when told.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock {
	return &clock{t: time.Date(2023, 2, 27, 14, 9, 55, 0, time.UTC)}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// client talks to a simulator as a careful integrator would: no redirects
// followed, connections not shared between calls.
type client struct {
	t     *testing.T
	srv   *Server
	clock *clock
	http  *http.Client
	token string
}

// setup starts a simulator at the time of the documentation's examples and
// gets a token.
func setup(t *testing.T, cfg Config) *client {
	t.Helper()
	clk := newClock()
	if cfg.Now == nil {
		cfg.Now = clk.now
	}
	srv, err := Start(cfg)
	require.NoError(t, err)
	t.Cleanup(srv.Close)
	c := &client{t: t, srv: srv, clock: clk, http: &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	c.login()
	return c
}

func (c *client) login() {
	c.t.Helper()
	a := c.post("token", url.Values{"client_id": {"client"}, "client_secret": {"secret"}, "grant_type": {"client_credentials"}})
	require.Equal(c.t, 200, a.status, a.text)
	token, ok := a.at("data.access_token").(string)
	require.True(c.t, ok)
	c.token = token
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	text   string
	tree   any
}

// at follows a dotted path; elements of arrays are numbers. What is not there
// is the string "absent".
func (a answer) at(path string) any {
	v := a.tree
	for step := range strings.SplitSeq(path, ".") {
		switch node := v.(type) {
		case map[string]any:
			next, ok := node[step]
			if !ok {
				return "absent"
			}
			v = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(node) {
				return "absent"
			}
			v = node[i]
		default:
			return "absent"
		}
	}
	return v
}

// string is the text at a path, or "" for anything else.
func (a answer) string(path string) string {
	s, _ := a.at(path).(string)
	return s
}

// int is the number at a path, or 0 for anything else.
func (a answer) int(path string) int {
	n, _ := a.at(path).(float64)
	return int(n)
}

// kind is the JSON type at a path.
func (a answer) kind(path string) string {
	switch v := a.at(path).(type) {
	case nil:
		return "null"
	case string:
		if v == "absent" {
			return v
		}
		return "string"
	case float64:
		return "number"
	case bool:
		return "bool"
	case []any:
		return "array"
	default:
		return "object"
	}
}

func (c *client) request(method, path, contentType string, body io.Reader) *http.Request {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.srv.URL()+"/"+path, body)
	require.NoError(c.t, err)
	req.Header.Set("Accept", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return req
}

// try sends a request; the error is what the client's transport says, or what
// reading the body says.
func (c *client) try(req *http.Request) (answer, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(body)}
	_ = json.Unmarshal(body, &a.tree)
	return a, nil
}

func (c *client) do(req *http.Request) answer {
	c.t.Helper()
	a, err := c.try(req)
	require.NoError(c.t, err)
	return a
}

func (c *client) get(path string) answer {
	c.t.Helper()
	return c.do(c.request(http.MethodGet, path, "", nil))
}

func (c *client) list(query url.Values) answer {
	c.t.Helper()
	return c.get("orders?" + query.Encode())
}

func (c *client) form(path string, form url.Values) *http.Request {
	c.t.Helper()
	return c.request(http.MethodPost, path, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
}

func (c *client) post(path string, form url.Values) answer {
	c.t.Helper()
	return c.do(c.form(path, form))
}

func orderForm(pkg, quantity, description string) url.Values {
	f := url.Values{"package_id": {pkg}, "quantity": {quantity}}
	if description != "" {
		f.Set("description", description)
	}
	return f
}

// order buys one eSIM and wants it to work.
func (c *client) order(description string) answer {
	c.t.Helper()
	a := c.post("orders", orderForm(simPackage, "1", description))
	require.Equal(c.t, 200, a.status, a.text)
	return a
}

func (c *client) topup(iccid, description string) answer {
	c.t.Helper()
	return c.post("orders/topups", url.Values{"package_id": {topupPackage}, "iccid": {iccid}, "description": {description}})
}

func multipartForm(t *testing.T, form url.Values) (string, io.Reader) {
	t.Helper()
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	for name, values := range form {
		for _, v := range values {
			require.NoError(t, w.WriteField(name, v))
		}
	}
	require.NoError(t, w.Close())
	return w.FormDataContentType(), &buf
}
