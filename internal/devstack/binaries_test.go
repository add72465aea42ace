package devstack

import (
	"archive/zip"
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFind does not run in parallel: a script cannot be run while a process that another
// test forks at that moment holds it open for writing.
func TestFind(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // where the downloading library leaves its log
	notOnPath := func(string) (string, error) { return "", fs.ErrNotExist }

	t.Run("prefers what is on the path", func(t *testing.T) {
		onPath, usual := fakeInstallation(t, "15.2"), fakeInstallation(t, "18.3")
		s := search{
			onPath: func(name string) (string, error) { return filepath.Join(onPath, name), nil },
			dirs:   []string{usual},
		}
		b, err := s.find(t.Context(), t.TempDir())
		require.NoError(t, err)
		require.Equal(t, binaries{dir: onPath, version: "15.2"}, b)
	})

	t.Run("then the newest version in the usual directories", func(t *testing.T) {
		nine, ten := fakeInstallation(t, "9.6.24"), fakeInstallation(t, "10.23")
		s := search{onPath: notOnPath, dirs: []string{nine, ten, t.TempDir()}}
		b, err := s.find(t.Context(), t.TempDir())
		require.NoError(t, err)
		require.Equal(t, binaries{dir: ten, version: "10.23"}, b)
	})

	t.Run("then what it can download, once", func(t *testing.T) {
		repository := newRepository(t)
		var fetched int
		s := search{onPath: notOnPath, fetch: func(ctx context.Context, dir string) error {
			fetched++
			return fetchBinariesFrom(ctx, dir, repository)
		}}
		cache := t.TempDir()
		for range 2 {
			b, err := s.find(t.Context(), cache)
			require.NoError(t, err)
			require.Equal(t, "18.3", b.version)
		}
		require.Equal(t, 1, fetched)
	})

	t.Run("then says what to install", func(t *testing.T) {
		s := search{onPath: notOnPath, dirs: []string{"/usr/lib/postgresql-missing/*/bin"}}
		_, err := s.find(t.Context(), t.TempDir())
		require.ErrorContains(t, err, "install Debian's `postgresql`")
		require.ErrorContains(t, err, "/usr/lib/postgresql-missing/*/bin")
		require.ErrorContains(t, err, "downloading is switched off")
	})

	t.Run("and why it could not download", func(t *testing.T) {
		repository := httptest.NewServer(http.NotFoundHandler())
		defer repository.Close()
		s := search{onPath: notOnPath, fetch: func(ctx context.Context, dir string) error {
			return fetchBinariesFrom(ctx, dir, repository.URL)
		}}
		_, err := s.find(t.Context(), t.TempDir())
		require.ErrorContains(t, err, "install Debian's `postgresql`")
		require.ErrorContains(t, err, "no version found")
	})
}

// TestNoPostgresAnywhere has an empty PATH, so it cannot run in parallel.
func TestNoPostgresAnywhere(t *testing.T) {
	t.Setenv("PATH", "")
	where := machineSearch
	where.dirs, where.fetch = nil, nil
	_, err := startPostgres(t.Context(), PostgresConfig{}, where)
	require.ErrorContains(t, err, "install Debian's `postgresql`")
}

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	ordered := []string{"9.6.24", "10.3", "10.23", "15", "15.0", "15.18", "18.3"}
	for i, a := range ordered {
		for j, b := range ordered {
			switch got := compareVersions(a, b); {
			case i < j:
				require.Negative(t, got, "%s %s", a, b)
			case i > j:
				require.Positive(t, got, "%s %s", a, b)
			default:
				require.Zero(t, got, "%s %s", a, b)
			}
		}
	}
}

// fakeInstallation is a directory with a postgres that only knows its version, and an
// initdb that does not work.
func fakeInstallation(t *testing.T, version string) string {
	t.Helper()
	dir := publicDir(t)
	for name, script := range map[string]string{
		"postgres": "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n",
		"initdb":   "#!/bin/sh\necho 'no' >&2\nexit 1\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
	}
	return dir
}

// fakeArchive is a .tar.xz with bin/postgres, a script that says version 18.3, and empty
// scripts bin/initdb and bin/pg_ctl.
const fakeArchive = "" +
	"/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4Cf/ALFdADEaShsJm84iHsbLRwPoGC75j1TR0bLwgHrZQaQXpLOPo2yURR" +
	"rCcwVmenvMJfTsQ8/TPPwvQ1TYUc1ZLZZYcIumDb0xPEEnzlwHVWXX+pB5v/8pyUMwZp/sqnvFaZt41XlciJ1NN0t6" +
	"MdZRwyH5iNifq2GFKqg82s2ZJ+GNwaMv0l+kwU0OpnNoXgt85s4pI6QI4tW/TMkGDYxoin3VdeQVfpY83sbprYAkMe" +
	"1QvNMTAAAAAAD8mNgkGh6wzAABzQGAUAAAjGim0rHEZ/sCAAAAAARZWg=="

// newRepository serves fakeArchive in the shape of the Maven repository that the binaries
// are downloaded from, and returns its address.
func newRepository(t *testing.T) string {
	t.Helper()
	archive, err := base64.StdEncoding.DecodeString(fakeArchive)
	require.NoError(t, err)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, ".jar") {
			http.NotFound(w, r)
			return
		}
		jar := zip.NewWriter(w)
		f, err := jar.Create("postgres.txz")
		if err == nil {
			_, err = f.Write(archive)
		}
		if err = errors.Join(err, jar.Close()); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(func() {
		srv.Close()
		http.DefaultClient.CloseIdleConnections() // the downloading library uses that one
	})
	return srv.URL
}
