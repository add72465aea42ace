package outbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
)

// row is a message with its place in the outbox.
type row struct {
	Message
	id     int64
	sealed bool
}

// In the order they were appended, so that a copy is published before it is forgotten. Failed
// ones wait for their turn, and get the room that others leave: however many there are, they
// hold up nobody. A batch ends with the message that takes its bytes to $3. None waits for
// longer than a few seconds: one that seems to is from before Postgres's clock was set back.
// Those without next_at are sealed.
const dueSQL = `
WITH fresh AS (
    SELECT *
    FROM outbox
    WHERE id > $1 AND failures = 0 AND ` + isDue + `
    ORDER BY id
    LIMIT $2
), failed AS (
    SELECT *
    FROM outbox
    WHERE id > $1 AND failures > 0 AND ` + isDue + `
    ORDER BY id
    LIMIT $2 - (SELECT count(*) FROM fresh)
)
SELECT id, op = 'forget', subject, message_id, headers, body, saga_id, dead_letter_id, next_at IS NULL
FROM (
    SELECT *, sum(octet_length(body)) OVER (ORDER BY failures > 0, id) - octet_length(body) AS before
    FROM (SELECT * FROM fresh UNION ALL SELECT * FROM failed) due
) sized
WHERE before < $3
ORDER BY id`

const isDue = `(COALESCE(next_at, sealed_next_at) <= now() OR COALESCE(next_at, sealed_next_at) > now() + interval '1 minute')`

// Letters whose copy has not been seen to be on the stream.
const copiesSQL = `
SELECT dead_letter_id
FROM outbox
WHERE op = 'publish' AND dead_letter_id = ANY($1)`

// awaiting tells which letters' copies are still to be published. They may be there all
// the same, with their ack lost.
func (r *Relay) awaiting(ctx context.Context, letters []uuid.UUID) (map[uuid.UUID]bool, error) {
	rows, err := r.DB.Query(ctx, copiesSQL, letters)
	if err != nil {
		return nil, fmt.Errorf("outbox: copies: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("outbox: copies: %w", err)
	}
	awaiting := map[uuid.UUID]bool{}
	for _, id := range ids {
		awaiting[id] = true
	}
	return awaiting, nil
}

// full reports whether there may be more where these came from.
func full(rows []row) bool {
	bytes := 0
	for _, m := range rows {
		bytes += len(m.Body)
	}
	return len(rows) == batchSize || bytes >= batchBytes
}

// due reads the next batch: most of the time from where the last ones ended, now and then
// from the beginning.
func (r *Relay) due(ctx context.Context) ([]row, error) {
	start := time.Now()
	from := r.place.from(start)
	rows, err := r.read(ctx, from)
	if err == nil {
		r.place.looked(start, time.Since(start), from, rows)
	}
	return rows, err
}

func (r *Relay) read(ctx context.Context, from int64) ([]row, error) {
	rows, err := r.DB.Query(ctx, dueSQL, from, batchSize, batchBytes)
	if err != nil {
		return nil, fmt.Errorf("outbox: due: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(from pgx.CollectableRow) (row, error) {
		var m row
		var header nats.Header
		var saga, letter *uuid.UUID
		err := from.Scan(&m.id, &m.Forget, &m.Subject, &m.ID, &header, &m.Body, &saga, &letter, &m.sealed)
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

// A publisher that settles at the same time, because it was frozen, is not waited for long.
// Plans are kept, and one made while a table was small must not scan it when it is large.
const boundedSQL = `
SELECT set_config('lock_timeout', '5s', true),
       set_config('enable_seqscan', 'off', true)`

const settleTimeout = 15 * time.Second

const deleteSQL = `
DELETE FROM outbox
WHERE id = ANY($1)`

const postponeSQL = `
UPDATE outbox
SET failures = failures + 1,
    next_at = CASE WHEN next_at IS NOT NULL THEN later.at END,
    sealed_next_at = CASE WHEN next_at IS NULL THEN later.at END
FROM (
    SELECT id AS row, now() + LEAST(interval '100 milliseconds' * power(2, LEAST(failures, 10)), interval '5 seconds') AS at
    FROM outbox
    WHERE id = ANY($1)
) later
WHERE id = later.row`

// settle records what came of a batch, in one commit and one round trip.
func (r *Relay) settle(ctx context.Context, b *batch) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	var q pgx.Batch
	q.Queue(boundedSQL)
	committed := func() {}
	if len(b.acked) > 0 {
		committed = r.Hooks.Published(&q, b.acked)
	}
	q.Queue(deleteSQL, slices.Concat(b.ackedRows, b.forgotten))
	if len(b.failed) > 0 {
		q.Queue(postponeSQL, b.failed)
	}
	if err := r.DB.SendBatch(ctx, &q).Close(); err != nil {
		return fmt.Errorf("outbox: settle: %w", err)
	}
	committed()
	return nil
}
