package app_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/pressonesim"
)

// earlier are the programs as the previous commit had them.
type earlier struct{ worker, publisher string }

// buildEarlier builds the previous commit's programs. Where there is no history, as in a
// tarball or a clone of one commit, the current ones take their place: what is
// tested then is the change of processes alone.
func buildEarlier(t *testing.T) earlier {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	source := filepath.Join(t.TempDir(), "source")
	if err := checkOut(t, root, "HEAD~1", source); err != nil {
		t.Logf("there is no previous commit to be had, so the current source stands in for it: %v", err)
		source = root
	}
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", bin+"/", "./cmd/worker", "./cmd/publisher")
	build.Dir = source
	build.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off") // this run's flags are not meant for it
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return earlier{worker: filepath.Join(bin, "worker"), publisher: filepath.Join(bin, "publisher")}
}

// checkOut unpacks a commit of the repository at root into dir. It leaves the repository
// as it is, and does not mind whose it is.
func checkOut(t *testing.T, root, commit, dir string) error {
	t.Helper()
	git := exec.CommandContext(t.Context(), "git", "-c", "safe.directory=*", "-C", root, "archive", "--format=tar", commit)
	// A test that runs within a hook of git's must not be led to another repository.
	git.Env = append(os.Environ(), "GIT_DIR="+filepath.Join(root, ".git"), "GIT_WORK_TREE="+root)
	var stderr bytes.Buffer
	git.Stderr = &stderr
	archive, err := git.Output()
	if err != nil {
		return errors.Join(err, errors.New(strings.TrimSpace(stderr.String())))
	}
	files := tar.NewReader(bytes.NewReader(archive))
	for {
		f, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		require.NoError(t, err)
		if f.Typeflag != tar.TypeReg {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		body, err := io.ReadAll(files)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, body, 0o600))
	}
}

// program starts a program from a file.
func (b *bench) program(path string) *exec.Cmd {
	b.t.Helper()
	return b.start(exec.Command(path))
}

// What the previous commit's programs and this one's do together.
func TestVersions(t *testing.T) {
	t.Parallel()
	old := buildEarlier(t)
	t.Run("take turns", func(t *testing.T) { versionsTakeTurns(t, old) })
	t.Run("seal what the other cannot read", func(t *testing.T) { versionsSeal(t, old) })
	t.Run("leave a state alone that they do not know", func(t *testing.T) { versionsMeetAnUnknownState(t, old) })
}

// The previous commit's programs and this one's work on the same database, under load and
// with calls that go wrong. The new schema comes first; then the workers are replaced one
// by one, and the publisher in between; then all is rolled back, and upgraded again, the
// publisher first.
func versionsTakeTurns(t *testing.T, old earlier) {
	t.Helper()
	b := setup(t, pressonesim.Config{Chaos: pressonesim.Chaos{Rate: 0.2, Seed: 3, Reads: true, SlowFor: 200 * time.Millisecond}})
	b.lenientTokens()
	b.env["LEASE_TTL"], b.env["RETRY_MAX_ATTEMPTS"] = "1500ms", "30"
	b.env["OPS_TOKEN"] = "" // nobody asks
	oldWorker := func() *exec.Cmd { return b.program(old.worker) }
	newWorker := func() *exec.Cmd { return b.process(app.WorkerProgram) }
	oldPublisher := func() *exec.Cmd { return b.program(old.publisher) }
	newPublisher := func() *exec.Cmd { return b.process(app.PublisherProgram) }

	workers := []*exec.Cmd{oldWorker(), oldWorker()}
	publisher := oldPublisher()
	n := 0
	load := func(name string) {
		release := b.withhold()
		n += b.traffic(name, 50, 10)
		b.progress(n-50, "polling")
		release()
	}
	load("old")
	replace := func(i int, start func() *exec.Cmd) {
		next := start() // both for a moment
		b.stop(workers[i])
		workers[i] = next
	}
	replacePublisher := func(start func() *exec.Cmd) {
		next := start()
		b.stop(publisher)
		publisher = next
	}
	steps := []struct {
		name string
		do   func()
	}{
		{"mixed", func() { replace(0, newWorker) }},
		{"publisher", func() { replacePublisher(newPublisher) }},
		{"new", func() { replace(1, newWorker) }},
		{"rollback", func() { replace(0, oldWorker) }},
		{"rolledback", func() { replace(1, oldWorker); replacePublisher(oldPublisher) }},
		{"publisherfirst", func() { replacePublisher(newPublisher) }},
		{"again", func() { replace(0, newWorker) }},
	}
	for _, s := range steps {
		s.do()
		load(s.name)
	}
	b.soldOnce(n)
	b.stop(append(workers, publisher)...)
}

