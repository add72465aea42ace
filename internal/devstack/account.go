package devstack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that Postgres runs as.
type account struct {
	name     string
	uid, gid uint32
	switched bool // it is not the user of this process
}

// serverAccount is the user of this process, or, since Postgres refuses root, another one
// when that user is root.
func serverAccount() (account, error) {
	if uid := os.Geteuid(); uid != 0 {
		return account{name: strconv.Itoa(uid), uid: uint32(uid), gid: uint32(os.Getegid())}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return account{name: name, uid: uint32(uid), gid: uint32(gid), switched: true}, nil
		}
	}
	return account{}, errors.New("devstack: Postgres refuses to run as root, and there is no user " +
		"`postgres` or `nobody` to run it as: create one, or run as another user")
}

// process makes a command run as the account, in a session of its own so that a Ctrl-C in
// the terminal reaches the process that decides, and not the server directly.
func (a account) process() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if a.switched {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	return attr
}

// own gives path to the account.
func (a account) own(path string) error {
	if !a.switched {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// makePrivateDir makes a directory below parent that belongs to the account and that
// nobody else can enter.
func (a account) makePrivateDir(parent, pattern string) (string, error) {
	dir, err := os.MkdirTemp(parent, pattern) // mode 0700
	if err != nil {
		return "", err
	}
	if err := a.own(dir); err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	return dir, nil
}

// checkReach says which directory on the way to dir the account cannot enter.
func (a account) checkReach(dir string) error {
	if !a.switched {
		return nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for d := dir; ; d = filepath.Dir(d) {
		ok, err := a.may(d, 0o1)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("devstack: user %s, as whom Postgres runs for root, cannot enter %s: "+
				"choose a directory that everybody can reach, or run as another user", a.name, d)
		}
		if d == filepath.Dir(d) {
			return nil
		}
	}
}

// may reports whether the account has the permission bits on path (4 read, 2 write, 1
// execute or enter).
func (a account) may(path string, bits fs.FileMode) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	mode := info.Mode().Perm()
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return false, fmt.Errorf("devstack: the owner of %s is unknown", path)
	case st.Uid == a.uid:
		mode >>= 6
	case st.Gid == a.gid:
		mode >>= 3
	}
	return mode&bits == bits, nil
}

// maxSocketDir keeps `<dir>/run-1234567890/.s.PGSQL.5432` below the 104 bytes that the
// strictest system allows for a socket's path.
const maxSocketDir = 70

// scratch is a directory for temporary files that the account can enter and write to.
func (a account) scratch() (string, error) {
	for _, dir := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if len(dir) > maxSocketDir || a.checkReach(dir) != nil {
			continue
		}
		if !a.switched {
			return dir, nil
		}
		if ok, err := a.may(dir, 0o3); err == nil && ok {
			return dir, nil
		}
	}
	return "", fmt.Errorf("devstack: no temporary directory that user %s can write to: set TMPDIR to one", a.name)
}
