package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"esimflow/internal/config"
	"esimflow/migrations"
)

// How many connections are opened at the most. DATABASE_URL can say otherwise for a
// worker, by pool_max_conns.
const (
	poolSize          = 16
	publisherPoolSize = 3
)

// greeting looks at a connection before anybody uses it.
type greeting func(ctx context.Context, conn *pgx.Conn) error

// openPool prepares a pool; it connects when it is used.
func openPool(ctx context.Context, cfg config.Config, name string, size int32, greet greeting) (*pgxpool.Pool, error) {
	dsn := cfg.DatabaseURL.Reveal()
	pool, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("app: DATABASE_URL cannot be read") // the error quotes it
	}
	if size != poolSize || !strings.Contains(dsn, "pool_max_conns") {
		pool.MaxConns = size
	}
	if pool.ConnConfig.ConnectTimeout == 0 {
		pool.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	pool.ConnConfig.RuntimeParams["application_name"] = name
	pool.ConnConfig.DialFunc = impatient(pool.ConnConfig.DialFunc, postgresSilence)
	pool.AfterConnect = greet
	pool.PingTimeout = postgresPing
	pool.AfterRelease = func(c *pgx.Conn) bool { return !readOnly(c.PgConn()) }
	return pgxpool.NewWithConfig(ctx, pool)
}

// readOnly reports whether the server has said that this connection cannot write: after a
// failover it may go on for as long as it likes with a server that is not the primary any
// more. It is not used again, and the next one is made to whatever is primary then.
func readOnly(c *pgconn.PgConn) bool {
	return c.ParameterStatus("in_hot_standby") == "on" || c.ParameterStatus("default_transaction_read_only") == "on"
}

// awaitSchema waits until the database has the schema that this program needs. A newer
// one is fine.
func awaitSchema(ctx context.Context, db *pgxpool.Pool, log *slog.Logger, note func(error)) {
	for ctx.Err() == nil {
		have, err := migrations.Current(ctx, db)
		if err == nil && have >= migrations.Latest() {
			note(nil)
			return
		}
		if err == nil {
			err = fmt.Errorf("app: the schema is at version %d and has to be at %d: run esimctl migrate up", have, migrations.Latest())
		}
		note(err)
		log.WarnContext(ctx, "waiting for the database", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// processName tells processes apart: in leases, and in what Postgres and NATS list.
func processName(program string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown-host"
	}
	return fmt.Sprintf("%s-%s-%d", program, host, os.Getpid())
}
