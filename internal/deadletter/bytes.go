package deadletter

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/message"
	"esimflow/internal/outbox"
	"esimflow/internal/saga"
)

const resolveSQL = `
UPDATE dead_letter
SET status = $2, actor = $3, note = $4, resolved_at = now()
WHERE id = $1 AND status = 'open' AND saga_id IS NULL`

// Resubmit publishes the bytes of a letter without a saga as a new request: body, or, if
// that is nil, what arrived. The letter is resolved in the same commit. The new request
// has an id of its own, and none of the headers that NATS acts on.
func (d *Desk) Resubmit(ctx context.Context, id uuid.UUID, body []byte, by By) error {
	return d.republish(ctx, id, body, by, nil)
}

// republish is Resubmit, with more to do in its commit.
func (d *Desk) republish(ctx context.Context, id uuid.UUID, body []byte, by By, also func(pgx.Tx) error) error {
	l, err := d.Get(ctx, id)
	switch {
	case err != nil:
		return err
	case l.Status != "open":
		return &saga.RefusedError{Why: refusal(l, true)}
	case l.SagaID != nil:
		return &saga.RefusedError{Why: "it has a saga, which cannot be changed any more: replay it, or discard it and send another request"}
	case l.Class == saga.ClassExpired: // however it is edited: it may have been bought
		return &saga.RefusedError{Why: refusal(l, true)}
	}
	m := message.Message{
		Subject: message.RequestSubject(l.Kind), ID: l.ID.String() + ".replay",
		Header: message.SenderHeaders(l.Headers), Body: l.Body,
	}
	if body != nil {
		m.Body = body
	}
	if m.Size() > message.MaxRequestSize {
		return &saga.RefusedError{Why: "it is too large to be published again, with the id that a replay needs"}
	}
	return d.resolve(ctx, l, "replayed", by, also, outbox.Message{Message: m})
}

// resolve closes a letter without a saga. also, if there is one, is part of the commit.
func (d *Desk) resolve(ctx context.Context, l Letter, status string, by By, also func(pgx.Tx) error, more ...outbox.Message) error {
	err := pgx.BeginFunc(ctx, d.DB, func(tx pgx.Tx) error {
		if err := saga.Durable(ctx, tx); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, resolveSQL, l.ID, status, by.Actor, by.Reason)
		if err == nil && tag.RowsAffected() == 0 {
			return saga.ErrConflict
		}
		if err != nil {
			return err
		}
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		return outbox.Append(ctx, tx, append(more, outbox.Forget(l.ID))...)
	})
	if err != nil {
		return fmt.Errorf("deadletter: resolve: %w", err)
	}
	d.Log.InfoContext(ctx, "operator acted", "dead_letter_id", l.ID, "status", status, "actor", by.Actor, "reason", by.Reason)
	d.Published()
	return nil
}

// Discard closes an open letter, and its saga if it has one.
func (d *Desk) Discard(ctx context.Context, id uuid.UUID, by By) error {
	l, err := d.Get(ctx, id)
	if err != nil {
		return err
	}
	if l.Status != "open" {
		return &saga.RefusedError{Why: refusal(l, true)}
	}
	if l.SagaID == nil {
		return d.resolve(ctx, l, "discarded", by, nil)
	}
	_, err = d.DiscardSaga(ctx, *l.SagaID, l.ID, by)
	return err
}
