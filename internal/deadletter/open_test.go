package deadletter

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// Open letters are counted by code and class, and read a page at a time, each one once.
func TestOpenLetters(t *testing.T) {
	b := setup(t)
	for i := range 5 {
		b.saga(fmt.Sprintf("poor-%d", i), poorStop...)
	}
	gone := b.saga("gone", poorStop...)
	_, err := b.DiscardSaga(t.Context(), gone.ID, gone.DeadLetter(), ann)
	require.NoError(t, err)
	b.saga("unknown", unknownStop...)
	b.saga("recycled", recycledStop...)

	groups, err := b.Groups(t.Context(), Filter{})
	require.NoError(t, err)
	require.Len(t, groups, 3)
	require.Equal(t, "11", groups[0].Code)
	require.Equal(t, []int{5, 5, 0, 0, 0, 5}, []int{
		groups[0].Count, groups[0].Orders, groups[0].Topups, groups[0].Bought, groups[0].Unknown, groups[0].Replayable,
	})
	require.False(t, groups[0].LastSeen.Before(groups[0].FirstSeen))
	require.Equal(t, "73", groups[1].Code)
	require.Zero(t, groups[1].Replayable)
	require.Equal(t, 1, groups[2].Unknown)
	n, err := b.Open(t.Context())
	require.NoError(t, err)
	require.Equal(t, 7, n)

	read := func(f Filter, status string) int {
		seen := map[uuid.UUID]bool{}
		var after *Cursor
		for {
			page, err := b.Page(t.Context(), f, status, after, 2)
			require.NoError(t, err)
			for _, l := range page {
				require.False(t, seen[l.ID])
				seen[l.ID] = true
				after = &Cursor{l.CreatedAt, l.ID}
			}
			if len(page) < 2 {
				return len(seen)
			}
		}
	}
	require.Equal(t, 5, read(Filter{Code: "11"}, "open"))
	require.Equal(t, 6, read(Filter{Class: "insufficient_credit"}, ""))
	require.Equal(t, 1, read(Filter{}, "discarded"))
	require.Equal(t, 1, read(Filter{IDs: []uuid.UUID{gone.DeadLetter()}}, ""))
	require.Zero(t, read(Filter{Older: time.Hour}, ""), "what is listed is what a replay would take")
	few, err := b.Groups(t.Context(), Filter{Class: "recycled"})
	require.NoError(t, err)
	require.Len(t, few, 1)
	require.Zero(t, read(Filter{ICCID: "8934000000000008728"}, ""))
}
