package pressone

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Config is what a Client needs.
type Config struct {
	// BaseURL is where PressOne's API begins, prefix included: https://host/customer/v2.
	BaseURL string
	// ClientID and ClientSecret are the account's credentials.
	ClientID, ClientSecret string
	// ReadTimeout bounds each request that only reads, and each request for a token. Default 15s.
	ReadTimeout time.Duration
	// NoEffectCodes are codes of which PressOne has said that they never follow an order that was made: an ambiguous answer
	// with one of them is NotApplied.
	NoEffectCodes []string
	// Tokens is where access tokens come from. Default: fetched and kept in memory by this client alone.
	Tokens TokenSource
	// Limiter is this worker's share of the account's rate. Reads wait for it; submissions do not, see [Limiter]. nil: none.
	Limiter *Limiter
	// TLS is used for HTTPS, for instance for an authority of one's own. Default: the system's, TLS 1.2 or newer.
	TLS *tls.Config
	// Metrics counts calls. nil: they are not counted.
	Metrics *Metrics
	// Tracing gets a span of every request. nil: there are none.
	Tracing trace.TracerProvider
	// Now is the wall clock, for a Retry-After that is a date in an answer that bears none. It may step: nothing else goes by
	// it. Default: time.Now.
	Now func() time.Time
}

// Format prints the configuration without its secret, whatever the verb.
func (c Config) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "pressone.Config{BaseURL: %q, ClientID: %q}", c.BaseURL, c.ClientID)
}

// Client calls PressOne. It is safe for concurrent use.
type Client struct {
	endpoint
	sender   *sender
	tokens   TokenSource
	limiter  *Limiter
	noEffect map[string]bool
	refused  readRefusals
}

// New returns a Client. It touches no network.
func New(cfg Config) (*Client, error) {
	ep, err := newEndpoint(cfg)
	if err != nil {
		return nil, err
	}
	c := &Client{
		endpoint: ep,
		sender:   newSender(cfg.TLS, ep.now),
		tokens:   cfg.Tokens,
		limiter:  cfg.Limiter,
		noEffect: make(map[string]bool),
	}
	if c.tokens == nil {
		fetch, err := NewFetch(cfg)
		if err != nil {
			return nil, err
		}
		c.tokens = newPrivateToken(fetch)
	}
	for _, code := range cfg.NoEffectCodes {
		c.noEffect[strings.TrimSpace(code)] = true
	}
	return c, nil
}

// Close closes idle connections. Calls in flight are not touched.
func (c *Client) Close() {
	c.sender.transport.CloseIdleConnections()
	c.transport.CloseIdleConnections()
}

// endpoint is what all calls to PressOne have in common, submissions aside.
type endpoint struct {
	base      string // without a slash at the end
	client    *http.Client
	transport *http.Transport
	metrics   *Metrics
	tracing   tracing
	secrets   secrets
	now       func() time.Time // the wall clock
}

func newEndpoint(cfg Config) (endpoint, error) {
	base, err := url.Parse(cfg.BaseURL)
	switch {
	case err != nil: // not shown: it quotes the URL, which may hold a password
		return endpoint{}, errors.New("pressone: base URL cannot be parsed")
	case base.Scheme != "https" && base.Scheme != "http" || base.Host == "":
		return endpoint{}, errors.New("pressone: base URL must be http(s)://host/prefix")
	case base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return endpoint{}, errors.New("pressone: base URL must not have a user, a query or a fragment")
	}
	cfgTLS := cfg.TLS
	if cfgTLS == nil {
		cfgTLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	timeout := cfg.ReadTimeout
	if timeout <= 0 {
		timeout = 15 * time.Second
	}
	t := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:     cfgTLS.Clone(),
		TLSHandshakeTimeout: dialTimeout,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: timeout, PingTimeout: timeout}, // or all reads hang on one that was forgotten on the way
		MaxIdleConnsPerHost: 2048,                                                              // one per saga in flight, or connections are made and dropped all the time
		IdleConnTimeout:     30 * time.Second,
	}
	now := cfg.Now
	if now == nil {
		now = time.Now
	}
	return endpoint{
		now:       now,
		base:      strings.TrimRight(base.String(), "/"),
		client:    &http.Client{Transport: t, Timeout: timeout, CheckRedirect: noRedirects},
		transport: t,
		metrics:   cfg.Metrics,
		tracing:   newTracing(cfg.Tracing, base),
		secrets:   secrets{cfg.ClientSecret},
	}, nil
}

