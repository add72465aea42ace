package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/jackc/pgx/v5"
)

// database is the name of the database that [PostgresServer.URL] names.
const database = "esimflow"

// PostgresConfig says how to run a Postgres.
type PostgresConfig struct {
	// Dir keeps the data; a cluster that is there already is used again. Empty: a
	// temporary directory, removed by [PostgresServer.Stop].
	Dir string
	// Durable turns fsync and full_page_writes on, as in production. Without it a crash of
	// the machine may lose everything; a crash of Postgres loses nothing.
	Durable bool
	// Log receives what Postgres logs; nil drops it.
	Log io.Writer
	// Settings, each `name=value`, are added to the server's own and win over them.
	Settings []string
	// Loopback makes it listen on 127.0.0.1 too: see [PostgresServer.LoopbackURL].
	Loopback bool
	// TLSCert and TLSKey are files, PEM, that it proves with who it is; on 127.0.0.1 it takes
	// nobody without TLS then.
	TLSCert, TLSKey string
}

// PostgresServer is a Postgres of ours. Its methods may be called from several goroutines.
type PostgresServer struct {
	cfg      PostgresConfig
	binaries binaries
	account  account
	home     string // temporary: the socket, the log, and data unless cfg.Dir is set
	data     string
	port     string // names the socket's file; nothing listens on TCP unless cfg.Loopback says so
	password string // for TCP

	mu      sync.Mutex
	running *supervisor // nil when stopped
}

// StartPostgres starts a Postgres with an empty database `esimflow` (not migrated), or with
// the one that cfg.Dir holds. ctx bounds the start; the server runs until
// [PostgresServer.Stop] or the end of this process, whichever comes first.
func StartPostgres(ctx context.Context, cfg PostgresConfig) (*PostgresServer, error) {
	return startPostgres(ctx, cfg, machineSearch)
}

func startPostgres(ctx context.Context, cfg PostgresConfig, where search) (_ *PostgresServer, err error) {
	a, err := serverAccount()
	if err != nil {
		return nil, err
	}
	cache, err := cacheDir(a)
	if err != nil {
		return nil, err
	}
	b, err := where.find(ctx, cache)
	if err != nil {
		return nil, err
	}
	scratch, err := a.scratch()
	if err != nil {
		return nil, err
	}
	home, err := a.makePrivateDir(scratch, "esimflow-pg-")
	if err != nil {
		return nil, fmt.Errorf("devstack: %w", err)
	}
	s := &PostgresServer{cfg: cfg, binaries: b, account: a, home: home, port: "5432"}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	if err := s.prepareData(ctx, cache); err != nil {
		return nil, err
	}
	if err := s.prepareLoopback(); err != nil {
		return nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	return s, errors.Join(s.ensureDatabase(ctx), s.setPassword(ctx))
}

// prepareData makes sure that there is a data directory.
func (s *PostgresServer) prepareData(ctx context.Context, cache string) error {
	s.data = filepath.Join(s.home, "data")
	if s.cfg.Dir != "" {
		dir, err := filepath.Abs(s.cfg.Dir)
		if err != nil {
			return fmt.Errorf("devstack: %w", err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("devstack: %w", err)
		}
		if err := s.account.checkReach(dir); err != nil {
			return err
		}
		s.data = filepath.Join(dir, "data")
	}
	_, err := os.Stat(filepath.Join(s.data, "PG_VERSION"))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}

	cluster, err := cachedCluster(ctx, cache, s.binaries, s.account)
	if err != nil {
		return err
	}
	// PG_VERSION must not be seen before the rest is there, so copy aside and rename.
	partial := s.data + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return fmt.Errorf("devstack: %w", err)
	}
	if err := copyCluster(cluster, partial, s.account); err != nil {
		return err
	}
	if s.cfg.Durable {
		if err := initdb(ctx, s.binaries, s.account, []string{"--sync-only", "--pgdata=" + partial}); err != nil {
			return err
		}
	}
	if err := os.Rename(partial, s.data); err != nil {
		return fmt.Errorf("devstack: %w", err)
	}
	return nil
}

// URL is the connection string of the database `esimflow`. It stays the same when the
// server is stopped and started.
func (s *PostgresServer) URL() string { return s.urlOf(database) }

func (s *PostgresServer) urlOf(name string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User(superuser),
		Path:     "/" + name,
		RawQuery: url.Values{"host": {s.home}, "port": {s.port}}.Encode(),
	}
	return u.String()
}

// Start starts a server that was stopped with [PostgresServer.StopImmediate] or
// [PostgresServer.StopFast], on the same data and under the same URL, and returns when it
// answers. It does nothing when the server runs.
func (s *PostgresServer) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return nil
	}
	running, err := supervise(s.binaries, s.account, s.data, s.home, s.options(), s.cfg.Log)
	if err != nil {
		return err
	}
	err = running.await(ctx, func(ctx context.Context) error {
		return s.admin(ctx, func(*pgx.Conn) error { return nil })
	})
	if err != nil {
		return errors.Join(err, running.stop("QUIT", true))
	}
	s.running = running
	return nil
}

func (s *PostgresServer) options() []string {
	settings := []string{
		"listen_addresses=",
		"unix_socket_directories=" + s.home,
		"port=" + s.port,
		"max_connections=200",
		"max_wal_size=2GB",
		"timezone=UTC",
		"log_timezone=UTC",
	}
	if !s.cfg.Durable {
		settings = append(settings, "fsync=off", "full_page_writes=off", "shared_buffers=64MB")
	}
	settings = append(settings, s.loopbackSettings()...)
	settings = append(settings, s.tlsSettings()...)
	var options []string
	for _, setting := range append(settings, s.cfg.Settings...) {
		options = append(options, "-c", setting)
	}
	return options
}

// StopImmediate ends Postgres as a crash does: clients are cut off, and the next start
// recovers from the log. It does nothing when the server is stopped.
func (s *PostgresServer) StopImmediate() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop("QUIT", true)
}

// StopFast ends Postgres in good order: open transactions are rolled back and clients told
// so. It can be started again. It does nothing when the server is stopped.
func (s *PostgresServer) StopFast() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop("INT", true)
}

// Stop ends Postgres for good (orderly where its data is kept) and removes what was
// temporary. A second call does nothing.
func (s *PostgresServer) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	signal := "QUIT"
	if s.cfg.Dir != "" {
		signal = "INT"
	}
	if err := errors.Join(s.stop(signal, false), os.RemoveAll(s.home)); err != nil {
		return fmt.Errorf("devstack: stopping Postgres: %w", err)
	}
	return nil
}

func (s *PostgresServer) stop(signal string, keep bool) error {
	if s.running == nil {
		return nil
	}
	running := s.running
	s.running = nil
	return running.stop(signal, keep)
}

// admin runs f on a connection to the maintenance database.
func (s *PostgresServer) admin(ctx context.Context, f func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, s.urlOf("postgres"))
	if err != nil {
		return err
	}
	return errors.Join(f(conn), conn.Close(ctx))
}

const databaseExistsSQL = `
SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`

func (s *PostgresServer) ensureDatabase(ctx context.Context) error {
	err := s.admin(ctx, func(conn *pgx.Conn) error {
		var exists bool
		if err := conn.QueryRow(ctx, databaseExistsSQL, database).Scan(&exists); err != nil || exists {
			return err
		}
		_, err := conn.Exec(ctx, `CREATE DATABASE `+database)
		return err
	})
	if err != nil {
		return fmt.Errorf("devstack: creating database %s: %w", database, err)
	}
	return nil
}
