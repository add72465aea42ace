package app_test

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// moment is on which side of a step something stops.
type moment string

// The moments. Before: what the process sent has got nowhere. After: it has taken effect,
// and the process has not been told.
const (
	before moment = "before"
	after  moment = "after"
)

// step is one durable step of a process, as it shows on the wire. Exactly one of the
// matchers is set.
type step struct {
	postgres func(w pgWrite) bool       // a write, when it becomes durable
	nats     func(subject string) bool  // a message that the process publishes
	pressone func(r *http.Request) bool // a call
	// taken reports whether a message that nobody answers has arrived.
	taken func() bool
}

// wires is all that a process has to do with the outside: Postgres, NATS and PressOne, each
// through a proxy that understands just enough to recognise a step. At the step's moment
// the wires go dead: nothing passes any more in either direction, so that whatever the
// process still does has no effect, until it is killed and bury is called.
//
// With cut, it is only the connection that breaks, once, and the process lives.
type wires struct {
	tb   testing.TB
	stop step
	when moment
	cut  bool
	slow *pause

	sprung  atomic.Bool
	reached chan struct{} // closed at the moment
	dead    chan struct{} // closed by bury
	once    sync.Once
	wg      sync.WaitGroup

	mu    sync.Mutex
	open  map[net.Conn]struct{}
	ended bool
}

func newWires(tb testing.TB, stop step, when moment) *wires {
	tb.Helper()
	w := &wires{
		tb: tb, stop: stop, when: when,
		reached: make(chan struct{}), dead: make(chan struct{}), open: map[net.Conn]struct{}{},
	}
	tb.Cleanup(w.bury)
	return w
}

// pause keeps back the answer to a call until it is let go.
type pause struct {
	call   step
	begun  chan struct{} // closed when PressOne has answered
	letGo  chan struct{} // to be closed
	until  func() bool   // or that comes true; may be nil
	paused atomic.Bool
}

func newPause(call step) *pause {
	return &pause{call: call, begun: make(chan struct{}), letGo: make(chan struct{})}
}

// hold keeps an answer back, if it is the one.
func (p *pause) hold(r *http.Request, dead <-chan struct{}) {
	if p == nil || !p.call.pressone(r) || !p.paused.CompareAndSwap(false, true) {
		return
	}
	close(p.begun)
	for p.until == nil || !p.until() {
		var again <-chan time.Time
		if p.until != nil {
			again = time.After(5 * time.Millisecond)
		}
		select {
		case <-p.letGo:
			return
		case <-dead:
			return
		case <-again:
		}
	}
}

// errStopped ends a proxy's conversation at the moment.
var errStopped = errors.New("the process is stopped here")

// spring stops the process at its step; only the first time counts. The caller gives up its
// connection if it returns true.
func (w *wires) spring() bool {
	if !w.sprung.CompareAndSwap(false, true) {
		return false
	}
	close(w.reached)
	if !w.cut {
		<-w.dead
	}
	return true
}

// passes waits in front of a dead wire, and then reports false.
func (w *wires) passes() bool {
	if w.cut || !w.sprung.Load() {
		return true
	}
	<-w.dead
	return false
}

// bury cuts everything, once the process is dead, and waits for the proxies to end.
func (w *wires) bury() {
	w.once.Do(func() {
		w.sprung.Store(true)
		close(w.dead)
		w.mu.Lock()
		w.ended = true
		for c := range w.open {
			_ = c.Close()
		}
		w.mu.Unlock()
	})
	w.wg.Wait()
}

// listen serves connections to a proxy of its own and returns its address.
func (w *wires) listen(serve func(client net.Conn)) string {
	w.tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.tb, err)
	w.wg.Go(func() {
		<-w.dead
		_ = l.Close()
	})
	w.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			w.wg.Go(func() { w.keep(client, serve) })
		}
	})
	return l.Addr().String()
}

// keep serves a connection and closes it, at the latest when all is over.
func (w *wires) keep(c net.Conn, serve func(net.Conn)) {
	defer c.Close()
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return
	}
	w.open[c] = struct{}{}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.open, c)
		w.mu.Unlock()
	}()
	serve(c)
}

// relay connects to the server and lets both sides talk until one of them ends.
func (w *wires) relay(client net.Conn, network, address string, up, down func(client, server net.Conn) error) {
	if !w.passes() {
		return
	}
	server, err := net.Dial(network, address)
	if err != nil {
		return
	}
	w.keep(server, func(server net.Conn) {
		var sides sync.WaitGroup
		for _, talk := range []func(client, server net.Conn) error{up, down} {
			sides.Go(func() {
				_ = talk(client, server) // how a conversation ends is of no interest
				_ = client.Close()
				_ = server.Close()
			})
		}
		sides.Wait()
	})
}
