package audit

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"esimflow/internal/pressone"
	"esimflow/internal/pressonesim"
)

// An audit that is interrupted, here by PressOne, says why it waits, and goes on where it
// was: days that were read are not counted again.
func TestAnAuditGoesOnWhereItWas(t *testing.T) {
	b := setup(t)
	now := time.Now()
	for back := 2; back >= 0; back-- {
		b.at(now.Add(-time.Duration(back) * 24 * time.Hour))
		b.saga(uuid.NewString(), bought...)
		b.buy("by hand")
	}
	b.at(now)
	run, err := b.Request(t.Context(), time.Time{}, time.Time{}, "ann")
	require.NoError(t, err)
	same, err := b.Request(t.Context(), time.Time{}, time.Time{}, "ann")
	require.NoError(t, err)
	require.Equal(t, run.ID, same.ID, "pressing twice gives one audit")
	same, err = b.Request(t.Context(), time.Time{}, time.Time{}, "bob")
	require.NoError(t, err)
	require.Equal(t, run.ID, same.ID, "whoever it is that presses")

	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.OrderList, Action: pressonesim.Status, Status: 500, Skip: 2})
	require.Error(t, b.turn(t.Context()))
	r, err := b.Audit(t.Context(), run.ID)
	require.NoError(t, err)
	require.Equal(t, "running", r.State)
	require.Contains(t, r.Trouble, "500")
	require.EqualValues(t, 2, r.Orders, "the first day was read")
	b.sim.ClearFaults()
	r = b.finish(run)
	require.Empty(t, r.Trouble)
	require.EqualValues(t, 6, r.Orders)
	require.EqualValues(t, 3, r.Paired)
	require.Len(t, r.Findings, 3)
}

// An audit that gets nowhere for a day, because PressOne cannot list a day of long ago, is given up, so that it does not keep the
// next ones from beginning.
func TestAnAuditThatGetsNowhereIsGivenUp(t *testing.T) {
	b := setup(t)
	run, err := b.Request(t.Context(), time.Now().Add(-300*oneDay), time.Now().Add(-300*oneDay), "ann")
	require.NoError(t, err)
	b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.OrderList, Action: pressonesim.Status, Status: 500, Skip: 2})
	require.Error(t, b.turn(t.Context()))
	_, err = b.DB.Exec(t.Context(), "UPDATE audit_run SET updated_at = now() - interval '23 hours'")
	require.NoError(t, err)
	require.Error(t, b.turn(t.Context()))
	r, err := b.Audit(t.Context(), run.ID)
	require.NoError(t, err)
	require.Equal(t, "running", r.State)
	_, err = b.DB.Exec(t.Context(), "UPDATE audit_run SET updated_at = now() - interval '25 hours'")
	require.NoError(t, err)
	require.Error(t, b.turn(t.Context()))
	r, err = b.Audit(t.Context(), run.ID)
	require.NoError(t, err)
	require.Equal(t, "failed", r.State)
	require.Contains(t, r.Trouble, "it gets nowhere: ")
	require.Contains(t, r.Trouble, "500")
	b.sim.ClearFaults()
	require.Empty(t, b.audit().Findings)
}

// While the read lane is closed nothing is asked of PressOne.
func TestAnAuditWaitsForTheLane(t *testing.T) {
	b := setup(t)
	_, err := b.Gate.Observe(t.Context(), pressone.LaneRead, &pressone.Error{Limited: true, RetryAfter: time.Minute})
	require.NoError(t, err)
	_, err = b.Request(t.Context(), time.Time{}, time.Time{}, "ann")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, b.turn(ctx), context.DeadlineExceeded)
	require.Zero(t, b.sim.Requests(pressonesim.OrderList))
}

// One worker audits; when it is gone, another does. A run whose cursor somebody else has
// moved is left to them.
func TestOneWorkerAudits(t *testing.T) {
	b := setup(t)
	other := b.auditor(b.DB, "two")
	require.NoError(t, b.hold(t.Context()))
	require.ErrorIs(t, other.turn(t.Context()), errNotOurs)
	require.NoError(t, b.lease.Resign(t.Context()))
	require.NoError(t, other.turn(t.Context()))

	run, err := b.Request(t.Context(), time.Time{}, time.Time{}, "ann")
	require.NoError(t, err)
	stale := run
	require.NoError(t, b.advance(t.Context(), &run, counts{orders: 1}))
	require.ErrorIs(t, b.advance(t.Context(), &stale, counts{orders: 1}), errNotOurs)
}

// Workers audit by themselves, an interval after the last time.
func TestAuditsComeByThemselves(t *testing.T) {
	b := setup(t)
	b.Interval = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	await := func(n int) {
		t.Helper()
		require.Eventually(t, func() bool {
			b.wake <- struct{}{}
			all, err := b.Runs(t.Context(), 10)
			require.NoError(t, err)
			return len(all) >= n && all[len(all)-n].State == "done"
		}, 60*time.Second, 20*time.Millisecond)
	}
	await(1)
	await(2)
	cancel()
	<-done
	all, err := b.Runs(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, all[0].RequestedBy)
}

func TestRequestsAreChecked(t *testing.T) {
	b := setup(t)
	now := time.Now()
	for _, days := range [][2]time.Time{
		{now, now.Add(-48 * time.Hour)},
		{now, now.Add(96 * time.Hour)},
		{now.Add(-500 * 24 * time.Hour), now},
	} {
		_, err := b.Request(t.Context(), days[0], days[1], "ann")
		var refused *RefusedError
		require.ErrorAs(t, err, &refused)
	}
	_, err := b.Audit(t.Context(), uuid.New())
	require.ErrorIs(t, err, ErrNotFound)
}
