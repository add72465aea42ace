package pressone

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

// Guard says whether a submission may still be written: nil, or why not. It is asked in the connection at the moment of
// every write, possibly from another goroutine, so it must be quick, must not block, and must judge by its own monotonic
// clock. What is left uncovered is a process stopped between the guard's answer and the system call behind it.
type Guard func() error

// errUnowned is a write that belongs to no request: net/http must never make one.
var errUnowned = errors.New("write without a submission")

// errSealed is a write that comes after the outcome of its submission was decided.
var errSealed = errors.New("submission is over")

// sending is one submission on its way out: it asks the guard, and counts.
type sending struct {
	guard   Guard
	timeout time.Duration // how long the kernel may go on trying

	mu      sync.Mutex
	sealed  bool
	writing int   // writes that are in the kernel's hands right now
	written int64 // bytes that the kernel took
	refused error // what the guard said
}

// write writes p if the guard agrees. Once it has disagreed, nothing more is written.
func (s *sending) write(socket net.Conn, p []byte) (int, error) {
	s.mu.Lock()
	if s.sealed {
		s.mu.Unlock()
		return 0, errSealed
	}
	if s.refused == nil {
		s.refused = s.guard()
	}
	if s.refused != nil {
		defer s.mu.Unlock()
		return 0, s.refused
	}
	s.writing++
	s.mu.Unlock()

	n, err := socket.Write(p)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing--
	s.written += int64(n)
	return n, err
}

// seal ends the submission, so that nothing more of it can be written, and reports whether anything was or may have been,
// and what the guard said if it refused.
func (s *sending) seal() (sent bool, refused error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = true
	return s.written > 0 || s.writing > 0, s.refused
}

// trace attaches the sending to the very connection that net/http picks for the request, before it writes to it.
func (s *sending) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if c, ok := info.Conn.(*conn); ok { // it always is: there is no other dialer; and who is not bound cannot write
				c.socket.bind(s)
			}
		},
	})
}

// socket is the TCP connection under TLS. Nothing reaches the network but through its Write. (Embedding the interface rather
// than *net.TCPConn hides ReadFrom and the file descriptor, which would be ways around.)
type socket struct {
	net.Conn
	tcp *net.TCPConn

	mu        sync.Mutex
	handshake bool     // TLS is being set up; that is nobody's submission
	current   *sending // whose bytes are being written
}

// bind makes s the owner of what is written from now on. HTTP/1.1 has one request at a time on a connection.
func (k *socket) bind(s *sending) {
	_ = setUserTimeout(k.tcp, s.timeout) // best effort: it only narrows what the look-ups protect against
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current = s
}

// Write writes for the current submission, if its guard agrees. A refusal ends the connection.
func (k *socket) Write(p []byte) (int, error) {
	k.mu.Lock()
	s, handshake := k.current, k.handshake
	k.mu.Unlock()
	if handshake {
		return k.Conn.Write(p)
	}
	if s == nil {
		return 0, errUnowned
	}
	n, err := s.write(k.Conn, p)
	if err != nil {
		_ = k.Close()
	}
	return n, err
}

// shake sets TLS up over the socket.
func (k *socket) shake(ctx context.Context, cfg *tls.Config) (net.Conn, error) {
	k.setHandshake(true)
	defer k.setHandshake(false)
	c := tls.Client(k, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

func (k *socket) setHandshake(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.handshake = on
}

// conn is what net/http sees: the socket, or TLS over it.
type conn struct {
	net.Conn
	socket *socket
}

// Close closes the socket at once. It skips TLS's farewell, which would be a write that belongs to no submission.
func (c *conn) Close() error { return c.socket.Close() }

const (
	// dialTimeout bounds name resolution and connecting, and again TLS.
	dialTimeout = 10 * time.Second
	// idleTimeout is shorter than the keep-alive of any common server (five seconds is the shortest usual one), so that a
	// submission rarely meets a connection that the other side is closing.
	idleTimeout = 4 * time.Second
	// submitTimeout bounds a submission whose context has no deadline.
	submitTimeout = 60 * time.Second
)

// sender sends the two POSTs that must not happen twice.
type sender struct {
	client    *http.Client
	transport *http.Transport
	now       func() time.Time // the wall clock
}

// newSender builds a client of its own, shared with nobody:
//   - HTTP/1.1 only: one request at a time on a connection, so that bytes written can be told to belong to a request;
//   - no proxy, no redirects, no cookies, no compression (the body is kept as it came), no 100-continue;
//   - headers and body leave in one write, and one TLS record: the buffer holds both, and TLS does not start small.
func newSender(cfg *tls.Config, now func() time.Time) *sender {
	if cfg == nil {
		cfg = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t := &http.Transport{
		Proxy: nil,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			k, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &conn{Conn: k, socket: k}, nil
		},
		DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return dialTLS(ctx, network, addr, cfg)
		},
		Protocols:           http1(),
		DisableCompression:  true,
		MaxIdleConns:        0,
		MaxIdleConnsPerHost: 512,
		IdleConnTimeout:     idleTimeout,
		WriteBufferSize:     64 << 10,
	}
	return &sender{
		client:    &http.Client{Transport: t, CheckRedirect: noRedirects},
		transport: t,
		now:       now,
	}
}

func http1() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}

// noRedirects hands a redirect back as the answer that it is.
func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// dial connects. net/http dials apart from the request, so a connection may outlive the request that asked for it; it then
// serves the next one, or is closed after idleTimeout.
func dial(ctx context.Context, network, addr string) (*socket, error) {
	d := &net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("%s is not TCP", network)
	}
	// Closing, and dying, drops what the kernel has not sent yet: a submission that we gave up on must not go out after all.
	if err := tcp.SetLinger(0); err != nil {
		_ = c.Close()
		return nil, err
	}
	return &socket{Conn: c, tcp: tcp}, nil
}

func dialTLS(ctx context.Context, network, addr string, cfg *tls.Config) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	k, err := dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	cfg = cfg.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	cfg.NextProtos = []string{"http/1.1"}
	cfg.DynamicRecordSizingDisabled = true
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := k.shake(ctx, cfg)
	if err != nil {
		_ = k.Close()
		return nil, fmt.Errorf("tls: %w", err)
	}
	return &conn{Conn: c, socket: k}, nil
}

// do sends req once, and returns the answer with its whole body. Without an answer it returns what is known: NotSent and
// NotApplied when not one byte was handed to the kernel, Unknown otherwise.
func (d *sender) do(ctx context.Context, guard Guard, req *http.Request) (answer, *Error) {
	if _, ok := ctx.Deadline(); !ok {
		bounded, cancel := context.WithTimeout(ctx, submitTimeout)
		defer cancel()
		ctx = bounded
	}
	deadline, _ := ctx.Deadline()
	s := &sending{guard: guard, timeout: time.Until(deadline)}
	defer func() { _, _ = s.seal() }()
	req = req.WithContext(s.trace(ctx))
	req.GetBody = nil // net/http must not be able to send it again
	res, err := d.client.Do(req)
	if err != nil {
		sent, refused := s.seal()
		e := &Error{Err: cause(err, sent), Lost: refused == nil && !errors.Is(ctx.Err(), context.Canceled)}
		if refused != nil {
			e.Err = refused
		}
		if !sent {
			e.Disposition, e.NotSent = NotApplied, true
		}
		return answer{}, e
	}
	defer func() { _ = res.Body.Close() }()
	return readAnswer(res, bodyMax, d.now()), nil
}
