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

	"esimflow/migrations"
)

// startTimeout bounds the start of a test's server, a download included.
const startTimeout = 2 * time.Minute

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
	err = s.admin(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `CREATE DATABASE `+name+` TEMPLATE `+database)
		return err
	})
	if err != nil {
		tb.Fatalf("devstack: cloning a database: %v", err)
	}
	tb.Cleanup(func() {
		err := s.admin(ctx, func(conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, `DROP DATABASE `+name+` WITH (FORCE)`)
			return err
		})
		if err != nil {
			tb.Errorf("devstack: dropping %s: %v", name, err)
		}
	})
	return s.urlOf(name)
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