// Workers of both versions have a key, and an old publisher leads: it publishes what the old worker
// and the new one have for it and never a sealed result, which waits for a publisher of this version. Then every order has one
// result, readable, and is bought once, whichever of the workers took it over from the other.
func versionsSeal(t *testing.T, old earlier) {
	t.Helper()
	b := setup(t, pressonesim.Config{Chaos: pressonesim.Chaos{Rate: 0.2, Seed: 5, Reads: true, SlowFor: 200 * time.Millisecond}})
	b.lenientTokens()
	b.env["LEASE_TTL"], b.env["RETRY_MAX_ATTEMPTS"], b.env["ENCRYPTION_KEY"] = "1500ms", "30", canaryKey
	workers := []*exec.Cmd{b.program(old.worker), b.process(app.WorkerProgram)}
	publisher := b.program(old.publisher)
	n := b.traffic("sealed", 60, 10)
	require.Eventually(t, func() bool {
		return b.tally("SELECT count(*) FROM saga WHERE state IN ('notifying', 'completed')") == n &&
			b.tally("SELECT count(*) FROM outbox WHERE next_at IS NOT NULL") == 0
	}, 3*time.Minute, 50*time.Millisecond)
	b.stop(publisher)
	b.stop(workers...)
	workers = []*exec.Cmd{b.process(app.WorkerProgram), b.process(app.PublisherProgram)}
	b.soldOnce(n) // and every result is as api/ describes it, see checkContracts
	b.stop(workers...)
}

// A saga in a state that neither knows, written by a version that is yet to come, is left
// alone by both: nothing of its row changes, nothing is logged about it, and it is
// counted.
func versionsMeetAnUnknownState(t *testing.T, old earlier) {
	t.Helper()
	b := setup(t, pressonesim.Config{})
	_, err := b.db.Exec(t.Context(), "ALTER TABLE saga DROP CONSTRAINT saga_state_check")
	require.NoError(t, err)
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.OneSim, Action: pressonesim.Status, Status: 503, Times: 40})
	w := b.worker()
	b.publisher()
	workers := []*exec.Cmd{b.program(old.worker), b.program(old.publisher)}
	release := b.withhold()
	n := b.traffic("before", 20, 4)
	b.progress(n, "polling")
	const quarantined = 8
	_, err = b.db.Exec(t.Context(), `
		UPDATE saga
		SET state = 'quarantined', worker = NULL, due_at = now() - interval '1 hour', deadline_at = now() - interval '1 minute', version = version + 1
		WHERE id IN (SELECT id FROM saga WHERE kind = 'order' ORDER BY id LIMIT 8)`)
	require.NoError(t, err)
	rows := b.text("SELECT string_agg(s::text, E'\n' ORDER BY id) FROM saga s WHERE state = 'quarantined'")
	require.Equal(t, quarantined, strings.Count(rows, "\n")+1)
	release()
	lines := strings.Count(b.log.String(), "\n")

	n += b.traffic("after", 20, 4)
	require.Eventually(t, func() bool {
		return b.tally("SELECT count(*) FROM saga WHERE state = 'completed'") == n-quarantined
	}, 2*time.Minute, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		return strings.Contains(b.fetch("http://"+w.TelemetryAddr()+"/metrics"), `esimflow_saga_unrecognized_sagas 8`)
	}, 60*time.Second, 100*time.Millisecond, "it is counted")
	require.Equal(t, rows, b.text("SELECT string_agg(s::text, E'\n' ORDER BY id) FROM saga s WHERE state = 'quarantined'"))
	require.Less(t, strings.Count(b.log.String(), "\n")-lines, 2000, "no storm")
	require.LessOrEqual(t, b.sim.SoldCount(), n)
	b.stop(workers...)
}

func (b *bench) text(sql string) (text string) {
	b.t.Helper()
	require.NoError(b.t, b.db.QueryRow(context.Background(), sql).Scan(&text))
	return text
}
