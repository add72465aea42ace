package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal is a terminal of 80 columns, and what is shown on it until it is closed.
func terminal(t *testing.T) (tty *os.File, shown func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	fd := int(master.Fd())
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	tty, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: 80, Row: 24}))
	text := make(chan string, 1)
	go func() {
		var all strings.Builder
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			all.Write(buf[:n])
			if err != nil { // a terminal that nobody holds reports an error, not an end
				text <- all.String()
				return
			}
		}
	}()
	t.Cleanup(func() { _ = tty.Close(); _ = master.Close() })
	return tty, func() string {
		require.NoError(t, tty.Close())
		return <-text
	}
}

// A bar is one line of a terminal, as wide as that is, which is gone when it is done;
// whatever is not a terminal gets nothing of it.
func TestBar(t *testing.T) {
	t.Parallel()
	tty, shown := terminal(t)
	b := newBar(tty)
	b.draw(0, 4, "none of 4")
	b.drawn = time.Time{}
	b.draw(2, 4, strings.Repeat("evil\x1b[31m\n", 20))
	b.draw(4, 4, "4 of 4")
	b.done()
	text := shown()
	require.Contains(t, text, "["+strings.Repeat("·", 30)+"] none of 4")
	require.Contains(t, text, "["+strings.Repeat("█", 15)+strings.Repeat("·", 15)+"] ")
	require.Contains(t, text, "["+strings.Repeat("█", 30)+"] 4 of 4")
	require.NotContains(t, text, "\n")
	require.NotContains(t, text, "\x1b[31m")
	require.True(t, strings.HasSuffix(text, "\r\x1b[2K"), "%q", text)
	for line := range strings.SplitSeq(text, "\r\x1b[2K") {
		require.Less(t, len([]rune(line)), 80)
	}

	var pipe logBuffer
	b = newBar(&pipe)
	b.draw(1, 4, "1 of 4")
	b.done()
	require.Empty(t, pipe.String())
}
