package pressonesim

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is a simulator that listens. It has all the methods of its Sim.
type Server struct {
	*Sim
	http   *http.Server
	addr   string
	stop   context.CancelFunc
	done   chan struct{} // closed when Serve has returned
	active inFlight
}

// Start makes a simulator and serves it at cfg.Addr.
func Start(cfg Config) (*Server, error) {
	s, err := newSim(cfg)
	if err != nil {
		return nil, err
	}
	return s.Serve(s.cfg.Addr)
}

// Serve serves s at addr, such as "127.0.0.1:0". A Sim outlives its servers: to
// stage an outage, Close one and Serve again at its Addr.
func (s *Sim) Serve(addr string) (*Server, error) {
	ctx, stop := context.WithCancel(context.Background())
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		stop()
		return nil, fmt.Errorf("pressonesim: listen: %w", err)
	}
	srv := &Server{Sim: s, addr: listener.Addr().String(), stop: stop, done: make(chan struct{})}
	handler := s.Handler()
	base := context.WithValue(ctx, serverKey{}, ctx)
	srv.http = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !srv.active.enter() {
				drop(w)
				return
			}
			defer srv.active.leave()
			handler.ServeHTTP(w, r)
		}),
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: time.Minute,
		// Clients that reset connections are the point here, not news.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	go func() {
		defer close(srv.done)
		// It ends by Close only.
		_ = srv.http.Serve(listener)
	}()
	return srv, nil
}

// Addr is the host and port it listens on.
func (s *Server) Addr() string {
	return s.addr
}

// URL is the base URL of the API, prefix included.
func (s *Server) URL() string {
	return "http://" + s.addr + s.cfg.Prefix
}

// AdminURL is the base URL of the admin endpoints.
func (s *Server) AdminURL() string {
	return "http://" + s.addr + "/_sim"
}

// Close stops listening, breaks all connections, ends hanging and slow calls,
// and waits for the last handler. It may be called again.
func (s *Server) Close() {
	s.stop()
	// Errors are of sockets that are gone, which is what is wanted.
	_ = s.http.Close()
	<-s.done
	s.active.close()
}

// inFlight counts handlers. It is a sync.WaitGroup that may be entered while
// it is being waited for.
type inFlight struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{}
}

func (f *inFlight) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.n++
	return true
}

func (f *inFlight) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	if f.closed && f.n == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

func (f *inFlight) close() {
	f.mu.Lock()
	f.closed = true
	if f.n == 0 {
		f.mu.Unlock()
		return
	}
	if f.idle == nil {
		f.idle = make(chan struct{})
	}
	idle := f.idle
	f.mu.Unlock()
	<-idle
}
