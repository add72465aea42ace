package pressone

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout tells the kernel to give up on bytes that the peer has not acknowledged for d. Without it a kernel goes on
// resending for a quarter of an hour, and would deliver a submission long after its deadline to a PressOne that has come
// back, while the process that could have closed the connection is stopped.
func setUserTimeout(conn *net.TCPConn, d time.Duration) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		ms := int(max(d, time.Second) / time.Millisecond)
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms)
	})
	if err != nil {
		return err
	}
	return set
}