// request builds a request with the headers that every call has. PressOne answers a validation error with an HTML page and
// status 500 when Accept is missing.
func (p *endpoint) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.base+path, body)
	if err != nil {
		return nil, withoutURL(err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "esimflow")
	return req, nil
}

// finish names the operation on an error, and takes out whatever known secret it quotes.
func (p *endpoint) finish(op Operation, e *Error, more ...string) *Error {
	e.Operation = op
	known := append(secrets(more), p.secrets...)
	e.Reason = known.clean(e.Reason)
	if e.Err != nil && !errors.Is(e.Err, ErrUnreadable) {
		if text := e.Err.Error(); known.clean(text) != clean(text) {
			e.Err = errors.New(known.clean(text))
		}
	}
	return e
}

const (
	bodyMax    = 1 << 20  // of a submission's answer and of an error
	listMax    = 32 << 20 // of a page: the catalogue of all countries at once is several megabytes
	drainAtEnd = 64 << 10 // what is read past the cap so that the connection can be used again
)

// exchange sends a request of which nothing depends on how often it is sent, and returns the answer.
func (p *endpoint) exchange(req *http.Request, limit int64) (answer, *Error) {
	ctx, connected := req.Context(), false
	res, err := p.client.Do(req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected = true },
	})))
	if err != nil {
		e := &Error{Err: cause(err, connected), Lost: ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded)}
		if !connected {
			e.Disposition, e.NotSent = NotApplied, true
		}
		return answer{}, e
	}
	defer func() { _ = res.Body.Close() }()
	return readAnswer(res, limit, p.now()), nil
}

// readAnswer reads an answer that arrived now whole, up to the limit. It never fails: what went wrong is in cut.
func readAnswer(res *http.Response, limit int64, now time.Time) answer {
	a := answer{status: res.StatusCode, header: res.Header, now: now}
	if res.StatusCode < 200 { // after a switch of protocols the body is the bare connection
		return a
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, limit))
	a.body = body
	switch {
	case err != nil:
		a.cut = fmt.Errorf("body: %w", cause(err, true))
	case int64(len(body)) == limit:
		if n, err := io.Copy(io.Discard, io.LimitReader(res.Body, drainAtEnd)); n > 0 || err != nil {
			a.cut = fmt.Errorf("body: more than %d bytes", limit)
		}
	}
	return a
}

// errBroken stands for an error of net/http that may quote what PressOne sent, which may be an order.
var errBroken = errors.New("connection broke without a readable answer")

// cause is what of an error of net/http may be kept: everything when nothing was sent, and afterwards what the operating
// system, a time-out or the end of the stream say, but not what quotes an answer.
func cause(err error, sent bool) error {
	err = withoutURL(err)
	if !sent {
		return err
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return err
	}
	for _, harmless := range []error{context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed} {
		if errors.Is(err, harmless) {
			return err
		}
	}
	return errBroken
}

// withoutURL takes the URL out of an error of net/http: it holds the query.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// unreadable is a 2xx whose body could not be understood.
func unreadable(a answer, err error) *Error {
	return &Error{Status: a.status, Err: err}
}

// readRefusals remembers when a read last had a token replaced, and which was last good. A 401 on one order may mean "not
// yours", and then no token helps; /token allows few requests a minute, so each client's reads may have it replaced once in that
// time, and what may not be ours not while the token is good for other things.
type readRefusals struct {
	mu       sync.Mutex
	replaced time.Time
	good     int64 // version of the token
	when     time.Time
}

const (
	readRefusalEvery = time.Minute
	goodFor          = 10 * time.Second // or polls would wait for longer where the token really is refused, without a code
)

// worked notes that PressOne has accepted a token.
func (r *readRefusals) worked(t Token) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.good, r.when = t.Version, time.Now()
}

// allow reports whether a read may have the token replaced now; one that may just not be ours is notOurs.
func (r *readRefusals) allow(t Token, notOurs bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.replaced.IsZero() && time.Since(r.replaced) < readRefusalEvery {
		return false
	}
	if notOurs && r.good == t.Version && time.Since(r.when) < goodFor {
		return false
	}
	r.replaced = time.Now()
	return true
}
