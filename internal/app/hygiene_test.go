package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// root is the repository, seen from this package.
const root = "../.."

// arrows is who may import whom, tests aside:
//
//	cmd → app → {intake, deadletter, audit, retention, monitor, restore, ops} → saga → {pressone, outbox} → {message, seal}
//
// A package may import what lies further along, never its neighbour and never backwards;
// but ops, which shows operators the dead letters and the audit, imports those two.
// config and migrations are for app and cmd; devstack and pressonesim for cmd/esimctl, bench
// and tests. An arrow that is not here fails the build until somebody writes it down, which is
// the moment to ask whether it should exist.
var arrows = map[string][]string{
	"cmd/worker":    {"internal/app", "internal/config"},
	"cmd/publisher": {"internal/app", "internal/config"},
	"cmd/esimctl": {
		"internal/app", "internal/ops", "internal/deadletter", "internal/audit", "internal/saga", "internal/seal", "internal/pressone", "internal/message",
		"internal/restore", "internal/config", "migrations", "internal/devstack", "internal/pressonesim", "internal/bench",
	},
	"internal/bench": {
		"internal/app", "internal/message", "internal/config", "migrations", "internal/devstack", "internal/pressonesim",
	},

	"internal/app": {
		"internal/intake", "internal/deadletter", "internal/audit", "internal/retention", "internal/monitor", "internal/ops", "internal/restore", "internal/saga",
		"internal/seal", "internal/pressone", "internal/outbox", "internal/message", "internal/config", "migrations",
	},
	"internal/intake":     {"internal/saga", "internal/pressone", "internal/outbox", "internal/message"},
	"internal/deadletter": {"internal/saga", "internal/pressone", "internal/outbox", "internal/message"},
	"internal/audit":      {"internal/saga", "internal/pressone", "internal/outbox", "internal/message"},
	"internal/retention":  {"internal/saga", "internal/outbox"},
	"internal/monitor":    {"internal/saga", "internal/pressone", "internal/outbox", "internal/message"},
	"internal/restore":    {"internal/saga", "internal/message"},
	"internal/ops":        {"internal/deadletter", "internal/audit", "internal/saga", "internal/pressone", "internal/outbox", "internal/message"},
	"internal/saga":       {"internal/pressone", "internal/outbox", "internal/message", "internal/seal"},
	"internal/pressone":   {"internal/message", "internal/seal"},
	"internal/outbox":     {"internal/message", "internal/seal"},
	"internal/seal":       {},
	"internal/message":    {},

	"internal/config":      {},
	"internal/devstack":    {"migrations"},
	"internal/pressonesim": {}, // a second opinion
	"migrations":           {},

	"api":         {},
	"api/apitest": {"api", "internal/message"}, // for tests only
}

func TestImportsFollowTheArrows(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		allowed, known := arrows[p.name()]
		if !known {
			t.Errorf("%s is a new package: write down in arrows what it may import", p.name())
		}
		for _, path := range p.Imports {
			name, ours := strings.CutPrefix(path, module)
			if ours && !slices.Contains(allowed, name) {
				t.Errorf("%s imports %s: no arrow leads there", p.name(), name)
			}
		}
	}
}

// TestArrowsHaveNoLoop keeps the table itself honest.
func TestArrowsHaveNoLoop(t *testing.T) {
	t.Parallel()
	var visit func(name string, path []string)
	visit = func(name string, path []string) {
		require.NotContains(t, path, name)
		targets, known := arrows[name]
		require.True(t, known, "an arrow leads to %s, which the table does not have", name)
		for _, target := range targets {
			visit(target, append(slices.Clone(path), name))
		}
	}
	for name := range arrows {
		visit(name, nil)
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		var comments []string
		for _, file := range slices.Concat(p.GoFiles, p.CgoFiles) {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.PackageClauseOnly|parser.ParseComments)
			require.NoError(t, err)
			if f.Doc != nil {
				comments = append(comments, file)
				if p.Name != "main" {
					require.True(t, strings.HasPrefix(f.Doc.Text(), "Package "+p.Name+" "),
						"%s/%s: the comment should begin with Package %s", p.name(), file, p.Name)
				}
			}
		}
		if len(comments) != 1 {
			t.Errorf("%s should have one package comment, and has them in %q", p.name(), comments)
		}
	}
}

func TestMigrationsAreGapless(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(root, "migrations", "*.sql"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for i, file := range files {
		require.Regexp(t, fmt.Sprintf(`^%04d_[a-z]+(_[a-z0-9]+)+\.sql$`, i+1), filepath.Base(file))
	}
}

// TestEverySQLFileSaysWhy looks for the comment that says why the file is safe to apply.
func TestEverySQLFileSaysWhy(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".sql" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(string(b), "\n")
		if !strings.HasPrefix(first, "-- ") || strings.HasPrefix(first, "-- +goose") {
			t.Errorf("%s should begin with a comment", path)
		}
		return nil
	})
	require.NoError(t, err)
}

const module = "esimflow/"

// goPackage is what go list says about a package.
type goPackage struct {
	ImportPath string
	Name       string
	Dir        string
	GoFiles    []string
	CgoFiles   []string
	Imports    []string
}

func (p goPackage) name() string { return strings.TrimPrefix(p.ImportPath, module) }

// packages lists the module's packages that are more than tests.
func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Dir,GoFiles,CgoFiles,Imports", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())

	var all []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if len(p.GoFiles)+len(p.CgoFiles) > 0 {
			all = append(all, p)
		}
	}
	require.NotEmpty(t, all)
	return all
}
