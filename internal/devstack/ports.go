package devstack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Nobody is given a port of this range without asking for it: it is below what systems hand
// out to those who connect somewhere, so a server that is stopped finds its port free when it
// is started again, however many try to reach it meanwhile.
const quietPortsFrom, quietPortsTo = 10_000, 32_000

// FreePorts are n different TCP ports on 127.0.0.1 that nobody listens on, and that nobody else
// who asks here is given while this process runs, be it in another one. It is for servers that
// must know their port before they start or keep it while they are stopped.
func FreePorts(n int) ([]int, error) {
	var ports []int
	for range 100 * n {
		port := quietPortsFrom + rand.IntN(quietPortsTo-quietPortsFrom)
		if reserve(port) && checkFree(port) == nil {
			if ports = append(ports, port); len(ports) == n {
				return ports, nil
			}
		}
	}
	return nil, errors.New("devstack: there are no free ports")
}

// reserved are the ports that this process was given. Other processes see it by a lock on a
// byte of the file for each, which ends with the process.
var reserved struct {
	sync.Mutex
	ports [quietPortsTo]bool
	file  *os.File // never closed: that would unlock them all
}

// reserve reports whether the port was nobody's, and is this process's from now on. Where files
// cannot be locked, other processes are not asked.
func reserve(port int) bool {
	reserved.Lock()
	defer reserved.Unlock()
	if reserved.ports[port] {
		return false
	}
	if reserved.file == nil {
		path := fmt.Sprintf("/tmp/esimflow-ports-%d.lock", os.Geteuid())                      // whatever TMPDIR each of them has
		reserved.file, _ = os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600) // nil cannot be locked
	}
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: int64(port), Len: 1}
	err := syscall.FcntlFlock(reserved.file.Fd(), syscall.F_SETLK, &lock)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		return false
	}
	reserved.ports[port] = true
	return true
}

// FreePort is one of FreePorts.
func FreePort() (int, error) {
	ports, err := FreePorts(1)
	if err != nil {
		return 0, err
	}
	return ports[0], nil
}

// portPatience is for a port that was given up a moment ago: a process that was being started
// just then holds a copy of what listened, until it runs a program of its own.
// It is counted in tries, for a machine that stands still gives nobody the time to let go.
const portPatience, portPause = 300, 10 * time.Millisecond

// AwaitPort waits a moment for a TCP port on 127.0.0.1 to be free, and fails if it is not.
func AwaitPort(port int) error {
	for try := 1; ; try++ {
		err := checkFree(port)
		if err == nil || try == portPatience {
			return err
		}
		<-time.After(portPause)
	}
}

// checkFree fails if somebody listens on the port.
func checkFree(port int) error {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return err
	}
	return l.Close()
}
