package bench

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// counters is what Postgres has counted since it was started.
type counters struct {
	commits float64 // of the database, those of its autovacuum included
	wal     float64 // bytes; only ever read from log positions, which are exact at any time
	images  float64 // full-page images
	syncs   float64 // of the log
	tables  map[string]Table
}

// Table is what was done to a table.
type Table struct {
	Inserted        float64 `json:"inserted"`
	Updated         float64 `json:"updated"`
	HotUpdated      float64 `json:"hot_updated"` // of the updated ones
	Deleted         float64 `json:"deleted"`
	SequentialScans float64 `json:"sequential_scans"`
	SequentialRows  float64 `json:"sequential_rows"` // read by them
}

func (t Table) minus(u Table) Table {
	return Table{
		t.Inserted - u.Inserted, t.Updated - u.Updated, t.HotUpdated - u.HotUpdated, t.Deleted - u.Deleted,
		t.SequentialScans - u.SequentialScans, t.SequentialRows - u.SequentialRows,
	}
}

func (t Table) over(n float64) Table {
	return Table{t.Inserted / n, t.Updated / n, t.HotUpdated / n, t.Deleted / n, t.SequentialScans / n, t.SequentialRows / n}
}

const walPositionSQL = `
SELECT (pg_current_wal_lsn() - '0/0')::float8`

const commitsSQL = `
SELECT xact_commit::float8
FROM pg_stat_database
WHERE datname = current_database()`

// Since Postgres 18 syncs are counted in pg_stat_io: see syncsSince18.
const walSQL = `
SELECT wal_fpi::float8, COALESCE((to_jsonb(w) ->> 'wal_sync')::float8, 0)
FROM pg_stat_wal w`

const syncsSince18 = `
SELECT COALESCE(sum(fsyncs), 0)::float8
FROM pg_stat_io
WHERE object = 'wal'`

const tablesSQL = `
SELECT relname, n_tup_ins::float8 AS inserted, n_tup_upd::float8 AS updated, n_tup_hot_upd::float8 AS hot_updated,
    n_tup_del::float8 AS deleted, seq_scan::float8 AS sequential_scans, COALESCE(seq_tup_read, 0)::float8 AS sequential_rows
FROM pg_stat_user_tables
WHERE schemaname = 'public'`

// readCounters reads what Postgres knows; wal is left out. The connection's own share is not
// in it yet, and comes with its end.
func readCounters(ctx context.Context, conn *pgx.Conn) (c counters, err error) {
	version, err := one[int](ctx, conn, `SELECT current_setting('server_version_num')::int`)
	if err != nil {
		return c, err
	}
	if c.commits, err = one[float64](ctx, conn, commitsSQL); err != nil {
		return c, err
	}
	if err := conn.QueryRow(ctx, walSQL).Scan(&c.images, &c.syncs); err != nil {
		return c, fmt.Errorf("bench: %w", err)
	}
	if version >= 180000 {
		if c.syncs, err = one[float64](ctx, conn, syncsSince18); err != nil {
			return c, err
		}
	}
	rows, err := conn.Query(ctx, tablesSQL)
	if err != nil {
		return c, fmt.Errorf("bench: %w", err)
	}
	type row struct {
		Relname string
		Table
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil {
		return c, fmt.Errorf("bench: %w", err)
	}
	c.tables = make(map[string]Table, len(all))
	for _, r := range all {
		c.tables[r.Relname] = r.Table
	}
	return c, nil
}

// minus is what was counted since.
func (c counters) minus(before counters) counters {
	d := counters{
		commits: c.commits - before.commits, wal: c.wal - before.wal, images: c.images - before.images,
		syncs: c.syncs - before.syncs, tables: map[string]Table{},
	}
	for name, t := range c.tables {
		if t = t.minus(before.tables[name]); t != (Table{}) {
			d.tables[name] = t
		}
	}
	return d
}

// one reads one value.
func one[T any](ctx context.Context, conn *pgx.Conn, sql string, args ...any) (v T, err error) {
	if err = conn.QueryRow(ctx, sql, args...).Scan(&v); err != nil {
		err = fmt.Errorf("bench: %w", err)
	}
	return v, err
}

// connect connects to the database that is measured. That is a commit there, and so is every
// statement: a dozen a run are the bench's own, and are in the figure.
func (s *stack) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, s.pg.URL())
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	return conn, nil
}
