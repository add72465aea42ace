package monitor

import (
	"flag"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/saga"
)

var (
	openFlag = flag.Int("open", 10_000, "sagas that wait, in BenchmarkReading")
	doneFlag = flag.Int("done", 10_000, "sagas that have ended, in BenchmarkReading")
)

const manySQL = `
INSERT INTO saga (id, kind, request_id, state, reference, fingerprint, package_id, quantity, deadline_at, requested_at, due_at, intent_at, order_id)
SELECT ('019a' || lpad(to_hex($1::bigint + n), 12, '0') || '7000800000000000')::uuid, 'order', ($1::bigint + n)::text,
       CASE WHEN NOT $3 THEN 'completed' WHEN n % 1000 = 0 THEN 'unknown' WHEN n % 100 = 0 THEN 'polling' ELSE 'pending' END,
       'r' || ($1::bigint + n), 'fingerprint', 'kallur-digital-7days-1gb', 1, now(), now(), CASE WHEN $3 THEN now() END, now(),
       CASE WHEN NOT $3 OR n % 100 = 0 THEN $1::bigint + n END
FROM generate_series(1, $2::int) n`

// BenchmarkReading reads each part, with -open sagas that wait among -done that have ended.
func BenchmarkReading(b *testing.B) {
	db, err := pgxpool.New(b.Context(), devstack.Postgres(b))
	require.NoError(b, err)
	b.Cleanup(db.Close)
	fill := func(from, n int, waiting bool) {
		const most = 250_000
		for at := 0; at < n; at += most {
			_, err := db.Exec(b.Context(), manySQL, from+at, min(most, n-at), waiting)
			require.NoError(b, err)
		}
	}
	fill(0, *doneFlag, false)
	fill(*doneFlag, *openFlag, true)
	_, err = db.Exec(b.Context(), "VACUUM ANALYZE saga", pgx.QueryExecModeSimpleProtocol)
	require.NoError(b, err)
	store := saga.NewStore(db, saga.NewMetrics(prometheus.NewRegistry()))
	for _, p := range []*Part{Sagas(db, nil), Exposure(db, store), Letters(db), Outbox(db)} {
		b.Run(p.name, func(b *testing.B) {
			for b.Loop() {
				require.NoError(b, p.refresh(b.Context()))
			}
		})
	}
}
