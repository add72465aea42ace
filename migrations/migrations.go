// Package migrations holds the schema, embedded, and applies it.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed *.sql
var files embed.FS

// Migration is one file of the schema and, if it was applied, when.
type Migration struct {
	Version   int64     `json:"version"`
	Name      string    `json:"name"`
	AppliedAt time.Time `json:"applied_at,omitzero"`
}

// Up applies what is missing, under a lock so that two callers do not race, and returns
// what it applied.
func Up(ctx context.Context, url string) ([]Migration, error) {
	var applied []Migration
	err := withProvider(ctx, url, func(p *goose.Provider) error {
		results, err := p.Up(ctx)
		for _, r := range results {
			applied = append(applied, Migration{Version: r.Source.Version, Name: r.Source.Path})
		}
		return err
	})
	return applied, err
}

// Status lists every migration known to this program.
func Status(ctx context.Context, url string) ([]Migration, error) {
	var all []Migration
	err := withProvider(ctx, url, func(p *goose.Provider) error {
		statuses, err := p.Status(ctx)
		for _, s := range statuses {
			all = append(all, Migration{Version: s.Source.Version, Name: s.Source.Path, AppliedAt: s.AppliedAt})
		}
		return err
	})
	return all, err
}

// Latest is the schema version that this program needs.
func Latest() int64 {
	entries, err := files.ReadDir(".")
	if err != nil || len(entries) == 0 {
		return 0 // an embedded directory can be read
	}
	version, err := goose.NumericComponent(entries[len(entries)-1].Name()) // they are sorted
	if err != nil {
		return 0 // they are named by their numbers, see TestMigrations
	}
	return version
}

const currentSQL = `
SELECT COALESCE(MAX(version_id), 0)
FROM goose_db_version
WHERE is_applied`

// Current reads the schema version of the database through db; 0 if it has none.
func Current(ctx context.Context, db interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
},
) (int64, error) {
	var exists bool
	if err := db.QueryRow(ctx, `SELECT to_regclass('goose_db_version') IS NOT NULL`).Scan(&exists); err != nil || !exists {
		return 0, err
	}
	var v int64
	err := db.QueryRow(ctx, currentSQL).Scan(&v)
	return v, err
}

func withProvider(ctx context.Context, url string, f func(*goose.Provider) error) (err error) {
	cfg, err := pgxpool.ParseConfig(url) // understands pool_max_conns, which is for the worker
	if err != nil {
		return errors.New("migrations: DATABASE_URL cannot be read") // the error quotes it
	}
	db := stdlib.OpenDB(*cfg.ConnConfig, stdlib.OptionAfterConnect(becomeOwner))
	defer func() { err = errors.Join(err, db.Close()) }()
	p, err := newProvider(db)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if err := f(p); err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	return ctx.Err()
}

// owner is the role that owns a database with roles (deploy/postgres/roles.sql).
const owner = "esimflow_owner"

const ownerSQL = `
SELECT pg_get_userbyid(datdba)
FROM pg_database
WHERE datname = current_database()`

// becomeOwner acts as the owner where the database has one that nobody logs in as: what is
// made belongs to it, whoever migrates.
func becomeOwner(ctx context.Context, conn *pgx.Conn) error {
	var has string
	if err := conn.QueryRow(ctx, ownerSQL).Scan(&has); err != nil || has != owner {
		return err
	}
	if _, err := conn.Exec(ctx, `SET ROLE `+owner); err != nil {
		return fmt.Errorf("this database is migrated as esimflow_migrator, and %s may not become its owner: %w", conn.Config().User, err)
	}
	return nil
}

func newProvider(db *sql.DB) (*goose.Provider, error) {
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker))
}
