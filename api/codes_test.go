package api_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// constants reads the string constants of a Go file whose names begin with prefix. The
// packages that have them are not the API's to import.
func constants(t *testing.T, file, prefix string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	require.NoError(t, err)
	var values []string
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != len(spec.Names) {
			return true
		}
		for i, name := range spec.Names {
			literal, ok := spec.Values[i].(*ast.BasicLit)
			if ok && literal.Kind == token.STRING && strings.HasPrefix(name.Name, prefix) {
				value, err := strconv.Unquote(literal.Value)
				require.NoError(t, err)
				values = append(values, value)
			}
		}
		return true
	})
	require.NotEmpty(t, values, "%s has no %s…", file, prefix)
	return values
}

// withoutASaga are the codes and classes of bytes that never became a saga.
var withoutASaga = []string{"malformed", "conflict", "expired"}

// pressOnes are the codes of PressOne's that end a saga, and the statuses that do so without
// a code.
var pressOnes = []string{
	"11", "14", "23", "33", "34", "43", "73", "4001", "4005", "4007", "4008", "4010",
	"http_400", "http_402", "http_404", "http_413", "http_422", "http_<status>",
}

func TestEveryCodeAndClassIsDocumented(t *testing.T) {
	t.Parallel()
	d := document(t)
	failed := at[string](t, d, "components", "messages", "failed", "description")
	codes := constants(t, "../internal/saga/code.go", "Code")
	classes := slices.Concat(constants(t, "../internal/saga/code.go", "Class"), constants(t, "../internal/pressone/error.go", "Class"))
	for _, name := range slices.Concat(codes, classes, pressOnes) {
		require.Contains(t, failed, "`"+name+"`")
	}
}

// TestClassesAreAClosedSet compares the schemas with the programs, both ways.
func TestClassesAreAClosedSet(t *testing.T) {
	t.Parallel()
	classes := slices.Concat(constants(t, "../internal/saga/code.go", "Class"), constants(t, "../internal/pressone/error.go", "Class"))
	slices.Sort(classes)
	classes = slices.Compact(classes)
	ofSagas := slices.DeleteFunc(slices.Clone(classes), func(c string) bool { return slices.Contains(withoutASaga, c) })
	require.Less(t, len(ofSagas), len(classes))

	failed, letter := schema(t, "failed-event.json"), schema(t, "dead-letter-headers.json")
	require.ElementsMatch(t, ofSagas, at[[]any](t, failed, "properties", "data", "properties", "class", "enum"))
	require.ElementsMatch(t, classes, at[[]any](t, letter, "properties", "Esim-Class", "enum"))
	require.ElementsMatch(t, ofSagas, at[[]any](t, letter, "then", "properties", "Esim-Class", "enum"))
}

// TestEveryHeaderIsInTheSchema compares the names of our headers, both ways.
func TestEveryHeaderIsInTheSchema(t *testing.T) {
	t.Parallel()
	names := constants(t, "../internal/message/deadletter.go", "Header")
	var properties []string
	for name := range at[object](t, schema(t, "dead-letter-headers.json"), "properties") {
		properties = append(properties, name)
	}
	require.Len(t, names, 13)
	require.ElementsMatch(t, names, properties)
}
