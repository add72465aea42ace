package monitor

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
)

// Counting reads no table, however much is in it: open sagas and letters are counted in
// indexes that hold nothing else.
func TestCountingReadsIndexes(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), devstack.Postgres(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	_, err = conn.Exec(t.Context(), `
		INSERT INTO saga (id, kind, request_id, state, reference, fingerprint, package_id, quantity, deadline_at, requested_at, due_at, order_id)
		SELECT gen_random_uuid(), 'order', n::text, CASE WHEN n % 50 = 0 THEN 'pending' WHEN n % 301 = 0 THEN 'unknown' ELSE 'completed' END, 'r' || n,
		       'f', 'p', 1, now(), now(), CASE WHEN n % 50 = 0 THEN now() END, n
		FROM generate_series(1, 30000) n`)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "VACUUM ANALYZE")
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		sql   string
		with  []string
		never []string
	}{
		"waiting":     {waitingSQL, []string{"Index Only Scan using saga_waiting"}, []string{"Seq Scan"}},
		"held":        {heldSQL, []string{"saga_held"}, []string{"Seq Scan"}},
		"due":         {dueSQL, []string{"Index Only Scan using saga_due_begun", "Index Only Scan using saga_due_fresh"}, []string{"Seq Scan"}},
		"unknown age": {unknownAgeSQL, []string{"saga_waiting"}, []string{"Seq Scan"}},
		"unknown":     {unknownSQL, []string{"saga_waiting", "dead_letter_open"}, []string{"Seq Scan"}},
		"letters":     {lettersSQL, []string{"Index Only Scan using dead_letter_open_kinds"}, []string{"Seq Scan"}},
		"outbox":      {outboxSQL, []string{"Index Only Scan using outbox_pkey", "Limit"}, []string{"Seq Scan"}},
		"notifying":   {notifyingSQL, []string{"outbox_pkey"}, []string{"Seq Scan"}},
		"prices":      {strings.ReplaceAll(boughtSQL, "$1", "ARRAY['p']"), []string{"saga_pkey", "Limit"}, []string{"Seq Scan"}},
	} {
		t.Run(name, func(t *testing.T) {
			tx, err := conn.Begin(t.Context())
			require.NoError(t, err)
			t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
			_, err = tx.Exec(t.Context(), plannedSQL)
			require.NoError(t, err)
			rows, err := tx.Query(t.Context(), "EXPLAIN "+tt.sql)
			require.NoError(t, err)
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			require.NoError(t, err)
			plan := strings.Join(lines, "\n")
			for _, want := range tt.with {
				require.Contains(t, plan, want)
			}
			for _, never := range tt.never {
				require.NotContains(t, plan, never)
			}
		})
	}
}
