package app_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
)

// campaignLink is the network between a program and one thing that it talks to. Its
// address stays the same whatever happens to it.
type campaignLink struct {
	name     string
	port     int
	addr     string // on that port
	upstream string
	server   *toxiproxy.ApiServer

	mu     sync.Mutex
	proxy  *toxiproxy.Proxy // nil while connections are refused
	toxics []string
}

func newCampaignLink(t *testing.T, server *toxiproxy.ApiServer, name, upstream string) *campaignLink {
	t.Helper()
	port := steadyPort(t)
	l := &campaignLink{name: name, port: port, addr: fmt.Sprintf("127.0.0.1:%d", port), upstream: upstream, server: server}
	require.NoError(t, l.open())
	t.Cleanup(func() { _ = l.refuse() })
	return l
}

// open lets connections through again, and is for a link that refuses them.
func (l *campaignLink) open() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := devstack.AwaitPort(l.port); err != nil {
		return fmt.Errorf("link %s: %w", l.name, err)
	}
	proxy := toxiproxy.NewProxy(l.server, l.name, l.addr, l.upstream)
	if err := proxy.Start(); err != nil {
		return fmt.Errorf("link %s: %w", l.name, err)
	}
	l.proxy, l.toxics = proxy, nil
	return nil
}

// patience is how long toxiproxy may take to change what a link does. It waits for a pump
// that a connection, ended at that very moment, may have left stuck.
const patience = 10 * time.Second

// refuse breaks all connections, and refuses new ones.
func (l *campaignLink) refuse() error {
	l.mu.Lock()
	proxy := l.proxy
	l.proxy = nil
	l.mu.Unlock()
	if proxy == nil {
		return nil
	}
	stuck := !within10s(proxy.Stop)
	if stuck && l.listening() {
		return fmt.Errorf("link %s cannot be stopped", l.name)
	}
	return nil
}

func (l *campaignLink) listening() bool {
	conn, err := net.DialTimeout("tcp", l.addr, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// reset breaks all connections; new ones are fine.
func (l *campaignLink) reset() error {
	if err := l.refuse(); err != nil {
		return err
	}
	return l.open()
}

// spoil adds a toxic of that type in a direction, "upstream" or "downstream"; attributes
// are JSON.
func (l *campaignLink) spoil(kind, direction, attributes string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.proxy == nil {
		return fmt.Errorf("link %s does not run", l.name)
	}
	name := fmt.Sprintf("%s %s", kind, direction)
	text := fmt.Sprintf(`{"name":%q,"type":%q,"stream":%q,"attributes":%s}`, name, kind, direction, attributes)
	proxy := l.proxy
	l.toxics = append(l.toxics, name) // it may come late: mend takes it away, or opens a new link
	var err error
	if !within10s(func() { _, err = proxy.Toxics.AddToxicJson(strings.NewReader(text)) }) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("link %s: %w", l.name, err)
	}
	return nil
}

// mend takes all toxics away. Connections go on where that is possible.
func (l *campaignLink) mend() error {
	l.mu.Lock()
	proxy, toxics := l.proxy, l.toxics
	l.toxics = nil
	l.mu.Unlock()
	if proxy == nil {
		return l.open()
	}
	var err error
	mended := within10s(func() {
		for _, name := range toxics {
			if err = proxy.Toxics.RemoveToxic(context.Background(), name); err != nil {
				return
			}
		}
	})
	if !mended || err != nil {
		return l.reset()
	}
	return nil
}

// within10s runs f and reports whether it has ended within patience.
func within10s(f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
