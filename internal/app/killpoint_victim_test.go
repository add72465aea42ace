package app_test

import (
	"fmt"
	"maps"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
)

// victim is a process that is going to be killed.
type victim struct {
	*wires
	b       *bench
	process *exec.Cmd
	held    []byte // the call that did not reach PressOne
	log     *lockedBuffer
}

// victim starts a process that is stopped at a moment of a step.
func (b *bench) victim(p app.Program, stop step, when moment, slow *pause) *victim {
	b.t.Helper()
	v := &victim{wires: newWires(b.t, stop, when), b: b, log: &lockedBuffer{}}
	v.slow = slow
	env, log := b.env, b.log
	defer func() { b.env, b.log = env, log }()
	b.env, b.log = maps.Clone(env), v.log
	b.env["DATABASE_URL"] = v.postgres(env["DATABASE_URL"])
	b.env["NATS_URL"] = v.nats(env["NATS_URL"])
	b.env["PRESSONE_BASE_URL"] = v.pressone(env["PRESSONE_BASE_URL"], &v.held)
	v.process = b.process(p)
	return v
}

// api waits for the address of the victim's API.
func (v *victim) api() string {
	v.b.t.Helper()
	var found []string
	require.Eventually(v.b.t, func() bool {
		found = regexp.MustCompile(`"?worker started"?.* api=(\S+)`).FindStringSubmatch(v.log.String())
		return found != nil
	}, unhurried, 10*time.Millisecond, "the victim does not start")
	return found[1]
}

// overtaken has the victim lose its lease while PressOne's answer is on its way, and others
// take its saga over, each killed after its step. Then the answer arrives.
func (v *victim) overtaken(others []killPoint) {
	b := v.b
	b.t.Helper()
	select {
	case <-v.slow.begun:
	case <-time.After(unhurried):
		require.Fail(b.t, "the victim does not submit", "%s", v.log)
	}
	for _, other := range others {
		b.later()
		b.victim(app.WorkerProgram, other.at(b), after, nil).die()
	}
	close(v.slow.letGo)
}

// die kills the process once it has reached its moment, and waits until nothing of it is
// left, in Postgres neither.
func (v *victim) die() {
	b := v.b
	b.t.Helper()
	select {
	case <-v.reached:
	case <-time.After(unhurried):
		require.Fail(b.t, "the victim does not get there", "%s\nbooks: %s", v.log, b.books())
	}
	require.NoError(b.t, v.process.Process.Kill())
	_ = v.process.Wait()
	v.bury()
	_, _ = b.log.Write([]byte(v.log.String()))
	b.gone(v.process.Process.Pid)
}

// gone waits until Postgres has noticed that a process is no more.
func (b *bench) gone(pid int) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		return b.count(fmt.Sprintf(`SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name ~ '-%d(-|$)'`, pid)) == 0
	}, unhurried, 5*time.Millisecond, "its sessions go on")
}

// delivered lets PressOne have, late, the call that the victim had sent.
func (v *victim) delivered() {
	v.b.t.Helper()
	base := strings.TrimPrefix(v.b.env["PRESSONE_BASE_URL"], "http://")
	host, _, _ := strings.Cut(base, "/")
	server, err := net.Dial("tcp", host)
	require.NoError(v.b.t, err)
	defer server.Close()
	sold := v.b.sim.SoldCount() + 1
	_, err = server.Write(v.held)
	require.NoError(v.b.t, err)
	require.Eventually(v.b.t, func() bool { return v.b.sim.SoldCount() == sold }, unhurried, time.Millisecond)
}
