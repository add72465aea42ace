package outbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"esimflow/internal/message"
	"esimflow/internal/seal"
)

// batch is what came of a batch of rows.
type batch struct {
	acked     []Acked // published, in the order of ackedRows
	ackedRows []int64
	forgotten []int64
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
		body, err := r.open(m)
		if err != nil {
			r.fail(ctx, b, m, err)
			continue
		}
		msg := &nats.Msg{Subject: m.Subject, Header: maps.Clone(m.Header), Data: body}
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

// open returns the bytes to publish. What cannot be decrypted is not published: it waits for a
// publisher that has the key.
func (r *Relay) open(m row) ([]byte, error) {
	if !m.sealed {
		return m.Body, nil
	}
	body, err := r.Keys.Open(m.Body, seal.Place(BodyColumn, m.Saga))
	if err != nil {
		return nil, fmt.Errorf("outbox: sealed message: %w", err)
	}
	return body, nil
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

// forget deletes the copies of letters that are resolved. A copy that is still to be
// published is waited for: it may be on the stream already, with its ack lost, and
// publishing it again tells where.
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
	awaiting, err := r.awaiting(ctx, letters)
	if err != nil {
		return err
	}
	for _, a := range b.acked { // copied a moment ago, and not noted yet
		at[a.DeadLetter] = a.Sequence
	}
	stream, streamErr := js.Stream(ctx, message.DeadLettersStream)
	for _, m := range rows {
		seq := at[m.DeadLetter]
		switch {
		case !m.Forget:
			continue
		case seq == 0 && awaiting[m.DeadLetter]:
			b.failed = append(b.failed, m.id)
			continue
		case seq == 0: // there is no copy
		case streamErr != nil:
			r.fail(ctx, b, m, streamErr)
			continue
		default:
			if err := deleteCopy(ctx, stream, seq, m.DeadLetter); err != nil {
				r.fail(ctx, b, m, err)
				if errors.Is(err, context.DeadlineExceeded) {
					streamErr = err // nobody answers: the others are not waited for
				}
				continue
			}
		}
		b.forgotten = append(b.forgotten, m.id)
	}
	return nil
}

// deleteCopy deletes a letter's copy, or finds it gone: JetStream's codes 10043 and 10057,
// which the client hands over as text only. What is in its place may be another letter's,
// which is open: a stream that was restored from a backup, or made anew, counts from an
// earlier number on. A replica that is behind may not have it yet, so only the leader says
// that there is nothing.
func deleteCopy(ctx context.Context, stream jetstream.Stream, seq uint64, letter uuid.UUID) error {
	ctx, cancel := context.WithTimeout(ctx, ackWait)
	defer cancel()
	found, err := stream.GetMsg(ctx, seq)
	if err == nil && found.Header.Get(nats.MsgIdHdr) != letter.String() {
		return nil
	}
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return err
	}
	err = stream.DeleteMsg(ctx, seq)
	if err != nil && (strings.Contains(err.Error(), "err_code=10043") || strings.Contains(err.Error(), "err_code=10057")) {
		return nil
	}
	return err
}

func (r *Relay) fail(ctx context.Context, b *batch, m row, err error) {
	r.metrics.published.WithLabelValues("error").Inc()
	r.Log.WarnContext(ctx, "message was not accepted", "subject", m.Subject, "message_id", m.ID, "err", err)
	b.failed = append(b.failed, m.id)
}
