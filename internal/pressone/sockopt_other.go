//go:build !linux

package pressone

import (
	"net"
	"time"
)

// setUserTimeout does nothing where there is no TCP_USER_TIMEOUT: there, a stopped process may have bytes delivered late, and
// only the look-up before every repeat protects.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }
