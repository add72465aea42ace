package outbox

import (
	"context"
	"errors"
	"maps"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"esimflow/internal/message"
)

// batch is what came of a batch of rows.
type batch struct {
	acked     []Acked // published, in the order of ackedRows
	ackedRows []int64
	forgotten []row
	failed    []int64
}

// publish sends all messages and waits for all acknowledgements. Sending one again is
// harmless: its Nats-Msg-Id never changes.
func (r *Relay) publish(ctx context.Context, js jetstream.JetStream, rows []row, b *batch) {
	futures := make([]jetstream.PubAckFuture, len(rows))
	for i, m := range rows {
		if m.Forget {
			continue
		}
		msg := &nats.Msg{Subject: m.Subject, Header: maps.Clone(m.Header), Data: m.Body}
		f, err := js.PublishMsgAsync(msg, jetstream.WithMsgID(m.ID))
		if err != nil {
			r.fail(ctx, b, m, err)
			continue
		}
		futures[i] = f
	}
	timeout, cancel := context.WithTimeout(ctx, ackWait)
	defer cancel()
	for i, f := range futures {
		if f == nil {
			continue
		}
		ack, err := await(timeout, f)
		if err != nil {
			r.fail(ctx, b, rows[i], err)
			continue
		}
		result := "ok"
		if ack.Duplicate {
			result = "duplicate"
		}
		r.metrics.published.WithLabelValues(result).Inc()
		b.acked = append(b.acked, Acked{Message: rows[i].Message, Sequence: ack.Sequence})
		b.ackedRows = append(b.ackedRows, rows[i].id)
	}
}

// await waits for an acknowledgement. One that is there is taken even when time is up.
func await(ctx context.Context, f jetstream.PubAckFuture) (*jetstream.PubAck, error) {
	select {
	case ack := <-f.Ok():
		return ack, nil
	case err := <-f.Err():
		return nil, err
	default:
	}
	select {
	case ack := <-f.Ok():
		return ack, nil
	case err := <-f.Err():
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// forget deletes the copies of letters that are resolved. One that is not on the stream
// any more is forgotten already; one that never got there is not published any more.
func (r *Relay) forget(ctx context.Context, js jetstream.JetStream, rows []row, b *batch) error {
	var letters []uuid.UUID
	for _, m := range rows {
		if m.Forget {
			letters = append(letters, m.DeadLetter)
		}
	}
	if len(letters) == 0 {
		return nil
	}
	at, err := r.Hooks.Copies(ctx, letters)
	if err != nil {
		return err
	}
	for _, a := range b.acked { // copied a moment ago, and not noted yet
		if a.DeadLetter != uuid.Nil {
			at[a.DeadLetter] = a.Sequence
		}
	}
	stream, err := js.Stream(ctx, message.DeadLettersStream)
	for _, m := range rows {
		if !m.Forget {
			continue
		}
		rowErr := err
		if seq := at[m.DeadLetter]; rowErr == nil && seq != 0 {
			deletion, cancel := context.WithTimeout(ctx, ackWait)
			rowErr = stream.DeleteMsg(deletion, seq)
			cancel()
		}
		if rowErr != nil && !isGone(rowErr) {
			r.fail(ctx, b, m, rowErr)
			continue
		}
		b.forgotten = append(b.forgotten, m)
	}
	return nil
}

// isGone reports that there is no message with that sequence: errors that JetStream has
// for it are ErrMsgNotFound and, from a deletion, "no message found" (10043, 10057).
func isGone(err error) bool {
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return true
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == 10043 || api.ErrorCode == 10057)
}

func (r *Relay) fail(ctx context.Context, b *batch, m row, err error) {
	r.metrics.published.WithLabelValues("error").Inc()
	r.Log.WarnContext(ctx, "message was not accepted", "subject", m.Subject, "message_id", m.ID, "err", err)
	b.failed = append(b.failed, m.id)
}
