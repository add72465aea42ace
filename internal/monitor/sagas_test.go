package monitor

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/saga"
)

// The age of a saga in a state is that of its stage, held or not: since it was accepted, sent,
// bought, committed. What is due is what nobody holds.
func TestCensus(t *testing.T) {
	t.Parallel()
	db, err := pgxpool.New(t.Context(), devstack.Postgres(t))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	_, err = db.Exec(t.Context(), `
		INSERT INTO saga (id, kind, request_id, state, worker, due_at, deadline_at, intent_at, intent_deadline, order_id,
		                  reference, fingerprint, package_id, quantity, iccid, requested_at, updated_at)
		SELECT gen_random_uuid(), kind, 'q' || n, state, CASE WHEN held THEN gen_random_uuid() END, now() + due, now() + deadline, now() + sent, now(), n,
		       'r' || n, 'f', 'p', 1, CASE kind WHEN 'topup' THEN '89' || n END, now(), now()
		FROM (VALUES
		    (1, 'order', 'pending',    false, interval '-2 min', interval '23 h',  NULL::interval),
		    (2, 'order', 'pending',    false, interval '1 min',  interval '22 h',  NULL),
		    (3, 'topup', 'pending',    true,  NULL,              interval '24 h',  NULL),
		    (4, 'order', 'submitting', true,  NULL,              interval '24 h',  interval '-10 s'),
		    (5, 'order', 'unknown',    false, interval '-1 min', interval '20 h',  interval '-20 min'),
		    (6, 'topup', 'unknown',    true,  NULL,              interval '20 h',  interval '-30 min'),
		    (7, 'order', 'polling',    true,  NULL,              interval '70 min', interval '-1 h'),
		    (8, 'order', 'completed',  false, NULL,              interval '-9 h',  interval '-1 h')
		) v(n, kind, state, held, due, deadline, sent)`)
	require.NoError(t, err)
	_, err = db.Exec(t.Context(), `
		INSERT INTO outbox (op, subject, message_id, saga_id, created_at)
		VALUES ('publish', 'esim.event.topup.completed', 'a', gen_random_uuid(), now() - interval '4 min'),
		       ('publish', 'esim.dlq.order.11', 'b', NULL, now() - interval '9 min')`)
	require.NoError(t, err)
	limits := map[saga.State]time.Duration{saga.Pending: 24 * time.Hour, saga.Polling: 75 * time.Minute}
	got, err := (&sagaReader{db: db, limits: limits}).count(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[saga.State]map[message.Kind]float64{
		saga.Pending: {message.Order: 2, message.Topup: 1}, saga.Submitting: {message.Order: 1},
		saga.Unknown: {message.Order: 1, message.Topup: 1}, saga.Polling: {message.Order: 1}, saga.Notifying: {message.Topup: 1},
	}, got.counts)
	for s, want := range map[saga.State]time.Duration{
		saga.Pending: 2 * time.Hour, saga.Submitting: 10 * time.Second, saga.Unknown: 30 * time.Minute,
		saga.Polling: 5 * time.Minute, saga.Notifying: 4 * time.Minute,
	} {
		require.InDelta(t, want.Seconds(), got.oldest[s], 60, s)
	}
	require.InDelta(t, 2, got.due, 0)
	require.InDelta(t, 120, got.dueFor, 60)
}
