package app

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// How long a connection may be silent before it counts as dead. A router or a balancer may
// forget one without telling anybody, and a server that is gone says nothing. Whoever
// waited without a bound would keep what they hold, sagas under a lease that is renewed
// over another connection, for as long as TCP has hope: a quarter of an hour, or for ever.
const (
	// postgresPing bounds the question whether an idle connection is still there.
	postgresPing = 3 * time.Second
	// natsPing is how often NATS is asked; a connection is given up after natsPings that were
	// not answered.
	natsPing  = 5 * time.Second
	natsPings = 2
)

// postgresSilence is longer than any statement of ours takes, lock waits included. Tests
// shorten it.
var postgresSilence = 30 * time.Second

// impatient makes dial's connections fail when an answer is waited for longer than d.
func impatient(dial pgconn.DialFunc, d time.Duration) pgconn.DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &impatientConn{Conn: c, patience: d}, nil
	}
}

// impatientConn is a connection each of whose reads ends within patience, or at the
// deadline that its user has set, whichever comes first.
type impatientConn struct {
	net.Conn
	patience time.Duration

	mu       sync.Mutex
	deadline time.Time // for reading, as set from outside; zero for none
}

// Read implements net.Conn.
func (c *impatientConn) Read(b []byte) (int, error) {
	if err := c.wait(); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// wait sets the deadline of the next read. It holds the lock meanwhile, so that a deadline
// set from another goroutine, to interrupt that read, is not lost.
func (c *impatientConn) wait() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	until := time.Now().Add(c.patience)
	if !c.deadline.IsZero() && c.deadline.Before(until) {
		until = c.deadline
	}
	return c.Conn.SetReadDeadline(until)
}

// SetDeadline implements net.Conn.
func (c *impatientConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *impatientConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.Conn.SetReadDeadline(t)
}
