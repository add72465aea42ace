package pressone

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// router passes connections on to a server, until it forgets those that it has: then it drops what they send, and says nothing.
type router struct {
	lis       net.Listener
	server    string
	forgotten atomic.Int64 // connections up to this one
	seen      atomic.Int64

	mu  sync.Mutex
	all []net.Conn
	wg  sync.WaitGroup
}

func newRouter(t *testing.T, server string) *router {
	t.Helper()
	r := &router{lis: listen(t), server: server}
	r.wg.Go(func() {
		for {
			c, err := r.lis.Accept()
			if err != nil {
				return
			}
			r.serve(c, r.seen.Add(1))
		}
	})
	t.Cleanup(func() {
		_ = r.lis.Close()
		r.mu.Lock()
		for _, c := range r.all {
			_ = c.Close()
		}
		r.mu.Unlock()
		r.wg.Wait()
	})
	return r
}

func (r *router) serve(client net.Conn, number int64) {
	server, err := net.Dial("tcp", r.server)
	if err != nil {
		_ = client.Close()
		return
	}
	r.mu.Lock()
	r.all = append(r.all, client, server)
	r.mu.Unlock()
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		r.wg.Go(func() { _, _ = io.Copy(remembering{way[1], r, number}, way[0]) })
	}
}

type remembering struct {
	net.Conn
	router *router
	number int64
}

func (w remembering) Write(p []byte) (int, error) {
	if w.number <= w.router.forgotten.Load() {
		return len(p), nil
	}
	return w.Conn.Write(p)
}

// A router on the way to PressOne forgets a connection, and drops what is sent on it. Reads share one connection where PressOne speaks
// HTTP/2; it is given up when it gives no sign of life, and they go on over another.
func TestReadsLeaveAConnectionThatHasGoneSilent(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"data":{"balances":{"availableBalance":{"amount":%d}}}}`, r.ProtoMajor)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	r := newRouter(t, server.Listener.Addr().String())
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	c := newClient(t, "https://"+r.lis.Addr().String(), func(cfg *Config) {
		cfg.ReadTimeout, cfg.TLS = 3*time.Second, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	})
	var balance Balance
	read := func() bool {
		var err error
		balance, err = c.Balance(t.Context())
		return err == nil
	}
	require.Eventually(t, read, time.Minute, 10*time.Millisecond)
	require.Equal(t, Decimal("2"), balance.Amount, "over HTTP/2")
	forgotten := r.seen.Load()
	r.forgotten.Store(forgotten)
	require.Eventually(t, read, time.Minute, 10*time.Millisecond)
	require.Greater(t, r.seen.Load(), forgotten)
}
