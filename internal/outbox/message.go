package outbox

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/nats-io/nats.go"

	"esimflow/internal/message"
	"esimflow/internal/seal"
)

// Message is a row of the outbox.
type Message struct {
	message.Message
	Saga       uuid.UUID // the saga that its acknowledgement completes, or Nil
	DeadLetter uuid.UUID // the letter that it copies or forgets, or Nil
	Forget     bool      // delete the letter's copy from its stream, instead of publishing
}

// Columns are the outbox's, as Rows has them.
const Columns = `op, subject, message_id, headers, body, saga_id, dead_letter_id`

// BodyColumn is where results wait, which install eSIMs: sealed wherever there is a key.
const BodyColumn = "outbox|body"

// Rows is messages column by column: the parameters of a statement that appends them. With
// Keys, the messages that complete a saga are sealed: the statement must say so of their rows,
// with next_at null and sealed_next_at instead, which keeps publishers from them that cannot
// decrypt.
type Rows struct {
	Keys *seal.Keys

	ops, subjects, ids pgtype.FlatArray[string]
	headers            pgtype.FlatArray[json.RawMessage]
	bodies             pgtype.FlatArray[[]byte]
	sagas, letters     pgtype.FlatArray[pgtype.UUID]
}

// Add adds a message.
func (r *Rows) Add(m Message) error {
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
	if r.Keys.On() && m.Saga != uuid.Nil {
		body = r.Keys.Seal(body, seal.Place(BodyColumn, m.Saga))
	}
	text, err := json.Marshal(header)
	if err != nil {
		return fmt.Errorf("outbox: headers: %w", err)
	}
	r.ops, r.subjects, r.ids = append(r.ops, op), append(r.subjects, m.Subject), append(r.ids, m.ID)
	r.headers, r.bodies = append(r.headers, text), append(r.bodies, body)
	r.sagas, r.letters = append(r.sagas, nullable(m.Saga)), append(r.letters, nullable(m.DeadLetter))
	return nil
}

// Arguments are the columns, in the order of Columns.
func (r *Rows) Arguments() []any {
	return []any{r.ops, r.subjects, r.ids, r.headers, r.bodies, r.sagas, r.letters}
}

// In their order, which is that in which they are published.
const appendSQL = `
INSERT INTO outbox (` + Columns + `)
SELECT ` + Columns + `
FROM unnest($1::text[], $2::text[], $3::text[], $4::json[], $5::bytea[], $6::uuid[], $7::uuid[])
  WITH ORDINALITY AS m(` + Columns + `, n)
ORDER BY n`

// Append stores messages in the caller's transaction; they are published after, and only
// if, that transaction commits.
func Append(ctx context.Context, tx pgx.Tx, messages ...Message) error {
	var rows Rows
	for _, m := range messages {
		if err := rows.Add(m); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, appendSQL, rows.Arguments()...); err != nil {
		return fmt.Errorf("outbox: append: %w", err)
	}
	return nil
}

func nullable(id uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: id != uuid.Nil} }

// Forget deletes the copy of a dead letter from its stream, now that it is resolved.
func Forget(deadLetter uuid.UUID) Message {
	return Message{DeadLetter: deadLetter, Forget: true, Message: message.Message{ID: deadLetter.String() + ".forget"}}
}
