package saga

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
)

// Every statement in the code is one that Postgres understands, against the schema as it
// is: constants named …SQL, in every package.
func TestEveryStatementPrepares(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), devstack.Postgres(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	files, err := filepath.Glob("../*/*.go")
	require.NoError(t, err)
	byPackage := map[string]map[string]ast.Expr{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		constants := byPackage[filepath.Dir(file)]
		if constants == nil {
			constants = map[string]ast.Expr{}
			byPackage[filepath.Dir(file)] = constants
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == len(v.Names) {
				for i, name := range v.Names {
					constants[name.Name] = v.Values[i]
				}
			}
			return true
		})
	}
	count := 0
	for dir, constants := range byPackage {
		for name, value := range constants {
			if !strings.HasSuffix(name, "SQL") {
				continue
			}
			text, ok := stringOf(value, dir, byPackage)
			require.True(t, ok, "%s: %s is no constant text", dir, name)
			_, err := conn.Prepare(t.Context(), "", text)
			require.NoError(t, err, "%s: %s", dir, name)
			count++
		}
	}
	require.Greater(t, count, 30)
}

// stringOf evaluates a constant of a package: literals, names, other packages' too, and sums
// of them.
func stringOf(e ast.Expr, dir string, byPackage map[string]map[string]ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil
	case *ast.Ident:
		v, ok := byPackage[dir][e.Name]
		if !ok {
			return "", false
		}
		return stringOf(v, dir, byPackage)
	case *ast.SelectorExpr:
		other, ok := e.X.(*ast.Ident)
		if !ok {
			return "", false
		}
		return stringOf(e.Sel, filepath.Join(filepath.Dir(dir), other.Name), byPackage)
	case *ast.BinaryExpr:
		left, ok := stringOf(e.X, dir, byPackage)
		right, okToo := stringOf(e.Y, dir, byPackage)
		return left + right, ok && okToo
	}
	return "", false
}
