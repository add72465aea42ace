package pressone

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Postgres's clock was set back by a day while a lane was closed. The lane does not stay
// closed for that day; what an operator has paused does.
func TestGateAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	db := database(t)
	g := NewGate(db, GateConfig{})
	for lane, reason := range map[Lane]string{LaneWrite: reasonLimited, LaneRead: "paused"} {
		_, err := db.Exec(t.Context(), "UPDATE provider_gate SET closed_until = now() + interval '23 hours', reason = $2 WHERE lane = $1", lane, reason)
		require.NoError(t, err)
	}
	require.NoError(t, g.Refresh(t.Context()))
	require.LessOrEqual(t, g.ClosedFor(LaneWrite), closureMax)
	require.Positive(t, g.ClosedFor(LaneWrite))
	require.Greater(t, g.ClosedFor(LaneRead), 22*time.Hour)
}

// Postgres's clock was set back by a day just after a worker had died that was fetching a
// token. Its lease on that seems to run for the day, and is taken over all the same.
func TestTokenAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	db := database(t)
	_, err := db.Exec(t.Context(), "UPDATE provider_token SET refreshing_by = 'dead', refreshing_until = now() + interval '1 day'")
	require.NoError(t, err)
	var n atomic.Int32
	got, err := sharedToken(t, db, counted(&n)).Token(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, got.Version)
}
