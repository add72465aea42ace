package deadletter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// start starts a replay that has to start.
func (b *bench) start(n NewReplay) uuid.UUID {
	b.t.Helper()
	job, err := b.Start(b.t.Context(), n)
	require.NoError(b.t, err)
	require.Equal(b.t, Running, job.State)
	return job.ID
}

func (b *bench) report(id uuid.UUID) ReplayReport {
	b.t.Helper()
	report, err := b.ReplayOf(b.t.Context(), id)
	require.NoError(b.t, err)
	return report
}

// replayer is one that is not run: its seconds are the test's to give.
func (b *bench) replayer(holder string) *Replayer {
	return NewReplayer(ReplayerConfig{Desk: b.Desk, Holder: holder, Second: time.Nanosecond, PurseAge: time.Nanosecond})
}

// finish gives a replay seconds until it is over.
func (b *bench) finish(id uuid.UUID) {
	b.t.Helper()
	r := b.replayer("finisher " + uuid.NewString())
	for range 200 {
		require.NoError(b.t, r.turn(b.t.Context()))
		if b.report(id).State != Running {
			require.NoError(b.t, r.lease.Resign(b.t.Context()))
			return
		}
	}
	b.t.Fatal("it does not end")
}

// refusedOrders makes n sagas that PressOne refused with code 34.
func (b *bench) refusedOrders(n int) (sagas []saga.Saga) {
	b.t.Helper()
	for i := range n {
		sagas = append(sagas, b.saga(fmt.Sprintf("order-%d", i),
			saga.Event{Name: saga.SubmitStarted}, saga.Event{Name: saga.Refused, Code: "34", Class: "rejected", Seen: "x"}))
	}
	return sagas
}

// once checks that every saga was replayed exactly once.
func (b *bench) once(sagas []saga.Saga) {
	b.t.Helper()
	for _, s := range sagas {
		entries, err := b.Store.Timeline(b.t.Context(), s.ID)
		require.NoError(b.t, err)
		n := 0
		for _, e := range entries {
			if e.Event == saga.Replayed {
				n++
				require.Equal(b.t, []string{"ann", "because"}, []string{e.Actor, e.Reason})
			}
		}
		require.Equal(b.t, 1, n, s.RequestID)
	}
}

var rejected = NewReplay{Filter: Filter{Code: "34"}, By: ann}

// A replay begins slowly: the first second releases one letter, the next five, then twenty,
// and no second more than its rate.
func TestReplayHasARamp(t *testing.T) {
	b := setup(t)
	sagas := b.refusedOrders(60)
	n := rejected
	n.Rate = 15
	job := b.start(n)
	r := b.replayer("a")
	var released []int
	for before := 0; ; {
		require.NoError(t, r.turn(t.Context()))
		report := b.report(job)
		released, before = append(released, report.Done-before), report.Done
		if report.State == Done {
			break
		}
	}
	require.Equal(t, []int{1, 5, 15, 15, 15, 9}, released)
	b.once(sagas)
	require.InDelta(t, 60, testutil.ToFloat64(b.Metrics.replays.WithLabelValues("done")), 0)
}

// What is slower than one a second is released one by one, and the first one at once.
func TestPace(t *testing.T) {
	t.Parallel()
	for rate, want := range map[float64][]int{
		0.5:  {1, 0, 1, 0, 1, 0},
		1:    {1, 1, 1, 1, 1, 1},
		2.5:  {1, 2, 3, 2, 3, 2},
		1000: {1, 5, 20, 80, 320, 1000},
	} {
		var p pace
		var got []int
		for range want {
			n := p.next(rate, ramp)
			p.used(n)
			got = append(got, n)
		}
		require.Equal(t, want, got, "at %g a second", rate)
	}
	var p pace
	for range 5 {
		require.Equal(t, 1, p.next(100, ramp), "seconds in which nothing was released do not count")
	}
}

