package app_test

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// campaignRelay is the last hop to a server, which all links to it share. It makes
// Postgres's Unix socket reachable over TCP, which is what links speak, and it can forget
// connections, as a router or a balancer in the middle does: neither side is told.
type campaignRelay struct {
	name            string
	network, server string
	addr            string

	mu    sync.Mutex
	conns map[*relayed]bool
}

// relayed is a connection through a relay.
type relayed struct {
	client, server net.Conn
	forgotten      atomic.Bool
}

func newCampaignRelay(t *testing.T, name, network, server string) *campaignRelay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &campaignRelay{name: name, network: network, server: server, addr: listener.Addr().String(), conns: map[*relayed]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { r.relay(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		r.mu.Lock()
		for c := range r.conns {
			_ = c.client.Close()
		}
		r.mu.Unlock()
		wg.Wait()
	})
	return r
}

// relay copies both ways until one side ends. A forgotten connection stays open for the
// client, and whatever it says is lost.
func (r *campaignRelay) relay(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial(r.network, r.server)
	if err != nil {
		return // like a port that nobody listens on
	}
	c := &relayed{client: client, server: server}
	r.mu.Lock()
	r.conns[c] = true
	r.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
		if c.forgotten.Load() {
			_, _ = io.Copy(io.Discard, client)
		}
		_ = client.Close()
	})
	_, _ = io.Copy(client, server)
	_ = server.Close()
	if !c.forgotten.Load() {
		_ = client.Close()
	}
	wg.Wait()
	r.mu.Lock()
	delete(r.conns, c)
	r.mu.Unlock()
}

// forget forgets a share of the connections, and returns how many that were.
func (r *campaignRelay) forget(share float64, roll *rand.Rand) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for c := range r.conns {
		if roll.Float64() < share {
			c.forgotten.Store(true)
			_ = c.server.Close()
			n++
		}
	}
	return n
}
