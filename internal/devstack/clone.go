package devstack

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"esimflow/migrations"
)

// startTimeout bounds the start of a test's server, a download included.
const startTimeout = 5 * time.Minute

// sharedServer is the one Postgres of this test process, with `esimflow` migrated and
// made a template. It ends with the process.
var sharedServer = sync.OnceValues(func() (*PostgresServer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	s, err := startMigrated(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.makeTemplate(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
})

func startMigrated(ctx context.Context) (*PostgresServer, error) {
	s, err := StartPostgres(ctx, PostgresConfig{})
	if err != nil {
		return nil, err
	}
	if _, err := migrations.Up(ctx, s.URL()); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

const templateUsersSQL = `
SELECT count(*)
FROM pg_stat_activity
WHERE datname = $1`

// makeTemplate closes `esimflow` to connections. It waits until those of the migration
// have gone: a clone would wait for them in steps of 100 ms.
func (s *PostgresServer) makeTemplate(ctx context.Context) error {
	err := s.admin(ctx, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, `ALTER DATABASE `+database+` ALLOW_CONNECTIONS false`); err != nil {
			return err
		}
		for users := 1; users > 0; {
			if err := conn.QueryRow(ctx, templateUsersSQL, database).Scan(&users); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("devstack: making a template of %s: %w", database, err)
	}
	return nil
}

var clones atomic.Int64

// Postgres returns the connection string of a migrated, empty database that is tb's
// alone. It is dropped, with whatever connections it has, when tb ends. The first call in
// a process starts the server, the others cost a clone.
func Postgres(tb testing.TB) string {
	tb.Helper()
	s, err := sharedServer()
	if err != nil {
		tb.Fatal(err)
	}
	name := fmt.Sprintf("test_%d", clones.Add(1))
	// Not tb.Context(): that one is cancelled before the clean-ups run.
	ctx := context.Background()
	err = s.admin(ctx, func(conn *pgx.Conn) error { return whenFree(ctx, conn, `CREATE DATABASE `+name+` TEMPLATE `+database) })
	if err != nil {
		tb.Fatalf("devstack: cloning a database: %v", err)
	}
	tb.Cleanup(func() { s.drop(tb, name) })
	return s.urlOf(name)
}

// drop removes a database of tb's, with whatever connections it has.
func (s *PostgresServer) drop(tb testing.TB, name string) {
	tb.Helper()
	ctx := context.Background()
	err := s.admin(ctx, func(conn *pgx.Conn) error { return whenFree(ctx, conn, `DROP DATABASE `+name+` WITH (FORCE)`) })
	if err != nil {
		tb.Errorf("devstack: dropping %s: %v", name, err)
	}
}

// whenFreeTries is a minute: a statement about a database in use waits for five seconds.
const whenFreeTries = 12

// whenFree runs a statement that wants a database for itself. Postgres does not wait long for others to
// leave, be it one of its own that vacuums, and on a busy machine they may take their time.
func whenFree(ctx context.Context, conn *pgx.Conn, sql string) error {
	for try := 1; ; try++ {
		_, err := conn.Exec(ctx, sql)
		inUse, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || inUse.Code != "55006" || try == whenFreeTries {
			return err
		}
	}
}

// PrivatePostgres returns a server of tb's own with a migrated, empty database: for tests
// that stop Postgres and start it again. It is gone when tb ends.
func PrivatePostgres(tb testing.TB) *PostgresServer {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	s, err := startMigrated(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return s
}
