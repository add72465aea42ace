package devstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// NATSNodes is a cluster of three NATS servers with JetStream, in this process: what a
// stream with three replicas needs. The nodes are numbered from 0, and each keeps its ports
// and its directory while it is stopped. Its methods may be called from several goroutines.
type NATSNodes struct {
	nodes []*natsNode
}

// natsNode is one server of a cluster.
type natsNode struct {
	options server.Options // its own copy is made for every start

	mu      sync.Mutex
	running *server.Server // nil when stopped
}

// natsNodeCount is the least that goes on when one is away.
const natsNodeCount = 3

// StartNATSCluster starts a cluster that keeps its data below dir, and returns when it has a
// leader that knows all nodes, so that streams can be made.
func StartNATSCluster(ctx context.Context, dir string) (*NATSNodes, error) {
	if dir == "" {
		return nil, errors.New("devstack: NATS needs a directory for JetStream")
	}
	ports, err := FreePorts(2 * natsNodeCount)
	if err != nil {
		return nil, err
	}
	clients, routes := ports[:natsNodeCount], ports[natsNodeCount:]
	var peers []*url.URL
	for _, port := range routes {
		peers = append(peers, &url.URL{Scheme: "nats", Host: natsAddress(port)})
	}
	c := &NATSNodes{}
	for i := range natsNodeCount {
		name := fmt.Sprintf("esimflow-dev-%d", i)
		c.nodes = append(c.nodes, &natsNode{options: server.Options{
			ServerName: name, Host: "127.0.0.1", Port: clients[i],
			Cluster:   server.ClusterOpts{Name: "esimflow-dev", Host: "127.0.0.1", Port: routes[i]},
			Routes:    peers,
			JetStream: true, StoreDir: filepath.Join(dir, name), JetStreamMaxStore: 1 << 40,
			DisableJetStreamBanner: true, NoLog: true, NoSigs: true,
		}})
	}
	for i := range c.nodes {
		if err := c.Start(i); err != nil {
			c.StopAll()
			return nil, err
		}
	}
	if err := c.awaitLeader(ctx); err != nil {
		c.StopAll()
		return nil, err
	}
	return c, nil
}

// NATSCluster returns a cluster of tb's own, which is gone when tb ends.
func NATSCluster(tb testing.TB) *NATSNodes {
	tb.Helper()
	c, err := StartNATSCluster(tb.Context(), tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.StopAll)
	return c
}

// URL is the addresses of all nodes, as NATS_URL takes them.
func (c *NATSNodes) URL() string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, "nats://"+natsAddress(n.options.Port))
	}
	return strings.Join(all, ",")
}

// Len is the number of nodes.
func (c *NATSNodes) Len() int { return len(c.nodes) }

// Start starts a node that was stopped, on its ports and its directory, and returns when it
// takes connections; it may have to catch up then, see [NATSNodes.Current]. It does nothing
// when the node runs.
func (c *NATSNodes) Start(i int) error { return c.nodes[i].start() }

// Stop ends a node and waits until it is gone. It does nothing when the node is stopped.
func (c *NATSNodes) Stop(i int) { c.nodes[i].stop() }

// StopAll ends all nodes at once.
func (c *NATSNodes) StopAll() {
	var all sync.WaitGroup
	for _, n := range c.nodes {
		all.Go(n.stop)
	}
	all.Wait()
}

// Wipe removes all that a stopped node has stored, as the loss of its disk does.
func (c *NATSNodes) Wipe(i int) error {
	n := c.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running != nil {
		return fmt.Errorf("devstack: NATS node %d runs", i)
	}
	if err := os.RemoveAll(n.options.StoreDir); err != nil {
		return fmt.Errorf("devstack: NATS: %w", err)
	}
	return nil
}

// StreamLeader is the node that leads a stream; false while there is none.
func (c *NATSNodes) StreamLeader(stream string) (int, bool) {
	return c.find(func(s *server.Server) bool { return s.JetStreamIsStreamLeader(globalAccount, stream) })
}

// ConsumerLeader is the node that leads a consumer of a stream; false while there is none.
func (c *NATSNodes) ConsumerLeader(stream, consumer string) (int, bool) {
	return c.find(func(s *server.Server) bool { return s.JetStreamIsConsumerLeader(globalAccount, stream, consumer) })
}

// MetaLeader is the node that decides where streams go; false while there is none.
func (c *NATSNodes) MetaLeader() (int, bool) { return c.find((*server.Server).JetStreamIsLeader) }

// Current reports whether a node runs and has all that the leaders of these streams have.
func (c *NATSNodes) Current(i int, streams ...string) bool {
	s := c.nodes[i].server()
	return s != nil && s.JetStreamIsCurrent() && !slices.ContainsFunc(streams, func(stream string) bool {
		return !s.JetStreamIsStreamCurrent(globalAccount, stream)
	})
}

// globalAccount is where clients are that name no account.
const globalAccount = "$G"

func (c *NATSNodes) find(f func(*server.Server) bool) (int, bool) {
	for i, n := range c.nodes {
		if s := n.server(); s != nil && f(s) {
			return i, true
		}
	}
	return 0, false
}

// awaitLeader waits until there is a leader that sees every node.
func (c *NATSNodes) awaitLeader(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, natsReadyTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		i, ok := c.MetaLeader()
		if ok && len(c.nodes[i].server().JetStreamClusterPeers()) == len(c.nodes) && c.allCurrent() {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("devstack: the NATS cluster has no leader: %w", context.Cause(ctx))
		}
	}
}

func (c *NATSNodes) allCurrent() bool {
	for i := range c.nodes {
		if !c.Current(i) {
			return false
		}
	}
	return true
}

func (n *natsNode) start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running != nil {
		return nil
	}
	for _, port := range []int{n.options.Port, n.options.Cluster.Port} {
		if err := AwaitPort(port); err != nil {
			return fmt.Errorf("devstack: NATS: %w", err)
		}
	}
	options := n.options
	srv, err := server.NewServer(&options)
	if err != nil {
		return fmt.Errorf("devstack: NATS: %w", err)
	}
	if err := awaitNATS(srv); err != nil {
		return err
	}
	n.running = srv
	return nil
}

func (n *natsNode) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running == nil {
		return
	}
	n.running.Shutdown()
	n.running.WaitForShutdown()
	n.running = nil
}

func (n *natsNode) server() *server.Server {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.running
}

func natsAddress(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
