package retention

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"esimflow/internal/saga"
)

// What has ended leaves when nothing that was ever taken for it is younger than RETENTION;
// what is open stays, however old.
func TestWhatLeaves(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		row    row
		leaves bool
	}{
		{"completed long ago", row{accepted: 91}, true},
		{"discarded long ago", row{accepted: 91, state: saga.Discarded}, true},
		{"completed not long enough ago", row{accepted: 89}, false},
		{"accepted long ago, ended since", row{accepted: 200, ended: 89}, false},
		{"accepted and ended long ago, replayed in between", row{accepted: 200, ended: 91, ends: 3}, true},
		{"it had waited on the stream", row{accepted: 91, requested: 150}, true},
		{"JetStream's clock says that it is young", row{accepted: 91, requested: 89}, false},
		{"a duplicate came long ago", row{accepted: 150, repeated: 91}, true},
		{"a duplicate has come since", row{accepted: 150, repeated: 89}, false},
		{"pending", row{accepted: 400, state: saga.Pending}, false},
		{"unknown", row{accepted: 400, state: saga.Unknown}, false},
		{"polling", row{accepted: 400, state: saga.Polling}, false},
		{"notifying", row{accepted: 400, state: saga.Notifying}, false},
		{"dead-lettered", row{accepted: 400, state: saga.DeadLettered}, false},
	}
	b := setup(t)
	ids := make([]uuid.UUID, len(tests))
	leaving := 0
	for i, tt := range tests {
		ids[i] = b.saga(tt.row)
		if tt.leaves {
			leaving++
		}
	}
	require.EqualValues(t, leaving, b.sweepAll().Sagas)
	for i, tt := range tests {
		want := 1
		if tt.leaves {
			want = 0
		}
		require.Equal(t, want, b.count("SELECT count(*) FROM saga WHERE id = $1", ids[i]), tt.name)
		require.Equal(t, 2*want, b.count("SELECT count(*) FROM saga_history WHERE saga_id = $1", ids[i]), tt.name)
		for _, table := range []string{"saga_request", "saga_answer", "saga_purchase"} {
			require.Equal(t, want, b.count("SELECT count(*) FROM "+table+" WHERE saga_id = $1", ids[i]), "%s: %s", tt.name, table)
		}
	}
	require.Zero(t, b.sweepAll(), "once more: nothing is left to do")
	require.InDelta(t, leaving, testutil.ToFloat64(b.Metrics.what.WithLabelValues(whatSaga)), 0)
}

// A saga's dead letters leave with it; what an operator still has to see keeps it.
func TestLetters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	replayed := b.saga(row{accepted: 200, ended: 95, ends: 3})
	first, second := b.stop(replayed, 1, 150), b.stop(replayed, 2, 95)
	discarded := b.saga(row{accepted: 100, state: saga.Discarded})
	only := b.stop(discarded, 1, 95)
	contradictory := b.saga(row{accepted: 100, ends: 2}) // which cannot be
	open := b.stop(contradictory, 1, 0)
	awaited := b.saga(row{accepted: 100, ends: 2}) // NATS has been away since
	copied := b.stop(awaited, 1, 95)
	b.exec("INSERT INTO outbox (op, subject, message_id, dead_letter_id) VALUES ('forget', '', '', $1)", copied)
	alone, young, unresolved, awaitedAlone := uuid.New(), uuid.New(), uuid.New(), uuid.New()
	b.letter(alone, nil, 91)
	b.letter(young, nil, 89)
	b.letter(unresolved, nil, 0)
	b.letter(awaitedAlone, nil, 91)
	b.exec("INSERT INTO outbox (op, subject, message_id, dead_letter_id) VALUES ('publish', '', '', $1)", awaitedAlone)

	require.Equal(t, Removed{Sagas: 2, Letters: 4}, b.sweepAll())
	for _, id := range []uuid.UUID{first, second, only, alone} {
		require.False(t, b.has("dead_letter", id))
	}
	for _, id := range []uuid.UUID{open, copied, young, unresolved, awaitedAlone} {
		require.True(t, b.has("dead_letter", id))
	}
	require.True(t, b.has("saga", contradictory))
	require.True(t, b.has("saga", awaited))

	b.exec("DELETE FROM outbox")
	require.Equal(t, Removed{Sagas: 1, Letters: 2}, b.sweepAll())
}

// What the audit has found keeps its saga for as long as it is open, and its run for as
// long as it is kept itself.
func TestAudits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kept, free := b.saga(row{accepted: 100}), b.saga(row{accepted: 100})
	old, used, running, young := b.run("done", 91), b.run("failed", 91), b.run("running", 91), b.run("done", 89)
	b.finding(&kept, used, "open", 95)
	b.finding(&free, old, "dismissed", 95)
	b.finding(&free, young, "settled", 89)

	require.Equal(t, Removed{Sagas: 1, Findings: 1, Runs: 1}, b.sweepAll())
	require.True(t, b.has("saga", kept))
	require.False(t, b.has("audit_run", old))
	for _, run := range []uuid.UUID{used, running, young} {
		require.True(t, b.has("audit_run", run))
	}
	require.Equal(t, 2, b.count("SELECT count(*) FROM audit_finding"))
}

