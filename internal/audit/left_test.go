package audit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Orders whose sagas may have left after RETENTION are not taken for orphans: the audit
// does not look at their days at all.
func TestSagasThatHaveLeft(t *testing.T) {
	b := setup(t)
	leave := func(before time.Time) {
		t.Helper()
		_, err := b.DB.Exec(t.Context(), "UPDATE retention SET removed_before = $1", before)
		require.NoError(t, err)
	}
	now, err := b.Store.Now(t.Context())
	require.NoError(t, err)
	b.at(day(now).Add(-10*oneDay + time.Hour))
	left := b.saga("left", bought...)
	b.at(time.Time{})
	_, err = b.DB.Exec(t.Context(), "DELETE FROM saga WHERE id = $1", left.ID)
	require.NoError(t, err)
	leave(now.Add(-9 * oneDay))

	_, err = b.Request(t.Context(), now.Add(-10*oneDay), time.Time{}, "ann")
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
	first := day(now).Add(-7 * oneDay)
	require.Contains(t, refused.Why, "the first day that can be audited is "+first.Format(time.DateOnly))
	_, err = b.Request(t.Context(), first.Add(-time.Second), time.Time{}, "ann")
	require.ErrorAs(t, err, &refused)
	run, err := b.Request(t.Context(), first, time.Time{}, "ann")
	require.NoError(t, err)
	require.Empty(t, b.finish(run).Findings)

	t.Run("nor does a run that waited for so long", func(t *testing.T) {
		run, err := b.Request(t.Context(), first, time.Time{}, "ann")
		require.NoError(t, err)
		leave(now.Add(-8 * oneDay))
		require.NoError(t, b.turn(t.Context()))
		r, err := b.Audit(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, "failed", r.State)
		require.Contains(t, r.Trouble, "have left after RETENTION")
	})
}
