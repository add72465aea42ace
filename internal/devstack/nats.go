package devstack

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// NATSConfig says how to run a NATS server.
type NATSConfig struct {
	Dir  string // keeps JetStream's data; what is there already is used again
	Port int    // on 127.0.0.1; 0 takes a free one
}

// NATSServer is a NATS server with JetStream, in this process. Its methods may be called
// from several goroutines.
type NATSServer struct {
	dir  string
	port int

	mu      sync.Mutex
	running *server.Server // nil when stopped
}

// natsReadyTimeout bounds the start, and with it the recovery of what is on disk.
const natsReadyTimeout = 2 * time.Minute

// StartNATS starts a NATS server, silent, and returns when it takes connections.
func StartNATS(cfg NATSConfig) (*NATSServer, error) {
	if cfg.Dir == "" {
		return nil, errors.New("devstack: NATS needs a directory for JetStream")
	}
	s := &NATSServer{dir: cfg.Dir, port: cfg.Port}
	if s.port == 0 {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		s.port = port
	}
	if err := s.Start(); err != nil {
		return nil, err
	}
	return s, nil
}

// URL is the server's address. It stays the same when the server is stopped and started.
func (s *NATSServer) URL() string {
	return "nats://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

// Start starts a server that was stopped, on the same port and directory. It does nothing
// when the server runs.
func (s *NATSServer) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return nil
	}
	if err := AwaitPort(s.port); err != nil { // a server that does not get its port says so to its log only
		return fmt.Errorf("devstack: NATS: %w", err)
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "esimflow-dev",
		Host:       "127.0.0.1",
		Port:       s.port,
		JetStream:  true,
		StoreDir:   s.dir,
		// What a stream may reserve must not depend on how full this machine's disk is.
		JetStreamMaxStore:      1 << 40,
		DisableJetStreamBanner: true,
		NoLog:                  true,
		NoSigs:                 true,
	})
	if err != nil {
		return fmt.Errorf("devstack: NATS: %w", err)
	}
	if err := awaitNATS(srv); err != nil {
		return err
	}
	s.running = srv
	return nil
}

// awaitNATS starts a server and waits until clients can connect; one that is not ready in
// time is ended.
func awaitNATS(srv *server.Server) error {
	srv.Start()
	if srv.ReadyForConnections(natsReadyTimeout) {
		return nil
	}
	srv.Shutdown()
	srv.WaitForShutdown()
	return fmt.Errorf("devstack: NATS was not ready in %s", natsReadyTimeout)
}

// Stop cuts every client off and waits until the server is gone. What JetStream holds
// stays on disk. A second call does nothing.
func (s *NATSServer) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return
	}
	s.running.Shutdown()
	s.running.WaitForShutdown()
	s.running = nil
}

// Restart stops the server and starts it on the same port and directory.
func (s *NATSServer) Restart() error {
	s.Stop()
	return s.Start()
}

// NATS returns a server of tb's own, which is gone when tb ends.
func NATS(tb testing.TB) *NATSServer {
	tb.Helper()
	s, err := StartNATS(NATSConfig{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Stop)
	return s
}
