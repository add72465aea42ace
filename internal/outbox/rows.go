package outbox

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
)

// row is a message with its place in the outbox.
type row struct {
	Message
	id int64
}

// In the order they were appended, so that a copy is published before it is forgotten;
// failed ones wait for their turn and hold up nobody.
const dueSQL = `
SELECT id, op = 'forget', subject, message_id, headers, body, saga_id, dead_letter_id
FROM outbox
WHERE next_at <= now()
ORDER BY id
LIMIT $1`

func (r *Relay) due(ctx context.Context) ([]row, error) {
	rows, err := r.DB.Query(ctx, dueSQL, batchSize)
	if err != nil {
		return nil, fmt.Errorf("outbox: due: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(from pgx.CollectableRow) (row, error) {
		var m row
		var header nats.Header
		var saga, letter *uuid.UUID
		err := from.Scan(&m.id, &m.Forget, &m.Subject, &m.ID, &header, &m.Body, &saga, &letter)
		m.Header = header
		if saga != nil {
			m.Saga = *saga
		}
		if letter != nil {
			m.DeadLetter = *letter
		}
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("outbox: due: %w", err)
	}
	return all, nil
}

const deleteSQL = `
DELETE FROM outbox
WHERE id = ANY($1)`

// A letter that was resolved before its copy got out needs no copy.
const cancelCopySQL = `
DELETE FROM outbox
WHERE op = 'publish' AND dead_letter_id = ANY($1)`

const postponeSQL = `
UPDATE outbox
SET failures = failures + 1, next_at = now() + LEAST(interval '100 milliseconds' * power(2, LEAST(failures, 10)), interval '5 seconds')
WHERE id = ANY($1)`

// settle records what came of a batch, in one commit.
func (r *Relay) settle(ctx context.Context, b *batch) error {
	committed := func() {}
	done := b.ackedRows
	var letters []uuid.UUID
	for _, m := range b.forgotten {
		done = append(done, m.id)
		letters = append(letters, m.DeadLetter)
	}
	err := pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) (err error) {
		if len(b.acked) > 0 {
			if committed, err = r.Hooks.Published(ctx, tx, b.acked); err != nil {
				return err
			}
		}
		var q pgx.Batch
		q.Queue(deleteSQL, done)
		if len(letters) > 0 {
			q.Queue(cancelCopySQL, letters)
		}
		if len(b.failed) > 0 {
			q.Queue(postponeSQL, b.failed)
		}
		return tx.SendBatch(ctx, &q).Close()
	})
	if err != nil {
		return fmt.Errorf("outbox: settle: %w", err)
	}
	committed()
	return nil
}
