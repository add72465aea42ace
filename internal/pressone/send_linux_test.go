package pressone

import (
	"context"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestGivingUpDropsWhatIsUnsent shows the two things that keep the kernel from delivering a submission after it was given up.
func TestGivingUpDropsWhatIsUnsent(t *testing.T) {
	t.Parallel()
	lis := listen(t)
	defer lis.Close()
	ended := make(chan error, 1)
	go func() {
		c, err := lis.Accept()
		if err != nil {
			ended <- err
			return
		}
		defer c.Close()
		for buf := make([]byte, 1<<12); err == nil; {
			_, err = c.Read(buf)
		}
		ended <- err
	}()

	c := newClient(t, "http://"+lis.Addr().String()+"/v2")
	var used *socket
	dial := c.sender.transport.DialContext
	c.sender.transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		got, err := dial(ctx, network, addr)
		if k, ok := got.(*conn); ok {
			used = k.socket
		}
		return got, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	asked := make(chan int, 1)
	_, err := c.SubmitOrder(ctx, func() error {
		asked <- option(t, used.tcp, unix.TCP_USER_TIMEOUT)
		cancel() // given up as soon as it is written
		return nil
	}, anOrder)
	require.Equal(t, 0, requireError(t, err).Status)
	timeout := <-asked
	require.Greater(t, timeout, 1000, "milliseconds")
	require.LessOrEqual(t, timeout, 3000, "no longer than the deadline")
	require.ErrorIs(t, <-ended, syscall.ECONNRESET, "reset, not closed in good order")
}

func option(tb testing.TB, c *net.TCPConn, name int) int {
	tb.Helper()
	raw, err := c.SyscallConn()
	require.NoError(tb, err)
	var value int
	require.NoError(tb, raw.Control(func(fd uintptr) {
		value, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, name)
	}))
	require.NoError(tb, err)
	return value
}

// TestGuardStopsAtEveryWrite lets a guard agree once only: a submission that takes several writes is then partly out, which
// is unknown, and its connection is of no more use.
func TestGuardStopsAtEveryWrite(t *testing.T) {
	t.Parallel()
	s := serveRaw(t, listen(t), func(int, string) reply { return answerWith(200, orderBody) })
	c := newClient(t, s.url())
	c.sender.transport.WriteBufferSize = 64 // many small writes
	asked := 0
	_, err := c.SubmitOrder(t.Context(), func() error {
		if asked++; asked > 1 {
			return http.ErrAbortHandler
		}
		return nil
	}, anOrder)
	e := requireError(t, err)
	require.Equal(t, Unknown, e.Disposition)
	require.False(t, e.NotSent)
	require.ErrorIs(t, err, http.ErrAbortHandler)
	require.Equal(t, 2, asked)
	s.stop()
	require.Empty(t, s.requests(), "no whole request arrived")
}
