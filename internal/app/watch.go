package app

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"esimflow/internal/config"
	"esimflow/internal/monitor"
	"esimflow/internal/saga"
	"esimflow/migrations"
)

// watching is how often what all processes share is read for the metrics; 0 is as often as
// the monitor says. Tests shorten it.
type watching struct {
	every   time.Duration
	balance time.Duration
	first   time.Duration // of the balance
	holder  string        // tells apart who reads the balance, where one process has several workers
}

// firstBalance is how long a worker that has started leaves PressOne in peace before it asks
// for the balance; 0 is as long as the monitor says. Tests whose calls are counted set it.
var firstBalance time.Duration

// shared are the parts that every process reads: so that it shows when there is no worker
// left, or no publisher.
func shared(db *pgxpool.Pool, store *saga.Store, policy saga.Policy, cfg config.Config) []*monitor.Part {
	return []*monitor.Part{
		monitor.Sagas(db, monitor.Limits(policy, cfg.LeaseTTL)), monitor.Exposure(db, store), monitor.Letters(db), monitor.Outbox(db),
		monitor.Schema(func(ctx context.Context) (int64, error) { return migrations.Current(ctx, db) }),
	}
}
