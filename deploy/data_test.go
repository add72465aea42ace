package deploy_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
)

// Whoever has to say what is on record about a person finds every table of the database in
// docs/data.md: what is in it, or that there is nothing of the kind.
func TestEveryTableIsOnTheMapOfData(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs", "data.md"))
	require.NoError(t, err)
	db, err := pgx.Connect(t.Context(), devstack.Postgres(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	rows, err := db.Query(t.Context(), `SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1`)
	require.NoError(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Greater(t, len(tables), 20)
	var missing []string
	for _, table := range tables {
		if !strings.Contains(string(page), "`"+table+"`") {
			missing = append(missing, table)
		}
	}
	require.Empty(t, missing)
}
