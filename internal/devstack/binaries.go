package devstack

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// usualDirs are where distributions and installers put the binaries, as patterns.
var usualDirs = []string{
	"/usr/lib/postgresql/*/bin",                   // Debian, Ubuntu
	"/usr/pgsql-*/bin",                            // Red Hat, from postgresql.org
	"/usr/libexec/postgresql*",                    // Alpine
	"/usr/local/pgsql/bin",                        // built from source
	"/opt/homebrew/opt/postgresql@*/bin",          // macOS on Apple silicon
	"/usr/local/opt/postgresql@*/bin",             // macOS on Intel
	"/Applications/Postgres.app/*/Versions/*/bin", // Postgres.app
}

// search says where to look for the Postgres binaries.
type search struct {
	onPath func(name string) (string, error)
	dirs   []string                                    // patterns, tried when nothing is on PATH
	fetch  func(ctx context.Context, dir string) error // nil: downloading is switched off
}

// binaries is one installation of Postgres.
type binaries struct {
	dir     string // holds postgres and initdb
	version string // such as 15.18
}

var machineSearch = search{onPath: exec.LookPath, dirs: usualDirs, fetch: fetchBinaries}

// find returns the installation on PATH, else the newest one in the usual
// directories, then one downloaded to cache.
func (s search) find(ctx context.Context, cache string) (binaries, error) {
	if initdb, err := s.onPath("initdb"); err == nil {
		if b, ok := installation(ctx, filepath.Dir(initdb)); ok {
			return b, nil
		}
	}
	var found []binaries
	for _, pattern := range s.dirs {
		dirs, err := filepath.Glob(pattern)
		if err != nil {
			return binaries{}, fmt.Errorf("devstack: %s: %w", pattern, err)
		}
		for _, dir := range dirs {
			if b, ok := installation(ctx, dir); ok {
				found = append(found, b)
			}
		}
	}
	if len(found) > 0 {
		return slices.MaxFunc(found, func(a, b binaries) int { return compareVersions(a.version, b.version) }), nil
	}

	fetched := filepath.Join(cache, "postgres-fetched")
	if b, ok := installation(ctx, filepath.Join(fetched, "bin")); ok {
		return b, nil
	}
	err := errors.New("downloading is switched off")
	if s.fetch != nil {
		err = s.fetch(ctx, fetched)
	}
	if err == nil {
		if b, ok := installation(ctx, filepath.Join(fetched, "bin")); ok {
			return b, nil
		}
		err = fmt.Errorf("what was downloaded to %s does not run", fetched)
	}
	return binaries{}, fmt.Errorf("devstack: no Postgres on this machine: install Debian's `postgresql`, "+
		"Homebrew's `postgresql@18`, or anything that puts `postgres` and `initdb` on PATH\n"+
		"It is not on PATH, and not in %s\nIt was not downloaded either: %w", strings.Join(s.dirs, ", "), err)
}

var versionPattern = regexp.MustCompile(`\d+(\.\d+)*`)

// installation reports whether dir holds a Postgres that runs here.
func installation(ctx context.Context, dir string) (binaries, bool) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, false
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version")
	cmd.Env = serverEnv
	out, err := cmd.Output()
	version := versionPattern.FindString(string(out))
	if err != nil || version == "" {
		return binaries{}, false
	}
	return binaries{dir: dir, version: version}, true
}

// compareVersions compares dotted numbers.
func compareVersions(a, b string) int {
	numbers := func(v string) (n []int) {
		for part := range strings.SplitSeq(v, ".") {
			i, err := strconv.Atoi(part)
			if err != nil {
				break
			}
			n = append(n, i)
		}
		return n
	}
	return cmp.Or(slices.Compare(numbers(a), numbers(b)), strings.Compare(a, b))
}

// fetchBinaries downloads Postgres to dir.
//
// The library that knows where to download from also wants to start the server, and would
// do so as root; so it is given a data directory that cannot exist, and stops after it
// has unpacked the binaries. Whether they are there is what counts, not its error.
func fetchBinaries(ctx context.Context, dir string) error {
	return fetchBinariesFrom(ctx, dir, "")
}

func fetchBinariesFrom(ctx context.Context, dir, repository string) error {
	work, err := os.MkdirTemp("", "esimflow-fetch-")
	if err != nil {
		return err
	}
	obstacle := filepath.Join(work, "a-file")
	if err := os.WriteFile(obstacle, nil, 0o600); err != nil {
		return errors.Join(err, os.RemoveAll(work))
	}
	port, err := FreePort()
	if err != nil {
		return errors.Join(err, os.RemoveAll(work))
	}
	var log bytes.Buffer
	cfg := embeddedpostgres.DefaultConfig().
		Port(uint32(port)). //nolint:gosec // a port
		CachePath(filepath.Join(work, "archive")).
		BinariesPath(dir).
		RuntimePath(filepath.Join(work, "runtime")).
		DataPath(filepath.Join(obstacle, "data")).
		Logger(&log)
	if repository != "" {
		cfg = cfg.BinaryRepositoryURL(repository)
	}

	done := make(chan error, 1)
	go func() { // the library's download knows no context
		err := embeddedpostgres.NewDatabase(cfg).Start()
		done <- errors.Join(err, os.RemoveAll(work))
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if _, statErr := os.Stat(filepath.Join(dir, "bin", "postgres")); statErr != nil {
		return err
	}
	return nil
}
