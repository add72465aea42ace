package retention

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/migrations"
)

var sagas = flag.Int("sagas", 20_000, "how many sagas BenchmarkSweep removes")

// Sagas with four rows of history, an answer and a purchase of the size that one eSIM has,
// in the order of their ids.
const manySQL = `
WITH s AS (
    INSERT INTO saga (id, kind, request_id, state, version, deadline_at, reference, fingerprint, package_id, quantity,
                      order_id, ends, requested_at, created_at, updated_at)
    SELECT (lpad(to_hex((extract(epoch FROM now() - interval '100 days') * 1000)::bigint + n), 12, '0') || '7' || substr(md5(n::text), 1, 3) ||
            '8' || substr(md5(n::text), 4, 15))::uuid,
           'order', 'ord-' || n, 'completed', 4, now(), substr(md5('r' || n), 1, 26), md5('f' || n) || md5('g' || n),
           'kallur-digital-7days-1gb', 1, n, 1, now() - interval '100 days', now() - interval '100 days', now() - interval '100 days'
    FROM generate_series(1, $1::int) AS n
    RETURNING id
), r AS (
    INSERT INTO saga_request (saga_id, subject, sequence, headers, body, metadata)
    SELECT id, 'esim.request.order', 1, '{}', convert_to('{"request_id":"ord-0000000","package_id":"kallur-digital-7days-1gb"}', 'utf8'), '{}'
    FROM s
), h AS (
    INSERT INTO saga_history (saga_id, version, event, from_state, to_state, attempt, seen)
    SELECT id, v, 'submitted', 'submitting', 'polling', 1, 'order 1234567 (20260504-1234567)'
    FROM s, generate_series(1, 4) AS v
), a AS (
    INSERT INTO saga_answer (saga_id, attempt, status, body)
    SELECT id, 1, 200, convert_to(repeat(md5(id::text), 30), 'utf8')
    FROM s
)
INSERT INTO saga_purchase (saga_id, data)
SELECT id, json_build_object('order', repeat(md5(id::text), 30))
FROM s`

// BenchmarkSweep removes sagas as fast as a pause as long as each commit allows, which is what
// is done when the walk has fallen behind; with fsync, as in production:
//
//	go test ./internal/retention -run '^$' -bench Sweep -benchtime 1x -sagas 200000
func BenchmarkSweep(b *testing.B) {
	pg, err := devstack.StartPostgres(b.Context(), devstack.PostgresConfig{Durable: true})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, pg.Stop()) })
	_, err = migrations.Up(b.Context(), pg.URL())
	require.NoError(b, err)
	s := setupOn(b, pg.URL())
	var wal, took float64
	for b.Loop() {
		b.StopTimer()
		s.exec(manySQL, *sagas)
		s.exec("CHECKPOINT") // full pages are written once more after it, as they mostly are
		before := s.now.Add(-keep)
		require.NoError(b, s.Announce(b.Context(), before))
		var lsn string
		require.NoError(b, s.DB.QueryRow(b.Context(), "SELECT pg_current_wal_lsn()::text").Scan(&lsn))
		b.StartTimer()
		began := time.Now()
		removed, err := s.Sweep(context.Background(), before)
		took += time.Since(began).Seconds()
		b.StopTimer()
		require.NoError(b, err)
		require.EqualValues(b, *sagas, removed.Sagas)
		var written float64
		require.NoError(b, s.DB.QueryRow(b.Context(), "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), $1::pg_lsn)::float8", lsn).Scan(&written))
		wal += written
		b.StartTimer()
	}
	n := float64(b.N * *sagas)
	b.ReportMetric(n/took, "sagas/s")
	b.ReportMetric(wal/n, "WAL-bytes/saga")
}
