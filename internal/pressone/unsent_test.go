package pressone

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// longToken is longer than the records that TLS begins with.
type longToken struct{}

func (longToken) Token(context.Context) (Token, error) {
	return Token{Value: Secret(strings.Repeat("t", 6000)), Version: 1}, nil
}
func (longToken) Reject(context.Context, Token) error { return nil }

func TestNothingIsSent(t *testing.T) {
	t.Parallel()
	requireNotSent := func(t *testing.T, err error) *Error {
		t.Helper()
		e := requireError(t, err)
		require.Equal(t, NotApplied, e.Disposition, err)
		require.True(t, e.NotSent)
		require.Zero(t, e.Status)
		return e
	}
	// requireExpires submits with a guard that refuses once it is late.
	requireExpires := func(t *testing.T, c *Client, s *rawServer, late *atomic.Bool, why string) {
		t.Helper()
		expired := errors.New("deadline has passed")
		_, err := c.SubmitOrder(t.Context(), func() error {
			if late.Load() {
				return expired
			}
			return nil
		}, anOrder)
		requireNotSent(t, err)
		require.ErrorIs(t, err, expired)
		octets, _ := s.arrived()
		require.Zero(t, octets, why)
	}

	t.Run("when the guard refuses", func(t *testing.T) {
		t.Parallel()
		s := serveRaw(t, listen(t), func(int, string) reply { return answerWith(200, orderBody) })
		expired := errors.New("lease has run out")
		_, err := newClient(t, s.url()).SubmitOrder(t.Context(), func() error { return expired }, anOrder)
		requireNotSent(t, err)
		require.ErrorIs(t, err, expired)
		s.accepted(1)
		octets, conns := s.arrived()
		require.Zero(t, octets)
		require.Equal(t, 1, conns, "it was connected, so the guard was asked at the write")
	})

	t.Run("when the guard changes its mind between connecting and writing", func(t *testing.T) {
		t.Parallel()
		var accepted atomic.Bool
		lis := acceptHook{Listener: listen(t), hook: func() { accepted.Store(true) }}
		s := serveRaw(t, lis, func(int, string) reply { return answerWith(200, orderBody) })
		c := newClient(t, s.url())
		k := c.sender.transport.DialContext
		c.sender.transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := k(ctx, network, addr)
			for err == nil && !accepted.Load() { // the other side has it before it is written to
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				runtime.Gosched()
			}
			return conn, err
		}
		requireExpires(t, c, s, &accepted, "it was asked at the write")
	})

	t.Run("when the guard runs out while TLS is being set up", func(t *testing.T) {
		t.Parallel()
		server, trusting := selfSigned(t)
		var late atomic.Bool
		server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			late.Store(true) // by the time the handshake ends, the deadline has passed
			return nil, nil
		}
		s := serveRaw(t, tls.NewListener(listen(t), server), func(int, string) reply { return answerWith(200, orderBody) })
		c := newClient(t, strings.Replace(s.url(), "http:", "https:", 1), func(cfg *Config) { cfg.TLS = trusting })
		requireExpires(t, c, s, &late, "nothing of it came out of TLS at the other end")
	})

	t.Run("when the connection is refused", func(t *testing.T) {
		t.Parallel()
		_, err := newClient(t, "http://127.0.0.1:1/v2").SubmitOrder(t.Context(), goAhead, anOrder)
		requireNotSent(t, err)
	})

	t.Run("when the name cannot be resolved", func(t *testing.T) {
		t.Parallel()
		_, err := newClient(t, "http://pressone.invalid/v2").SubmitOrder(t.Context(), goAhead, anOrder)
		requireNotSent(t, err)
	})

	t.Run("when TLS fails", func(t *testing.T) {
		t.Parallel()
		server, _ := selfSigned(t)
		s := serveRaw(t, tls.NewListener(listen(t), server), func(int, string) reply { return answerWith(200, orderBody) })
		_, err := newClient(t, strings.Replace(s.url(), "http:", "https:", 1)).SubmitOrder(t.Context(), goAhead, anOrder)
		requireNotSent(t, err)
		require.Empty(t, s.requests())
	})

	t.Run("when the context ends before it is connected", func(t *testing.T) {
		t.Parallel()
		s := serveRaw(t, listen(t), func(int, string) reply { return answerWith(200, orderBody) })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := newClient(t, s.url()).SubmitOrder(ctx, goAhead, anOrder)
		requireNotSent(t, err)
		octets, _ := s.arrived()
		require.Zero(t, octets)
	})

	t.Run("when there is no token", func(t *testing.T) {
		t.Parallel()
		s := serveRaw(t, listen(t), func(int, string) reply { return answerWith(200, orderBody) })
		c := newClient(t, s.url(), func(cfg *Config) { cfg.Tokens = &staticTokens{err: errors.New("database is away")} })
		_, err := c.SubmitOrder(t.Context(), goAhead, anOrder)
		e := requireNotSent(t, err)
		require.Equal(t, OpToken, e.Operation)
	})

	t.Run("when the idle connection has gone stale", func(t *testing.T) {
		t.Parallel()
		s := serveRaw(t, listen(t), func(int, string) reply { return answerWith(200, orderBody) })
		c := newClient(t, s.url())
		c.sender.transport.IdleConnTimeout = time.Minute // a busy machine is not to reach it
		_, err := c.SubmitOrder(t.Context(), goAhead, anOrder)
		require.NoError(t, err)
		// The other side resets it after net/http has chosen it, right before the write.
		_, err = c.SubmitOrder(t.Context(), func() error { s.reset(); return nil }, anOrder)
		requireNotSent(t, err)
		require.Len(t, s.requests(), 1)
		_, conns := s.arrived()
		require.Equal(t, 1, conns, "nobody dialled again")
	})
}

// TestClosingIsNotSending checks that TLS's farewell is not written, which would count as a part of the submission.
func TestClosingIsNotSending(t *testing.T) {
	t.Parallel()
	server, trusting := selfSigned(t)
	s := serveRaw(t, tls.NewListener(listen(t), server), func(int, string) reply { return reply{} })
	c, err := dialTLS(t.Context(), "tcp", s.lis.Addr().String(), trusting)
	require.NoError(t, err)
	own, ok := c.(*conn)
	require.True(t, ok)
	out := &sending{guard: goAhead, timeout: time.Second}
	own.socket.bind(out)
	require.NoError(t, c.Close())
	sent, refused := out.seal()
	require.False(t, sent)
	require.NoError(t, refused)
	_, err = own.Write([]byte("late"))
	require.Error(t, err)
}

// acceptHook runs a hook after each connection was accepted.
type acceptHook struct {
	net.Listener
	hook func()
}

func (a acceptHook) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	if err == nil {
		a.hook()
	}
	return c, err
}