// A replay leaves with its letters when it is over for long enough, however many it had.
func TestReplays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	replay := func(state string, days, letters int) uuid.UUID {
		id := uuid.New()
		b.exec(`INSERT INTO replay (id, actor, reason, filter, rate, ramp, state, letters, created_at, finished_at)
			VALUES ($1, 'ann', 'x', '{}', 1, '{1}', $2, $4, now() - interval '91 days',
			        CASE WHEN $2 <> 'running' THEN now() - make_interval(days => $3) END)`, id, state, days, letters)
		b.exec(`INSERT INTO replay_letter (replay_id, position, letter_id, kind, request_id, package_id, code, class, purchased, state, at)
			SELECT $1, n, gen_random_uuid(), 'order', '', '', '11', 'x', 'no', 'done', now() FROM generate_series(1, $2::int) n`, id, letters)
		return id
	}
	old, aborted := replay("done", 91, 2*mostOthers+1), replay("aborted", 91, 1)
	young, running := replay("done", 89, 1), replay("running", 0, 1)
	require.Equal(t, Removed{Replays: 2}, b.sweepAll())
	for _, id := range []uuid.UUID{old, aborted} {
		require.False(t, b.has("replay", id))
	}
	for _, id := range []uuid.UUID{young, running} {
		require.True(t, b.has("replay", id))
	}
	require.Equal(t, 2, b.count("SELECT count(*) FROM replay_letter"))
}

// A commit removes no more than it should, and whoever comes next goes on where the last
// one was interrupted.
func TestBatches(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 25 {
		b.saga(row{accepted: 100})
		b.saga(row{accepted: 99, state: saga.DeadLettered})
	}
	before := b.now.Add(-keep)
	first, err := b.batch(t.Context(), before, saga.FirstID(before), 10)
	require.NoError(t, err)
	require.Equal(t, 10, first.read)
	require.EqualValues(t, 10, first.Sagas)
	require.Equal(t, 40, b.count("SELECT count(*) FROM saga"))

	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = b.Sweep(interrupted, before)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 40, b.count("SELECT count(*) FROM saga"))

	next := b.process(b.DB, "one")
	next.size = 7
	removed, err := next.Sweep(t.Context(), before)
	require.NoError(t, err)
	require.EqualValues(t, 15, removed.Sagas)
	require.Equal(t, 25, b.count("SELECT count(*) FROM saga WHERE state = 'dead_lettered'"))
}

// The walk goes on behind what had to stay, and comes back to it once a round.
func TestRounds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before := b.now.Add(-keep)
	stuck := b.saga(row{accepted: 150, state: saga.DeadLettered})
	b.saga(row{accepted: 100})
	b.saga(row{accepted: 90.01}) // the walk stays an hour behind
	require.NoError(t, b.sweep(t.Context(), before))
	require.Equal(t, 2, b.count("SELECT count(*) FROM saga"))

	b.exec("UPDATE saga SET state = 'discarded' WHERE id = $1", stuck)
	b.saga(row{accepted: 99})
	require.NoError(t, b.sweep(t.Context(), before))
	require.True(t, b.has("saga", stuck), "it is behind the cursor")
	require.Equal(t, 2, b.count("SELECT count(*) FROM saga"))

	b.began = time.Now().Add(-b.round)
	require.NoError(t, b.sweep(t.Context(), before))
	require.False(t, b.has("saga", stuck))
	require.NoError(t, b.sweep(t.Context(), before.Add(day)))
	require.Zero(t, b.count("SELECT count(*) FROM saga"))
}

// Two at once get in nobody's way, each other's least: together they remove each saga once.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 300 {
		b.saga(row{accepted: 100, ends: 2})
	}
	before := b.now.Add(-keep)
	var wg sync.WaitGroup
	removed, errs := make([]Removed, 2), make([]error, 2)
	for i := range 2 {
		s := b.process(b.DB, "one") // the same holder: the lease keeps neither away
		s.size = 20
		wg.Go(func() { removed[i], errs[i] = s.Sweep(t.Context(), before) })
	}
	wg.Wait()
	require.NoError(t, errs[0])
	require.NoError(t, errs[1])
	all := removed[0]
	all.add(removed[1])
	all.add(b.sweepAll()) // what each skipped because the other had it, and gave it back
	require.EqualValues(t, 300, all.Sagas)
	require.Zero(t, b.count("SELECT count(*) FROM saga"))
}

