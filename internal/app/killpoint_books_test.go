package app_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/config"
	"esimflow/internal/message"
	"esimflow/internal/saga"
)

// later lets two minutes pass for everything on record that waits: leases run out, what was
// sent has settled, what was put off is due.
func (b *bench) later() {
	b.t.Helper()
	for _, sql := range []string{
		fmt.Sprintf(`UPDATE worker SET expires_at = expires_at - interval '2 minutes' WHERE host !~ '-%d$'`, os.Getpid()),
		`UPDATE lease SET expires_at = expires_at - interval '2 minutes'`,
		`UPDATE saga SET due_at = due_at - interval '2 minutes', intent_at = intent_at - interval '2 minutes',
		                 intent_deadline = intent_deadline - interval '2 minutes'`,
		`UPDATE outbox SET next_at = next_at - interval '2 minutes'`,
		`UPDATE provider_token SET refreshing_until = refreshing_until - interval '2 minutes'`,
		`UPDATE provider_gate SET closed_until = closed_until - interval '2 minutes'`,
	} {
		_, err := b.db.Exec(context.Background(), sql)
		require.NoError(b.t, err)
	}
}

// patientWorker starts a worker as b.worker does, for a machine that has other things to do.
func (b *bench) patientWorker() *app.Worker {
	b.t.Helper()
	// Nobody is to wait for its lease: a saga that it takes over is looked for when the
	// lease of whoever was lost must have run out, which it takes to be as long as its own.
	cfg := b.config(config.Worker)
	cfg.LeaseTTL = min(cfg.LeaseTTL, 10*time.Second)
	w, err := app.NewWorker(b.t.Context(), cfg, b.logger())
	require.NoError(b.t, err)
	b.run(w.Run)
	require.Eventually(b.t, func() bool { return w.Ready() == nil }, unhurried, 10*time.Millisecond, "worker is not ready")
	return w
}

// redeliverSoon has JetStream deliver again soon what was not acknowledged.
func (b *bench) redeliverSoon() {
	b.t.Helper()
	for _, c := range message.Consumers() {
		c.AckWait = time.Second
		_, err := b.js.UpdateConsumer(b.t.Context(), message.RequestsStream, c)
		require.NoError(b.t, err)
	}
}

// books says in a line what is on record: where the saga is, and what was sold.
func (b *bench) books() string {
	b.t.Helper()
	var state string
	var isHeld bool
	var answers, letters, outbox int
	err := b.db.QueryRow(context.Background(), `
		SELECT COALESCE((SELECT state FROM saga), 'no saga'), COALESCE((SELECT worker IS NOT NULL FROM saga), false),
		       (SELECT count(*) FROM saga_answer), (SELECT count(*) FROM dead_letter WHERE status = 'open'),
		       (SELECT count(*) FROM outbox)`).Scan(&state, &isHeld, &answers, &letters, &outbox)
	require.NoError(b.t, err)
	parts := []string{state}
	if isHeld {
		parts[0] += " and held"
	}
	add := func(n int, one, more string) {
		switch {
		case n == 1:
			parts = append(parts, "1 "+one)
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", n, more))
		}
	}
	add(answers, "answer kept", "answers kept")
	add(letters, "open letter", "open letters")
	add(outbox, "message in the outbox", "messages in the outbox")
	return strings.Join(append(parts, fmt.Sprintf("PressOne has sold %d", b.sim.SoldCount())), ", ")
}

// ended waits for that many results.
func (b *bench) ended(n int) {
	b.t.Helper()
	b.endedWithin(n, unhurried)
}

func (b *bench) endedWithin(n int, d time.Duration) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return b.streamed(message.EventsStream) >= uint64(n) }, d, 10*time.Millisecond, "%d results", n)
	require.Eventually(b.t, func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'notifying'") == 0 },
		unhurried, 10*time.Millisecond, "the result is out and not announced")
}

// streamed is how many messages a stream holds.
func (b *bench) streamed(stream string) uint64 {
	s, err := b.js.Stream(context.Background(), stream)
	if err != nil {
		return 0
	}
	return s.CachedInfo().State.Msgs
}

// allQuiet holds at the end of every journey: each end was announced once, nothing waits to
// be sent or acknowledged, nobody holds anything, and nothing was bought twice.
func (b *bench) allQuiet() {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return b.count("SELECT count(*) FROM outbox") == 0 }, unhurried, 10*time.Millisecond, "outbox")
	require.Eventually(b.t, func() bool {
		return b.count("SELECT count(*) FROM saga WHERE worker IS NOT NULL OR state NOT IN ('completed', 'dead_lettered', 'discarded')") == 0
	}, unhurried, 10*time.Millisecond, "sagas")
	require.Eventually(b.t, func() bool { return b.acknowledged(message.Order) && b.acknowledged(message.Topup) },
		unhurried, 10*time.Millisecond, "requests that are not acknowledged")
	var ids []string
	for _, e := range b.events() {
		ids = append(ids, e.ID)
	}
	require.Len(b.t, ids, b.count("SELECT COALESCE(sum(ends), 0)::int FROM saga"), "one result for each end: %v", ids)
	require.Len(b.t, slices.Compact(slices.Sorted(slices.Values(ids))), len(ids), "each once: %v", ids)
	require.Len(b.t, b.messages(message.DeadLettersStream), b.count("SELECT count(*) FROM dead_letter WHERE status = 'open'"))
	require.Empty(b.t, b.sim.Ledger().Doubles())
	b.wentByTheTable()
}

// wentByTheTable holds if every saga has moved by the table, from where it was, and is where
// its history ends.
func (b *bench) wentByTheTable() {
	b.t.Helper()
	table := map[saga.Rule]bool{}
	for _, r := range saga.Rules() {
		r.Note = ""
		table[r] = true
	}
	rows, err := b.db.Query(context.Background(), `
		SELECT s.id::text AS saga, s.state, h.event, COALESCE(h.from_state, '') AS was, h.to_state AS now
		FROM saga_history h
		JOIN saga s ON s.id = h.saga_id
		ORDER BY s.id, h.version`)
	require.NoError(b.t, err)
	type entry struct {
		Saga     string
		State    saga.State
		Event    saga.EventName
		Was, Now saga.State
	}
	history, err := pgx.CollectRows(rows, pgx.RowToStructByName[entry])
	require.NoError(b.t, err)
	for i, e := range history {
		require.True(b.t, table[saga.Rule{From: e.Was, On: e.Event, To: e.Now}], "%+v", e)
		if last := i+1 == len(history) || history[i+1].Saga != e.Saga; last {
			require.Equal(b.t, e.State, e.Now, "%+v", e)
		} else {
			require.Equal(b.t, e.Now, history[i+1].Was, "%+v", history[i+1])
		}
	}
}

// acknowledged reports whether JetStream has got an answer to every request.
func (b *bench) acknowledged(k message.Kind) bool {
	var info *jetstream.ConsumerInfo
	c, err := b.js.Consumer(context.Background(), message.RequestsStream, message.Consumer(k))
	if err == nil {
		info, err = c.Info(context.Background())
	}
	return err == nil && info.NumAckPending == 0 && info.NumPending == 0
}
