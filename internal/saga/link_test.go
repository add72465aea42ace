package saga

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// link is the network between a store and Postgres. It withholds the answer to whatever has made something true in
// Postgres, until it is let through or lost.
type link struct {
	db      *pgxpool.Pool // not over the link
	when    string        // the condition, as SQL
	reached chan struct{} // closed when it is true and its answer withheld
	heard   chan struct{} // to be closed: answers pass again

	mu   sync.Mutex
	open map[net.Conn]struct{}
	once sync.Once
	all  sync.WaitGroup
}

// linked is a pool whose connections go over a link.
func (b *storeBench) linked(when string) (*pgxpool.Pool, *link) {
	t := b.t
	t.Helper()
	l := &link{db: b.db, when: when, reached: make(chan struct{}), heard: make(chan struct{}), open: map[net.Conn]struct{}{}}
	cfg := b.db.Config().ConnConfig
	network, address := pgconn.NetworkAddress(cfg.Host, cfg.Port)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, address)
			if err != nil {
				_ = client.Close()
				return
			}
			l.relay(client, server)
		}
	})
	dsn := url.URL{
		Scheme: "postgres", User: url.UserPassword(cfg.User, cfg.Password), Host: listener.Addr().String(),
		Path: "/" + cfg.Database, RawQuery: "sslmode=disable",
	}
	pool, err := pgxpool.New(t.Context(), dsn.String())
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = listener.Close()
		l.hear()
		l.cut()
		pool.Close()
		l.all.Wait()
	})
	return pool, l
}

func (l *link) relay(client, server net.Conn) {
	l.mu.Lock()
	l.open[client], l.open[server] = struct{}{}, struct{}{}
	l.mu.Unlock()
	l.all.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	l.all.Go(func() {
		l.answers(client, server)
		_ = client.Close()
	})
}

func (l *link) answers(client io.Writer, server io.Reader) {
	some := make([]byte, 1<<16)
	for {
		n, err := server.Read(some)
		if err != nil {
			return
		}
		var is bool
		if err := l.db.QueryRow(context.Background(), "SELECT "+l.when).Scan(&is); err != nil {
			return
		}
		if is {
			l.once.Do(func() { close(l.reached) })
			<-l.heard
		}
		if _, err := client.Write(some[:n]); err != nil {
			return
		}
	}
}

// hear lets all answers through.
func (l *link) hear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.heard:
	default:
		close(l.heard)
	}
}

// cut breaks all connections, and with them loses what is withheld. New ones are fine.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		_ = c.Close()
		delete(l.open, c)
	}
}