// Two operators press at once: every letter is in one of the replays, and its saga moves
// once.
func TestReplayStartedTwiceAtOnce(t *testing.T) {
	b := setup(t)
	sagas := b.refusedOrders(40)
	var wg sync.WaitGroup
	jobs := make(chan uuid.UUID, 4)
	for range 4 {
		wg.Go(func() {
			job, err := b.Start(context.Background(), rejected)
			if err == nil {
				jobs <- job.ID
				return
			}
			if _, refused := Refusal(err); !refused {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(jobs)
	require.NotEmpty(t, jobs)
	released := 0
	for job := range jobs {
		b.finish(job)
		released += b.report(job).Done
	}
	require.Equal(t, 40, released)
	b.once(sagas)
	_, err := b.Start(t.Context(), rejected)
	require.ErrorIs(t, err, ErrNoneMatch, "none is open any more")
}

// A letter that waits in one replay is refused by the next, and by whoever looks first.
func TestReplayTellsWhatIsInAnother(t *testing.T) {
	b := setup(t)
	sagas := b.refusedOrders(2)
	first := b.start(NewReplay{Filter: Filter{IDs: []uuid.UUID{sagas[0].DeadLetter()}}, By: ann})
	second := b.report(b.start(rejected))
	require.Equal(t, []int{2, 1}, []int{second.Letters, second.Refused})
	require.Contains(t, second.Set[0].Why, first.String())
	p, err := b.Preview(t.Context(), rejected.Filter)
	require.NoError(t, err)
	require.Zero(t, p.Willing)
	_, err = b.Start(t.Context(), rejected)
	b.refused(err, "all 2 are refused")
}

// The set is what the operator has agreed to: when there are more by then, nothing starts.
func TestReplayOfWhatWasExpected(t *testing.T) {
	b := setup(t)
	b.refusedOrders(2)
	n := rejected
	n.Expect = 1
	_, err := b.Start(t.Context(), n)
	b.refused(err, "2 would be replayed by now, not 1")
	for _, rate := range []float64{-1, 1e-9, MostRate + 1} {
		n.Rate = rate
		_, err := b.Start(t.Context(), n)
		require.ErrorIs(t, err, ErrRate)
	}
	all, err := b.Replays(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, all)
}

// Whoever aborts a replay is obeyed at once: what had its turn goes on, and the rest can be
// replayed by another.
func TestReplayIsAborted(t *testing.T) {
	b := setup(t)
	sagas := b.refusedOrders(10)
	job := b.start(rejected)
	r := b.replayer("a")
	require.NoError(t, r.turn(t.Context()))
	require.NoError(t, r.turn(t.Context()))
	aborted, err := b.Abort(t.Context(), job, By{Actor: "joe", Reason: "too early"})
	require.NoError(t, err)
	require.Equal(t, Aborted, aborted.State)
	require.Equal(t, []int{6, 4, 0}, []int{aborted.Done, aborted.Skipped, aborted.Waiting()})
	require.Equal(t, "aborted by joe: too early", aborted.Note)
	require.NoError(t, r.turn(t.Context()))
	report := b.report(job)
	require.Equal(t, 6, report.Done)
	require.Equal(t, []Fate{Released, Skipped}, []Fate{report.Set[5].State, report.Set[6].State})

	_, err = b.Abort(t.Context(), job, ann)
	b.refused(err, "is aborted already")
	_, err = b.Abort(t.Context(), uuid.New(), ann)
	require.ErrorIs(t, err, ErrNoReplay)
	require.NoError(t, r.lease.Resign(t.Context()))
	b.finish(b.start(rejected))
	b.once(sagas)
}

// A worker is lost between the commit of a letter and hearing of it. Its successor finds
// what was done on record, and does only the rest.
func TestReplayIsTakenOver(t *testing.T) {
	b := setup(t)
	sagas := b.refusedOrders(8)
	job := b.start(rejected)
	dying := b.replayer("dying")
	require.NoError(t, dying.turn(t.Context()))
	letters, err := dying.due(t.Context(), job, canaries{}, 1)
	require.NoError(t, err)

	heir := b.replayer("heir")
	require.ErrorIs(t, heir.turn(t.Context()), errNotHolder, "while the lease runs, nobody else does anything")
	fate, err := dying.move(t.Context(), b.report(job).Replay, letters[0])
	require.NoError(t, err)
	require.Equal(t, Released, fate)
	require.NoError(t, dying.lease.Resign(t.Context())) // as if it had run out
	require.NoError(t, heir.turn(t.Context()))
	require.Equal(t, []any{3, "heir"}, []any{b.report(job).Done, b.report(job).Worker})

	// The one that was lost wakes up, and thinks it is its turn still.
	fate, err = dying.move(t.Context(), b.report(job).Replay, letters[0])
	require.NoError(t, err)
	require.NotEqual(t, Released, fate)
	require.NoError(t, heir.lease.Resign(t.Context()))
	b.finish(job)
	report := b.report(job)
	require.Equal(t, []int{8, 0}, []int{report.Done, report.Refused})
	b.once(sagas)
}

// Moving a saga and saying so is one commit: when one cannot be done, the other is not.
func TestReplayMovesAndSaysSoTogether(t *testing.T) {
	b := setup(t)
	s := b.refusedOrders(1)[0]
	e := saga.Event{Name: saga.Replayed, Actor: "ann", Reason: "because"}
	broken := errors.New("broken")
	_, err := b.actWith(t.Context(), s.ID, s.DeadLetter(), e, func(ctx context.Context, d saga.Decision) error {
		return b.Store.ApplyWith(ctx, d, func(pgx.Tx) error { return broken })
	})
	require.ErrorIs(t, err, broken)
	require.Equal(t, saga.DeadLettered, b.happen(s.ID).State)

	job := b.start(rejected)
	r := b.replayer("a")
	letters, err := r.due(t.Context(), job, canaries{}, 1)
	require.NoError(t, err)
	_, err = b.Replay(t.Context(), s.DeadLetter(), By{Actor: "joe", Reason: "faster"})
	require.NoError(t, err)
	fate, err := r.move(t.Context(), b.report(job).Replay, letters[0])
	require.NoError(t, err)
	require.Equal(t, Refused, fate)
	require.Contains(t, b.report(job).Set[0].Why, "it was replayed at")
	require.Contains(t, b.report(job).Set[0].Why, "by joe")
}

// Without a balance to go by, letters that lacked credit go one at a time, each when the
// one before is known to be paid for.
func TestReplayWithoutABalance(t *testing.T) {
	b := setup(t)
	b.shop.balance = pressone.Balance{}
	first, second := b.saga("first", poorStop...), b.saga("second", poorStop...)
	other := b.refusedOrders(1)[0]
	job := b.start(NewReplay{Filter: Filter{Kind: message.Order}, By: ann})
	r := b.replayer("a")
	for range 3 {
		require.NoError(t, r.turn(t.Context()))
	}
	report := b.report(job)
	require.Equal(t, []Fate{Released, Waiting, Released}, []Fate{report.Set[0].State, report.Set[1].State, report.Set[2].State})
	require.Contains(t, report.Note, "one at a time")
	require.Equal(t, saga.Pending, b.happen(other.ID).State)

	b.happen(first.ID, saga.Event{Name: saga.SubmitStarted},
		saga.Event{Name: saga.Submitted, Purchase: &saga.Purchase{Order: pressone.Order{ID: 1}}})
	require.NoError(t, r.turn(t.Context()))
	require.Equal(t, saga.Pending, b.happen(second.ID).State)
	require.Equal(t, Done, b.report(job).State)
}

// What costs more than is left waits for what is in flight, and is left as it is when
// nothing is; what costs less goes on.
func TestReplayIsBoundByTheBalance(t *testing.T) {
	b := setup(t)
	b.shop.balance.Amount = "20"
	sagas := []saga.Saga{b.saga("a", poorStop...), b.saga("b", poorStop...), b.saga("c", poorStop...)} // 9.50 each
	job := b.start(NewReplay{Filter: Filter{Code: "11"}, By: ann})
	r := b.replayer("a")
	for range 4 {
		require.NoError(t, r.turn(t.Context()))
	}
	report := b.report(job)
	require.Equal(t, []int{2, 1}, []int{report.Done, report.Waiting()}, "two are covered")
	require.Contains(t, report.Note, "waiting for what is in flight: it costs 9.50 USD, and 1.00 USD are left")

	for i, s := range sagas[:2] {
		b.happen(s.ID, saga.Event{Name: saga.SubmitStarted},
			saga.Event{Name: saga.Submitted, Purchase: &saga.Purchase{Order: pressone.Order{ID: int64(i + 1)}}})
	}
	b.shop.balance.Amount = "1"
	require.NoError(t, r.turn(t.Context()))
	report = b.report(job)
	require.Equal(t, []any{Done, 2, 1}, []any{report.State, report.Done, report.Skipped})
	require.Contains(t, report.Note, "the balance is too low")
	require.Equal(t, saga.DeadLettered, b.happen(sagas[2].ID).State)
}

// While a kind is paused, what would be submitted again waits where it is, and so does the ramp: released, all of it would be
// submitted at once when the kind is resumed. What was bought already is only polled, and goes on.
func TestReplayWaitsForWhatIsPaused(t *testing.T) {
	b := setup(t)
	gate := pressone.NewGate(b.DB, pressone.GateConfig{})
	b.Gate = gate
	sagas := b.refusedOrders(8)
	paid := b.saga("paid", saga.Event{Name: saga.SubmitStarted},
		saga.Event{Name: saga.Submitted, Purchase: &saga.Purchase{Order: pressone.Order{ID: 1}}},
		saga.Event{Name: saga.GaveUp, Code: saga.CodePollDeadline, Class: saga.ClassNotReady, Seen: "x"})
	orders := pressone.Target{Kind: message.Order}
	_, err := gate.Pause(t.Context(), orders, "joe", "strange prices")
	require.NoError(t, err)
	job := b.start(NewReplay{Filter: Filter{Kind: message.Order}, By: ann})
	r := b.replayer("a")
	for range 4 {
		require.NoError(t, r.turn(t.Context()))
	}
	report := b.report(job)
	require.Equal(t, []int{1, 8}, []int{report.Done, report.Waiting()})
	require.Equal(t, "waiting: order is paused", report.Note)
	require.Equal(t, saga.Polling, b.happen(paid.ID).State)

	require.NoError(t, gate.Resume(t.Context(), orders, "joe", "explained"))
	require.NoError(t, r.turn(t.Context()))
	require.Equal(t, 1+5, b.report(job).Done, "the ramp goes on")
	require.NoError(t, r.turn(t.Context()))
	require.Equal(t, Done, b.report(job).State)
	b.once(sagas)
}

// The metric has all its results from the start.
func TestReplayMetric(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	NewMetrics(reg)
	n, err := testutil.GatherAndCount(reg, "esimflow_replays_total")
	require.NoError(t, err)
	require.Equal(t, len(Fates())-1, n)
}
