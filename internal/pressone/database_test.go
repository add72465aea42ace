package pressone

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
)

// database returns a pool on a database of the test's own.
func database(tb testing.TB) *pgxpool.Pool {
	tb.Helper()
	cfg, err := pgxpool.ParseConfig(devstack.Postgres(tb))
	require.NoError(tb, err)
	cfg.MaxConns = 8
	db, err := pgxpool.NewWithConfig(tb.Context(), cfg)
	require.NoError(tb, err)
	tb.Cleanup(db.Close)
	return db
}

func TestEveryQueryPrepares(t *testing.T) {
	t.Parallel()
	db := database(t)
	conn, err := db.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	prepared := 0
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), entry.Name(), nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Names) != 1 || !strings.HasSuffix(spec.Names[0].Name, "SQL") {
				return true
			}
			literal, ok := spec.Values[0].(*ast.BasicLit)
			require.True(t, ok, spec.Names[0].Name)
			sql, err := strconv.Unquote(literal.Value)
			require.NoError(t, err)
			_, err = conn.Conn().Prepare(t.Context(), spec.Names[0].Name, sql)
			require.NoError(t, err, spec.Names[0].Name)
			prepared++
			return true
		})
	}
	require.Equal(t, 22, prepared)
}
