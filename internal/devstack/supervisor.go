package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// supervisorScript starts Postgres and stops it when told to, or when the pipe on its
// standard input closes because the other end is gone. It is the parent of Postgres, so
// `wait` is enough to know that Postgres and its sockets are gone.
//
// Arguments: the postgres binary, the data directory, the directory to remove afterwards,
// options for postgres. Input: one line, `<signal> <keep|remove>`; nothing at all means
// `QUIT remove`. Descriptor 3 stays open in Postgres alone, so that its end can be seen.
const supervisorScript = `
postgres=$1 data=$2 home=$3
shift 3
"$postgres" -D "$data" "$@" </dev/null >&2 &
pid=$!
exec 3>&-
read -r signal then || { signal=QUIT; then=remove; }
kill -s "$signal" "$pid" 2>/dev/null
wait "$pid"
[ "$then" = keep ] || rm -rf "$home"
`

// supervisor is a running shell with a running Postgres below it.
type supervisor struct {
	cmd    *exec.Cmd
	orders *os.File // the pipe whose end is the end of Postgres
	alive  *os.File // reads end-of-file when Postgres has ended
	log    *os.File
}

// supervise starts Postgres on data. What it logs goes to the file `log` in home and, if
// extra is not nil, there.
func supervise(b binaries, a account, data, home string, options []string, extra io.Writer) (_ *supervisor, err error) {
	ordersR, ordersW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	aliveR, aliveW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, ordersR.Close(), ordersW.Close())
	}
	log, err := os.OpenFile(filepath.Join(home, "log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errors.Join(err, ordersR.Close(), ordersW.Close(), aliveR.Close(), aliveW.Close())
	}

	args := append([]string{"-c", supervisorScript, "devstack-postgres", filepath.Join(b.dir, "postgres"), data, home}, options...)
	// Not CommandContext: what ends it is the pipe.
	cmd := exec.Command("/bin/sh", args...) //nolint:noctx // it must outlive the call, and ends with the pipe
	cmd.Dir = home
	cmd.Env = serverEnv
	cmd.Stdin = ordersR
	cmd.Stderr = log
	if extra != nil {
		cmd.Stderr = io.MultiWriter(log, extra)
	}
	cmd.ExtraFiles = []*os.File{aliveW}
	cmd.SysProcAttr = a.process()
	err = cmd.Start()
	err = errors.Join(err, ordersR.Close(), aliveW.Close())
	s := &supervisor{cmd: cmd, orders: ordersW, alive: aliveR, log: log}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("devstack: starting Postgres as user %s: %w", a.name, err), s.close())
	}
	return s, nil
}

// await calls probe until it succeeds, Postgres ends or ctx does.
func (s *supervisor) await(ctx context.Context, probe func(context.Context) error) error {
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("devstack: Postgres does not answer: %w", errors.Join(ctx.Err(), err))
		}
		// Wait a moment, unless Postgres ends before.
		if err := s.alive.SetReadDeadline(time.Now().Add(3 * time.Millisecond)); err != nil {
			return err
		}
		if _, err := s.alive.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("devstack: Postgres ended while starting:\n%s", s.tail())
		}
	}
}

// stop sends Postgres the signal (QUIT: at once, as in a crash; INT: orderly), waits for
// its end and, unless keep, removes its home.
func (s *supervisor) stop(signal string, keep bool) error {
	then := "remove"
	if keep {
		then = "keep"
	}
	_, err := fmt.Fprintf(s.orders, "%s %s\n", signal, then)
	err = errors.Join(err, s.orders.Close())
	// How Postgres ended is not an error of ours: its exit code after QUIT is 2.
	waitErr := s.cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](waitErr); ok {
		waitErr = nil
	}
	return errors.Join(err, waitErr, s.alive.Close(), s.log.Close())
}

func (s *supervisor) close() error {
	return errors.Join(s.orders.Close(), s.alive.Close(), s.log.Close())
}

// tail is the end of what Postgres has logged.
func (s *supervisor) tail() string {
	const most = 2000
	b, err := os.ReadFile(s.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-most):])
}
