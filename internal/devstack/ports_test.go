package devstack

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Two programs, and many tests in each, take ports at the same moment, and some of their servers are stopped for a while. No
// port is given to two of them, though nobody listens on it yet, or any more.
func TestNobodyIsGivenAPortOfAnother(t *testing.T) {
	t.Parallel()
	const each, together = 150, 10
	self, err := os.Executable()
	require.NoError(t, err)
	other := exec.CommandContext(t.Context(), self)
	other.Env = append(os.Environ(), portsVariable+"="+strconv.Itoa(each*together))
	other.Stderr = os.Stderr
	stay, err := other.StdinPipe()
	require.NoError(t, err)
	out, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	taken := map[int]bool{}
	lines := bufio.NewScanner(out)
	for len(taken) < each*together && lines.Scan() {
		port, err := strconv.Atoi(lines.Text())
		require.NoError(t, err)
		taken[port] = true
	}
	require.Len(t, taken, each*together)

	var mu sync.Mutex
	var all sync.WaitGroup
	var twice []int
	for range together {
		all.Go(func() {
			ports, err := FreePorts(each)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || len(ports) != each {
				t.Errorf("%d ports: %v", len(ports), err)
			}
			for _, port := range ports {
				if taken[port] {
					twice = append(twice, port)
				}
				taken[port] = true
			}
		})
	}
	all.Wait()
	require.Empty(t, twice)
	require.NoError(t, stay.Close())
	require.NoError(t, other.Wait())
}