// Whatever somebody holds is left to them, and the others leave meanwhile.
func TestLockedOnesAreSkipped(t *testing.T) {
	t.Parallel()
	for _, lock := range []string{
		"SELECT FROM saga WHERE id = $1 FOR UPDATE",
		"UPDATE saga SET version = version + 1 WHERE id = $1",     // it is being moved
		"UPDATE saga_request SET sequence = 2 WHERE saga_id = $1", // a duplicate is being noted
	} {
		t.Run(lock, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			held, free := b.saga(row{accepted: 100}), b.saga(row{accepted: 100})
			tx, err := b.DB.Begin(t.Context())
			require.NoError(t, err)
			t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
			_, err = tx.Exec(t.Context(), lock, held)
			require.NoError(t, err)
			require.EqualValues(t, 1, b.sweepAll().Sagas)
			require.False(t, b.has("saga", free))
			require.True(t, b.has("saga", held))
			require.NoError(t, tx.Rollback(t.Context()))
			require.EqualValues(t, 1, b.sweepAll().Sagas)
		})
	}
}

// A duplicate that is noted while its saga is about to leave keeps it, or is told that it has
// left.
func TestADuplicateMeanwhile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var ids []uuid.UUID
	for range 200 {
		ids = append(ids, b.saga(row{accepted: 100}))
	}
	before := b.now.Add(-keep)
	b.size = fewestSagas
	noted := map[uuid.UUID]bool{}
	var wg sync.WaitGroup
	var err error
	wg.Go(func() {
		for _, id := range ids {
			tag, updateErr := b.DB.Exec(t.Context(), "UPDATE saga_request SET repeated_at = now() WHERE saga_id = $1", id)
			err = errors.Join(err, updateErr)
			noted[id] = tag.RowsAffected() == 1
		}
	})
	_, sweepErr := b.Sweep(t.Context(), before)
	wg.Wait()
	require.NoError(t, errors.Join(err, sweepErr))
	b.sweepAll()
	for _, id := range ids {
		require.Equal(t, noted[id], b.has("saga", id))
	}
}

// What is in the way of a commit makes it smaller, and is given up on for this turn.
func TestInTheWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var last uuid.UUID
	for range 30 {
		last = b.saga(row{accepted: 100})
	}
	tx, err := b.DB.Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	_, err = tx.Exec(t.Context(), "SELECT FROM saga_history WHERE saga_id = $1 FOR UPDATE", last)
	require.NoError(t, err)
	b.size = 20
	before := b.now.Add(-keep)
	_, err = b.Sweep(t.Context(), before)
	require.True(t, isTimeout(err), "%v", err)
	require.Equal(t, fewestSagas, b.size)
	require.True(t, b.has("saga", last))
	require.NoError(t, tx.Rollback(t.Context()))
	b.sweepAll()
	require.Zero(t, b.count("SELECT count(*) FROM saga"))
}

// What a turn announces is on record before the next turn acts on it, and no other process
// acts on what it has not announced itself.
func TestTurns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.saga(row{accepted: 100})
	announced := func() (at *time.Time) {
		require.NoError(t, b.DB.QueryRow(t.Context(), "SELECT removed_before FROM retention").Scan(&at))
		return at
	}
	require.Nil(t, announced())
	require.NoError(t, b.turn(t.Context()))
	first := announced()
	require.WithinDuration(t, b.now.Add(-keep), *first, 5*time.Minute)
	require.True(t, b.has("saga", id))

	other := b.process(b.DB, "two")
	require.NoError(t, other.turn(t.Context()))
	require.NoError(t, other.turn(t.Context()))
	require.True(t, b.has("saga", id), "the other one does not hold the lease")
	require.Equal(t, first, announced())

	require.NoError(t, b.lease.Resign(t.Context()))
	require.NoError(t, other.turn(t.Context()))
	require.True(t, b.has("saga", id), "it has to announce first")
	require.NoError(t, other.turn(t.Context()))
	require.False(t, b.has("saga", id))

	require.NoError(t, other.Announce(t.Context(), b.now.Add(-200*day)))
	require.True(t, announced().After(*first), "what was announced is not taken back")
}

// Nothing leaves by a clock that is ahead of the machine's, nor by a machine's that is.
func TestTheHorizonIsWhatBothClocksSay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, skew := range []time.Duration{-400 * day, 0, 400 * day} {
		var before time.Time
		require.NoError(t, b.DB.QueryRow(t.Context(), horizonSQL, time.Now().Add(skew), keep).Scan(&before))
		require.WithinDuration(t, b.now.Add(min(skew, 0)-keep), before, 5*time.Minute)
	}
}

// Run does all that by itself, and gives the lease up when it ends.
func TestRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.saga(row{accepted: 100})
	b.every, b.parting = time.Millisecond, time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { b.Run(ctx) })
	require.Eventually(t, func() bool { return !b.has("saga", id) }, 60*time.Second, 10*time.Millisecond)
	cancel()
	wg.Wait()
	require.Zero(t, b.count("SELECT count(*) FROM lease"))
}
