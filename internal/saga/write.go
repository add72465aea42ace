package saga

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/outbox"
)

// writeSQL is a commit's whole work in one statement: the sagas that are still as their
// decisions expect them are moved, and what belongs to these, and only these, is written
// beside them. It returns which they were. If $65 is true, it passes by those that somebody has
// locked, and returns these too. If $66 is true, the messages that complete a saga are sealed.
const writeSQL = `
WITH d AS (
    SELECT *
    FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::bigint[], $6::uuid[], $7::timestamptz[], $8::timestamptz[],
                $9::int[], $10::int[], $11::int[], $12::int[], $13::interval[], $14::timestamptz[], $15::timestamptz[],
                $16::bigint[], $17::text[], $18::int[])
      AS d(id, was, held_by, state, version, worker, due_at, deadline_at,
           attempts, tries, failures, looks, look_delay, intent_at, intent_deadline,
           order_id, stopped_in, ends)
), free AS (
    SELECT id
    FROM saga
    WHERE $65::bool AND id = ANY($1)
    FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE saga
    SET state = d.state, version = d.version, worker = d.worker, due_at = d.due_at, deadline_at = d.deadline_at,
        attempts = d.attempts, tries = d.tries, failures = d.failures, looks = d.looks, look_delay = d.look_delay,
        intent_at = d.intent_at, intent_deadline = d.intent_deadline, order_id = d.order_id,
        stopped_in = d.stopped_in, ends = d.ends, updated_at = now()
    FROM d
    WHERE saga.id = d.id AND saga.version = d.was AND saga.worker IS NOT DISTINCT FROM d.held_by
      AND (NOT $65 OR saga.id IN (SELECT id FROM free))
    RETURNING saga.id
), history AS (
    INSERT INTO saga_history (saga_id, version, event, from_state, to_state, attempt, code, seen, due_at, actor, reason)
    SELECT h.*
    FROM unnest($19::uuid[], $20::bigint[], $21::text[], $22::text[], $23::text[], $24::int[], $25::text[], $26::text[],
                $27::timestamptz[], $28::text[], $29::text[])
      AS h(saga_id, version, event, from_state, to_state, attempt, code, seen, due_at, actor, reason)
    WHERE h.saga_id IN (SELECT id FROM moved)
), purchase AS (
    INSERT INTO saga_purchase (saga_id, data, sealed)
    SELECT p.*
    FROM unnest($30::uuid[], $31::json[], $67::bytea[]) AS p(saga_id, data, sealed)
    WHERE p.saga_id IN (SELECT id FROM moved)
    ON CONFLICT (saga_id) DO UPDATE SET data = excluded.data, sealed = excluded.sealed
), answer AS (
    INSERT INTO saga_answer (saga_id, attempt, status, body)
    SELECT a.*
    FROM unnest($32::uuid[], $33::int[], $34::int[], $35::bytea[]) AS a(saga_id, attempt, status, body)
    WHERE a.saga_id IN (SELECT id FROM moved)
), resolved AS (
    UPDATE dead_letter
    SET status = r.status, actor = r.actor, note = r.note, resolved_at = now()
    FROM unnest($36::uuid[], $37::text[], $38::text[], $39::text[]) AS r(saga_id, status, actor, note)
    WHERE dead_letter.saga_id = r.saga_id AND dead_letter.status = 'open' AND r.saga_id IN (SELECT id FROM moved)
), letter AS (
    INSERT INTO dead_letter (` + letterColumns + `)
    SELECT l.*
    FROM unnest($40::uuid[], $41::uuid[], $42::text[], $43::text[], $44::text[], $45::text[], $46::text[], $47::text[], $48::text[],
                $49::text[], $50::int[], $51::text[], $52::bool[], $53::text[], $54::bigint[], $55::json[], $56::bytea[])
      AS l(` + letterColumns + `)
    WHERE l.saga_id IN (SELECT id FROM moved)
    ON CONFLICT (id) DO NOTHING
), message AS (
    INSERT INTO outbox (` + outbox.Columns + `, next_at, sealed_next_at)
    SELECT m.op, m.subject, m.message_id, m.headers, m.body, m.saga_id, m.dead_letter_id,
           CASE WHEN NOT $66::bool OR m.saga_id IS NULL THEN now() END, CASE WHEN $66 AND m.saga_id IS NOT NULL THEN now() END
    FROM unnest($57::uuid[], $58::text[], $59::text[], $60::text[], $61::json[], $62::bytea[], $63::uuid[], $64::uuid[])
      WITH ORDINALITY AS m(owner, ` + outbox.Columns + `, n)
    WHERE m.owner IN (SELECT id FROM moved)
    ORDER BY m.n
)
SELECT id, true AS moved
FROM moved
UNION ALL
SELECT l.id, false
FROM unnest($1) AS l(id)
WHERE $65 AND l.id NOT IN (SELECT id FROM free)`

const letterColumns = `id, saga_id, kind, request_id, package_id, iccid, code, class, reason, state,
                         attempts, purchased, replayable, subject, sequence, headers, body`

// durableSQL makes this commit durable whatever the database's default: what follows it,
// a POST or an ack, cannot be taken back. And it keeps a transaction whose process is
// frozen half-way from holding its locks against everybody else. Plans are kept, and one
// made while a table was small must not scan it when it is large.
const durableSQL = `
SELECT set_config('synchronous_commit', 'on', true),
       set_config('lock_timeout', $1, true),
       set_config('idle_in_transaction_session_timeout', '10s', true),
       set_config('enable_seqscan', 'off', true)`

// How long a commit waits for a lock. Shared, it keeps others waiting too.
const (
	lockTimeout       = "5s"
	sharedLockTimeout = "200ms"
)

// Durable makes the commit of tx durable and bounds its locks, as Apply does its own.
func Durable(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, durableSQL, lockTimeout)
	return err
}

// written is what became of a commit's sagas: those in neither list had been moved before.
type written struct {
	moved, locked map[uuid.UUID]bool
}

// write commits decisions, each about another saga, in one round trip. What somebody has
// locked is waited for, or passed by.
func (st *Store) write(ctx context.Context, decisions []Decision, passBy bool) (written, error) {
	w := written{moved: map[uuid.UUID]bool{}, locked: map[uuid.UUID]bool{}}
	args, err := st.arguments(decisions, passBy)
	if err != nil {
		return w, err
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	var b pgx.Batch // one round trip is one transaction
	b.Queue(durableSQL, sharedLockTimeout)
	b.Queue(writeSQL, args...).Query(func(rows pgx.Rows) error {
		var id uuid.UUID
		var moved bool
		_, err := pgx.ForEachRow(rows, []any{&id, &moved}, func() error {
			if moved {
				w.moved[id] = true
			} else {
				w.locked[id] = true
			}
			return nil
		})
		return err
	})
	return w, st.db.SendBatch(ctx, &b).Close()
}

// arguments are the parameters of writeSQL.
func (st *Store) arguments(decisions []Decision, passBy bool) ([]any, error) {
	bought, sealed, err := st.purchases(decisions)
	stopped, letterErr := letters(decisions)
	sent, messageErr := st.messages(decisions)
	if err := errors.Join(err, letterErr, messageErr); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnwritable, err)
	}
	return slices.Concat(moves(decisions), history(decisions), bought, st.answers(decisions), resolutions(decisions), stopped, sent,
		[]any{passBy, st.keys.On(), sealed}), nil
}
