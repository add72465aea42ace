package devstack

import (
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"time"
)

// Nobody is given a port of this range without asking for it: it is below what systems hand
// out to those who connect somewhere, so a server that is stopped finds its port free when it
// is started again, however many try to reach it meanwhile.
const quietPortsFrom, quietPortsTo = 10_000, 32_000

// FreePorts are n different TCP ports on 127.0.0.1 that nobody listens on. It is for servers
// that must know their port before they start or keep it while they are stopped.
func FreePorts(n int) ([]int, error) {
	var ports []int
	for range 100 * n {
		port := quietPortsFrom + rand.IntN(quietPortsTo-quietPortsFrom)
		if !slices.Contains(ports, port) && checkFree(port) == nil {
			if ports = append(ports, port); len(ports) == n {
				return ports, nil
			}
		}
	}
	return nil, errors.New("devstack: there are no free ports")
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
const portPatience = 3 * time.Second

// AwaitPort waits a moment for a TCP port on 127.0.0.1 to be free, and fails if it is not.
func AwaitPort(port int) error {
	for began := time.Now(); ; <-time.After(10 * time.Millisecond) {
		err := checkFree(port)
		if err == nil || time.Since(began) > portPatience {
			return err
		}
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
