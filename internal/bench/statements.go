package bench

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

const statementsExtension = "pg_stat_statements"

// Statement is what a statement has cost in a run.
type Statement struct {
	Text     string  `json:"text"`
	Calls    float64 `json:"calls"`
	TotalMS  float64 `json:"total_ms"` // executing; waiting for locks too
	Rows     float64 `json:"rows"`
	WALBytes float64 `json:"wal_bytes"`
	Hits     float64 `json:"blocks_hit"`
	Reads    float64 `json:"blocks_read"`
}

// statements lists the fifteen that took longest since the last reset. The constant's name
// says nothing of SQL, because the extension need not be there to prepare it.
const costliestStatements = `
SELECT query AS text, calls::float8, total_exec_time::float8 AS total_ms, rows::float8, wal_bytes::float8,
    shared_blks_hit::float8 AS hits, shared_blks_read::float8 AS reads
FROM pg_stat_statements s
JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = 'esimflow' AND query NOT LIKE '%pg\_stat\_%'
ORDER BY total_exec_time DESC
LIMIT 15`

func (s *stack) statements(ctx context.Context) ([]Statement, error) {
	rows, err := s.admin.Query(ctx, costliestStatements)
	if err != nil {
		return nil, fmt.Errorf("bench: statements: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Statement])
	if err != nil {
		return nil, fmt.Errorf("bench: statements: %w", err)
	}
	return all, nil
}

// forget starts counting statements anew.
func (s *stack) forget(ctx context.Context) error {
	return s.exec(ctx, `SELECT pg_stat_statements_reset()`)
}
