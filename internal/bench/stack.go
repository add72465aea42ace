package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/migrations"
)

// stack is what goes on from run to run: Postgres, NATS and the provider.
type stack struct {
	cfg      Config
	talk     io.Writer // what is going on
	launcher launcher
	dir      string

	pg       *devstack.PostgresServer
	log      *os.File // Postgres's
	admin    *pgx.Conn
	root     int // Postgres's process
	nats     *process
	provider *process
	nc       *nats.Conn
	js       jetstream.JetStream

	closers []func() error // called in reverse
}

func (s *stack) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.talk, format+"\n", args...)
}

// onClose has f called by close; what was started last is stopped first.
func (s *stack) onClose(f func() error) { s.closers = append(s.closers, f) }

// close ends everything. A second call does nothing.
func (s *stack) close() error {
	var errs []error
	for _, f := range slices.Backward(s.closers) {
		errs = append(errs, f())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// open starts everything. Close it even after an error.
func (s *stack) open(ctx context.Context) error {
	if err := s.prepareDir(); err != nil {
		return err
	}
	s.say("Starting Postgres …")
	if err := s.startPostgres(ctx); err != nil {
		return err
	}
	if err := s.prepareDatabase(ctx); err != nil {
		return err
	}
	s.say("Starting NATS and the simulator …")
	if err := s.startNATS(ctx); err != nil {
		return err
	}
	return s.startProvider(ctx)
}

func (s *stack) prepareDir() (err error) {
	s.dir = s.cfg.Data
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "esimflow-bench-"); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		s.onClose(func() error { return os.RemoveAll(s.dir) })
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	s.launcher.logs = filepath.Join(s.dir, "bench-logs")
	// What NATS had is of no use without the run that it was for.
	err = errors.Join(os.RemoveAll(filepath.Join(s.dir, "bench-nats")), os.RemoveAll(s.launcher.logs), os.MkdirAll(s.launcher.logs, 0o755))
	if s.cfg.Data == "" {
		err = errors.Join(err, os.Chmod(s.dir, 0o755)) // Postgres may run as another user, who has to get to its directory
	}
	if s.cfg.Profile != "" {
		err = errors.Join(err, os.MkdirAll(s.cfg.Profile, 0o755))
	}
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

func (s *stack) startPostgres(ctx context.Context) (err error) {
	if s.log, err = os.Create(filepath.Join(s.launcher.logs, "postgres.log")); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	s.onClose(s.log.Close)
	settings := []string{"shared_buffers=512MB", "max_wal_size=4GB"}
	if s.cfg.Statements {
		settings = append(settings, "shared_preload_libraries=pg_stat_statements")
	}
	s.pg, err = devstack.StartPostgres(ctx, devstack.PostgresConfig{
		Dir: filepath.Join(s.dir, "bench-postgres"), Durable: true, Loopback: true, Log: s.log, Settings: settings,
	})
	if err != nil {
		if s.cfg.Statements && strings.Contains(err.Error(), statementsExtension) {
			return fmt.Errorf("bench: this Postgres has no extension %s, which --statements needs (it is part of Postgres's contrib package): %w", statementsExtension, err)
		}
		return err
	}
	s.onClose(s.pg.Stop)
	admin, err := pgx.ParseConfig(s.pg.URL())
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	admin.Database = "postgres" // what is done there is not counted for the one that is measured
	if s.admin, err = pgx.ConnectConfig(ctx, admin); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	s.onClose(func() error { return s.admin.Close(context.WithoutCancel(ctx)) })
	backend, err := one[int](ctx, s.admin, `SELECT pg_backend_pid()`)
	if err != nil {
		return err
	}
	stat, err := readStat(backend)
	s.root = stat.parent
	return err
}

// exec runs a statement in the maintenance database.
func (s *stack) exec(ctx context.Context, sql string) error {
	if _, err := s.admin.Exec(ctx, sql); err != nil {
		return fmt.Errorf("bench: %s: %w", sql, err)
	}
	return nil
}

// prepareDatabase makes the schema, and what is to be in it beforehand. A database that has
// that already is kept; one without a preload is made anew.
func (s *stack) prepareDatabase(ctx context.Context) error {
	kept, err := s.preloaded(ctx)
	if err != nil {
		return err
	}
	if !kept {
		if err := errors.Join(s.exec(ctx, `DROP DATABASE IF EXISTS esimflow WITH (FORCE)`), s.exec(ctx, `CREATE DATABASE esimflow`)); err != nil {
			return err
		}
	}
	if _, err := migrations.Up(ctx, s.pg.URL()); err != nil {
		return err
	}
	if !kept {
		if err := s.fill(ctx); err != nil {
			return err
		}
	}
	if s.cfg.Statements {
		return s.exec(ctx, `CREATE EXTENSION IF NOT EXISTS `+statementsExtension)
	}
	return nil
}

// natsTimeout is how long NATS is waited for: to connect, and for each answer.
const natsTimeout = time.Minute

func (s *stack) startNATS(ctx context.Context) (err error) {
	if s.nats, err = s.launcher.start(ctx, natsProcess, natsProcess, task{Dir: filepath.Join(s.dir, "bench-nats")}, nil); err != nil {
		return err
	}
	s.onClose(s.nats.stop)
	if s.nc, err = nats.Connect(s.nats.telling.URL, nats.Name("bench"), nats.Timeout(natsTimeout)); err != nil {
		return fmt.Errorf("bench: NATS: %w", err)
	}
	s.onClose(func() error { s.nc.Close(); return nil })
	if s.js, err = jetstream.New(s.nc, jetstream.WithDefaultTimeout(natsTimeout), jetstream.WithPublishAsyncMaxPending(10_000)); err != nil {
		return fmt.Errorf("bench: NATS: %w", err)
	}
	for _, stream := range message.Streams(1) {
		if _, err := s.js.CreateStream(ctx, stream); err != nil {
			return fmt.Errorf("bench: stream %s: %w", stream.Name, err)
		}
	}
	for _, consumer := range message.Consumers() {
		if _, err := s.js.CreateConsumer(ctx, message.RequestsStream, consumer); err != nil {
			return fmt.Errorf("bench: consumer %s: %w", consumer.Durable, err)
		}
	}
	return nil
}

// pause has the consumers deliver nothing until then. A pause is ended by another one that
// ends soon, at a moment that is known: ended at once, it is noticed only when the next
// message arrives or the next pull is made.
func (s *stack) pause(ctx context.Context, until time.Time) error {
	for _, k := range message.Kinds() {
		if _, err := s.js.PauseConsumer(ctx, message.RequestsStream, message.Consumer(k), until); err != nil {
			return fmt.Errorf("bench: pause %s: %w", message.Consumer(k), err)
		}
	}
	return nil
}

// The pauses: longPause is longer than any run is prepared, shortPause than it takes to
// ask for two.
const (
	longPause  = 24 * time.Hour
	shortPause = 100 * time.Millisecond
)

// release has the consumers deliver from the moment on that it returns.
func (s *stack) release(ctx context.Context) (at time.Time, err error) {
	for in := shortPause; ; in *= 2 {
		at = time.Now().Add(in)
		if err := s.pause(ctx, at); err != nil {
			return at, err
		}
		if time.Now().Before(at) {
			break // otherwise it may have come too late, and nobody is woken
		}
	}
	select {
	case <-ctx.Done():
		return at, context.Cause(ctx)
	case <-time.After(time.Until(at)):
		return at, nil
	}
}

const lastOrderSQL = `
SELECT COALESCE(max(order_id), 0)
FROM saga`

// A simulator knows none of the tokens of the one before.
const forgetTokenSQL = `
UPDATE provider_token
SET ciphertext = NULL, expires_at = NULL, version = version + 1`

// startProvider starts the simulator, which goes on with other order ids than the tables
// have.
func (s *stack) startProvider(ctx context.Context) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	last, err := one[int](ctx, conn, lastOrderSQL)
	if err == nil {
		_, err = conn.Exec(ctx, forgetTokenSQL)
	}
	if err = errors.Join(err, conn.Close(ctx)); err != nil {
		return err
	}
	s.provider, err = s.launcher.start(ctx, providerProcess, providerProcess, task{
		Latency: s.cfg.Latency, FirstOrderID: max(last+1, 10_000), ESIMs: s.cfg.topups(max(s.cfg.N, s.cfg.WarmUp)),
	}, nil)
	if err != nil {
		return err
	}
	s.onClose(s.provider.stop)
	return nil
}
