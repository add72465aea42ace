package outbox

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"esimflow/internal/message"
)

// Message is a row of the outbox.
type Message struct {
	message.Message
	Saga       uuid.UUID // the saga that its acknowledgement completes, or Nil
	DeadLetter uuid.UUID // the letter that it copies or forgets, or Nil
	Forget     bool      // delete the letter's copy from its stream, instead of publishing
}

const appendSQL = `
INSERT INTO outbox (op, subject, message_id, headers, body, saga_id, dead_letter_id)
VALUES ($1, $2, $3, $4, $5, $6, $7)`

// Queue adds the insertion of the messages to b, which the caller sends in its
// transaction: they are published after, and only if, that transaction commits.
func Queue(b *pgx.Batch, messages ...Message) {
	for _, m := range messages {
		op := "publish"
		if m.Forget {
			op = "forget"
		}
		header, body := m.Header, m.Body
		if header == nil {
			header = nats.Header{}
		}
		if body == nil {
			body = []byte{}
		}
		b.Queue(appendSQL, op, m.Subject, m.ID, header, body, nullable(m.Saga), nullable(m.DeadLetter))
	}
}

// Append stores messages in the caller's transaction; they are published after, and only
// if, that transaction commits.
func Append(ctx context.Context, tx pgx.Tx, messages ...Message) error {
	var b pgx.Batch
	Queue(&b, messages...)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("outbox: append: %w", err)
	}
	return nil
}

func nullable(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

// Forget deletes the copy of a dead letter from its stream, now that it is resolved.
func Forget(deadLetter uuid.UUID) Message {
	return Message{DeadLetter: deadLetter, Forget: true, Message: message.Message{ID: deadLetter.String() + ".forget"}}
}
