package monitor

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	outboxDesc = prometheus.NewDesc("esimflow_outbox_pending_messages",
		"Messages in the outbox. Read from Postgres by every process: use max by (), not sum.", nil, nil)
	outboxAgeDesc = prometheus.NewDesc("esimflow_outbox_oldest_age_seconds",
		"Age of the oldest message in the outbox; 0 if there is none. Read from Postgres by every process, and grows on when Postgres is "+
			"away: use max by (), not sum.", nil, nil)
)

// The first by number is the oldest, but for those that were written together.
const outboxSQL = `
SELECT (SELECT count(*) FROM outbox),
       COALESCE(EXTRACT(EPOCH FROM now() - (SELECT created_at FROM outbox ORDER BY id LIMIT 1)), 0)::float8`

// Outbox counts what is still to be published.
func Outbox(db *pgxpool.Pool) *Part {
	return &Part{name: "outbox", descs: []*prometheus.Desc{outboxDesc, outboxAgeDesc}, read: func(ctx context.Context) ([]sample, error) {
		now := time.Now()
		var n, age float64
		var b pgx.Batch
		b.Queue(plannedSQL)
		b.Queue(outboxSQL).QueryRow(func(row pgx.Row) error { return row.Scan(&n, &age) })
		if err := db.SendBatch(ctx, &b).Close(); err != nil {
			return nil, fmt.Errorf("monitor: outbox: %w", err)
		}
		return []sample{{desc: outboxDesc, value: n}, aged(outboxAgeDesc, now, n, age)}, nil
	}}
}

var schemaDesc = prometheus.NewDesc("esimflow_schema_version",
	"Version of the database's schema. Read from Postgres by every process: use max by (), not sum.", nil, nil)

// Schema shows what version tells.
func Schema(version func(ctx context.Context) (int64, error)) *Part {
	return &Part{name: "schema", descs: []*prometheus.Desc{schemaDesc}, read: func(ctx context.Context) ([]sample, error) {
		v, err := version(ctx)
		return []sample{{desc: schemaDesc, value: float64(v)}}, err
	}}
}
