package devstack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// superuser is the name of the role that initdb makes, and as which everybody connects.
const superuser = "postgres"

var initdbArgs = []string{
	"--username=" + superuser,
	"--auth=trust", // the socket's directory is the guard
	"--encoding=UTF8",
	"--locale=C",
	"--no-sync",
}

// serverEnv is the whole environment of initdb, postgres and their supervisor: no PG…
// variable and no language of the caller's reaches them.
var serverEnv = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}

// cacheDir is where initdb'ed clusters and downloaded binaries are kept between runs. It
// belongs to this user, and the account can enter it.
func cacheDir(a account) (string, error) {
	if !a.switched {
		if dir, err := os.UserCacheDir(); err == nil {
			dir = filepath.Join(dir, "esimflow", "devstack")
			if os.MkdirAll(dir, 0o700) == nil {
				return dir, nil
			}
		}
	}
	base, err := a.scratch()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, fmt.Sprintf("esimflow-devstack-%d", os.Geteuid()))
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("devstack: %w", err)
	}
	// The name can be guessed and the directory above is everybody's: it counts only if
	// it is ours and nobody else can write to it.
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("devstack: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("devstack: %s is not a directory of this user's alone: remove it", dir)
	}
	return dir, nil
}

// cachedCluster returns a data directory fresh from initdb, made on first use for this
// version of Postgres and this account. It is to be copied, never started.
func cachedCluster(ctx context.Context, cache string, b binaries, a account) (_ string, err error) {
	sum := sha256.Sum256([]byte(b.dir + "\n" + strings.Join(initdbArgs, " ")))
	name := fmt.Sprintf("cluster-%s-%d-%s", b.version, a.uid, hex.EncodeToString(sum[:4]))
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}

	// Packages are tested in parallel; one of them runs initdb and the others wait.
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("devstack: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }() // which also unlocks
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("devstack: locking %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}

	temp, err := a.makePrivateDir(cache, name+".tmp-")
	if err != nil {
		return "", fmt.Errorf("devstack: %w", err)
	}
	if err := initdb(ctx, b, a, append(initdbArgs, "--pgdata="+temp)); err != nil {
		return "", errors.Join(err, os.RemoveAll(temp))
	}
	if err := os.Rename(temp, dir); err != nil {
		return "", errors.Join(fmt.Errorf("devstack: %w", err), os.RemoveAll(temp))
	}
	return dir, nil
}

func initdb(ctx context.Context, b binaries, a account, args []string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(b.dir, "initdb"), args...)
	cmd.Dir = "/"
	cmd.Env = serverEnv
	cmd.SysProcAttr = a.process()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("devstack: initdb as user %s: %w\n%s", a.name, err, out)
	}
	return nil
}

// copyCluster copies a data directory to dst, which it creates, as the account's own.
func copyCluster(src, dst string, a account) error {
	var files errgroup.Group
	files.SetLimit(4)
	err := filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		target := filepath.Join(dst, rel)
		if d.IsDir() {
			if err := os.Mkdir(target, 0o700); err != nil {
				return err
			}
			return a.own(target)
		}
		files.Go(func() error { return copyFile(path, target, a) })
		return nil
	})
	if err := errors.Join(err, files.Wait()); err != nil {
		return fmt.Errorf("devstack: copying %s: %w", src, err)
	}
	return nil
}

func copyFile(src, dst string, a account) (err error) {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return a.own(dst)
}
