package outbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// From the beginning first; then behind what was seen some seconds ago, so that what was
// numbered before and committed after is seen as well; and now and then from the beginning,
// the less often the longer that takes.
func TestPlace(t *testing.T) {
	t.Parallel()
	var p place
	start := time.Now()
	after := func(d time.Duration) time.Time { return start.Add(d) }
	seen := func(ids ...int64) (rows []row) {
		for _, id := range ids {
			rows = append(rows, row{id: id})
		}
		return rows
	}
	require.Zero(t, p.from(start))
	p.looked(start, time.Second, 0, seen(1, 2, 3))
	require.Zero(t, p.from(after(time.Second)), "too soon to leave anything behind")
	p.looked(after(1900*time.Millisecond), time.Second, 0, seen(8, 9))
	require.Equal(t, int64(3), p.from(after(2100*time.Millisecond)))
	p.looked(after(2100*time.Millisecond), 0, 3, nil)
	require.Equal(t, int64(9), p.from(after(5*time.Second)))
	require.Zero(t, p.from(after(25*time.Second)), "a look of a second is worth 20 seconds")
	p.looked(after(25*time.Second), time.Millisecond, 0, seen(5))
	require.Equal(t, int64(9), p.from(after(25*time.Second+time.Millisecond)), "a late one takes nothing back")
	require.Zero(t, p.from(after(26100*time.Millisecond)))

	p.looked(after(30*time.Second), 0, 0, make([]row, batchSize))
	require.Zero(t, p.from(after(30*time.Second)), "there is more where that came from")
}
