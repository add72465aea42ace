package pressone

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The canaries must not appear in any error.
const (
	canarySecret = "canary-client-secret-5577"
	canaryToken  = "canary-token-8899"
	canaryLPA    = "LPA:1$smdp.example.com$CANARY-MATCHING-ID"
)

// rawServer is PressOne at the level of connections: a listener that shows what really arrived.
type rawServer struct {
	tb  testing.TB
	lis net.Listener

	mu       sync.Mutex
	received []string // whole requests, in the order of arrival
	bytes    int      // everything that arrived, requests or not
	conns    int
	open     map[net.Conn]bool
	closed   bool
	wg       sync.WaitGroup
}

// reply is what a rawServer does with a request: answer with these bytes, and go on or close.
type reply struct {
	bytes string
	close bool
}

// answerWith is an answer that keeps the connection.
func answerWith(status int, body string) reply {
	return reply{bytes: fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)}
}

// serveRaw serves every request with what handle says for its number, from 1.
func serveRaw(tb testing.TB, lis net.Listener, handle func(n int, req string) reply) *rawServer {
	tb.Helper()
	s := &rawServer{tb: tb, lis: lis, open: make(map[net.Conn]bool)}
	s.wg.Go(func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			if s.closed {
				s.mu.Unlock()
				_ = c.Close()
				return
			}
			s.conns++
			s.open[c] = true
			s.mu.Unlock()
			s.wg.Go(func() { s.serve(c, handle) })
		}
	})
	tb.Cleanup(s.stop)
	return s
}

func (s *rawServer) stop() {
	_ = s.lis.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// reset resets every connection, as a host does that knows nothing of it.
func (s *rawServer) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

func (s *rawServer) serve(c net.Conn, handle func(n int, req string) reply) {
	defer c.Close()
	var raw bytes.Buffer
	r := bufio.NewReader(io.TeeReader(countingReader{c, s}, &raw))
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.received = append(s.received, req.Method+" "+req.URL.RequestURI()+"\n"+headerText(req.Header)+"\n"+string(body))
		n := len(s.received)
		text := s.received[n-1]
		s.mu.Unlock()
		answer := handle(n, text)
		_, _ = io.WriteString(c, answer.bytes)
		if answer.close {
			return
		}
	}
}

func headerText(h http.Header) string {
	var b strings.Builder
	_ = h.Write(&b)
	return b.String()
}

type countingReader struct {
	net.Conn
	s *rawServer
}

func (r countingReader) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.s.mu.Lock()
	r.s.bytes += n
	r.s.mu.Unlock()
	return n, err
}

// requests returns the requests that arrived whole.
func (s *rawServer) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.received...)
}

// accepted waits for that many connections: a client may have one before the server knows of it.
func (s *rawServer) accepted(conns int) {
	s.tb.Helper()
	require.Eventually(s.tb, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.conns >= conns
	}, time.Minute, time.Millisecond)
}

// arrived returns how many bytes and connections arrived, once everything that was under way has.
func (s *rawServer) arrived() (octets, conns int) {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes, s.conns
}

func (s *rawServer) url() string { return "http://" + s.lis.Addr().String() + "/customer/v2" }

func listen(tb testing.TB) net.Listener {
	tb.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	return lis
}

// staticTokens hands out canaryToken, and a new version after each rejection.
type staticTokens struct {
	mu       sync.Mutex
	version  int64
	rejected int
	err      error
}

func (s *staticTokens) Token(context.Context) (Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Token{Value: Secret(fmt.Sprintf("%s-%d", canaryToken, s.version)), Version: s.version}, s.err
}

func (s *staticTokens) Reject(_ context.Context, t Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Version == s.version {
		s.version++
		s.rejected++
	}
	return nil
}

// newClient returns a client of base with tokens of its own; change alters its configuration.
func newClient(tb testing.TB, base string, change ...func(*Config)) *Client {
	tb.Helper()
	cfg := Config{
		BaseURL: base, ClientID: "id", ClientSecret: canarySecret, Tokens: &staticTokens{version: 1}, ReadTimeout: time.Minute,
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg)
	require.NoError(tb, err)
	tb.Cleanup(c.Close)
	return c
}

// serveHTTP is for what is not about connections.
func serveHTTP(tb testing.TB, h http.HandlerFunc) string {
	tb.Helper()
	s := httptest.NewServer(h)
	tb.Cleanup(s.Close)
	return s.URL + "/customer/v2"
}

// selfSigned returns a server's TLS configuration for 127.0.0.1, and the client's that trusts it.
func selfSigned(tb testing.TB) (server, client *tls.Config) {
	tb.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS() // for its certificate only
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	server = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: s.TLS.Certificates}
	return server, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
}

// overdue is a context whose deadline passes when expire is called: a busy machine is not to reach it before the request is sent.
type overdue struct {
	context.Context
	passed chan struct{}
	expire func()
}

func newOverdue() overdue {
	passed := make(chan struct{})
	return overdue{Context: context.Background(), passed: passed, expire: sync.OnceFunc(func() { close(passed) })}
}

func (o overdue) Done() <-chan struct{} { return o.passed }

func (o overdue) Err() error {
	select {
	case <-o.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// go ahead: a guard that always agrees.
func goAhead() error { return nil }

var anOrder = OrderRequest{PackageID: "change-7days-1gb", Quantity: 1, Description: "ref0123456789"}

const orderBody = `{"data":{"id":9666,"code":"20230227-009666","package_id":"change-7days-1gb","quantity":"1","type":"sim",` +
	`"description":"ref0123456789","price":9.50,"currency":"USD","created_at":"2023-02-27 14:09:55",` +
	`"sims":[{"id":1,"iccid":"8944465400000267221","lpa":"smdp.example.com","matching_id":"CANARY-MATCHING-ID",` +
	`"qrcode":"` + canaryLPA + `","apn_value":"N/A","is_roaming":null}]},"meta":{"message":"success"}}`

// requireError asserts that err is an *Error without secrets, and returns it.
func requireError(tb testing.TB, err error) *Error {
	tb.Helper()
	require.Error(tb, err)
	var e *Error
	require.ErrorAs(tb, err, &e)
	for _, text := range []string{err.Error(), fmt.Sprintf("%v %+v %#v %q", err, err, err, err), e.Reason} {
		for _, secret := range []string{canarySecret, canaryToken, "CANARY-MATCHING-ID"} {
			require.NotContains(tb, text, secret)
		}
	}
	return e
}
