package intake

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go/jetstream"

	"esimflow/internal/message"
	"esimflow/internal/outbox"
	"esimflow/internal/saga"
)

// arrival is a message and what is to become of it.
type arrival struct {
	msg      jetstream.Msg
	meta     *jetstream.MsgMetadata
	decision saga.Decision      // if it was understood
	letter   message.DeadLetter // if not
	result   string             // accepted, duplicate, conflict, malformed
	buried   bool               // the letter is new: it was not delivered before
}

// patience is how long a batch waits for the runner to have room, rather than be stored as
// sagas that wait: that would cost a claim and a commit more for each.
const patience = 250 * time.Millisecond

// commit makes a batch durable and acknowledges it, as much at a time as there is room for.
func (c *Consumer) commit(ctx context.Context, batch []jetstream.Msg) {
	until := time.Now().Add(patience)
	for len(batch) > 0 {
		n := c.tracedPart(ctx, batch, until)
		if n == 0 {
			return
		}
		batch = batch[n:]
	}
}

// commitPart commits the first messages of a batch and returns how many. It tries until that
// has worked or ctx is cancelled: a message that is not acknowledged is delivered again.
func (c *Consumer) commitPart(ctx context.Context, batch []jetstream.Msg, until time.Time) int {
	received := time.Now()
	var arrivals []*arrival // once they are stored
	var refused error
	for failures := 0; ; failures++ {
		var err error
		if arrivals == nil {
			arrivals, err = c.store(ctx, batch, until, refused)
		}
		if err == nil {
			err = c.remember(ctx, arrivals)
		}
		if err == nil {
			err = c.bury(ctx, arrivals)
		}
		if err == nil {
			c.setProblem(nil)
			for _, a := range arrivals {
				c.Metrics.decided(c.Kind, a)
				if err := a.msg.Ack(); err != nil {
					c.Log.WarnContext(ctx, "message was not acknowledged", "sequence", a.meta.Sequence.Stream, "err", err)
				}
			}
			c.Metrics.committed(c.Kind, time.Since(received))
			c.describe(ctx, arrivals)
			return len(arrivals)
		}
		if saga.IsData(err) && len(batch) > 1 {
			for _, m := range batch {
				c.commit(ctx, []jetstream.Msg{m})
			}
			return len(batch)
		}
		if saga.IsData(err) && refused == nil {
			arrivals, refused = nil, err // this one cannot be stored as a request: bury it
			c.describeFailure(ctx, err)
			continue
		}
		if ctx.Err() != nil {
			return 0
		}
		if errors.Is(err, errLeft) {
			arrivals = nil
		}
		c.setProblem(fmt.Errorf("intake: requests cannot be stored: %w", err))
		c.describeFailure(ctx, err)
		c.Log.WarnContext(ctx, "requests could not be stored, trying again", "messages", len(batch), "err", err)
		pause(ctx, min(2*time.Second, 50*time.Millisecond<<min(failures, 10)))
	}
}

// store writes a batch's sagas in one commit, and starts what can be run at once. If there
// is room for a part of the batch only, it is for that part that it does so. What could not
// be understood, or is a conflict, is left to bury. If Postgres has refused the batch, which
// is then one message, it is buried.
func (c *Consumer) store(ctx context.Context, batch []jetstream.Msg, until time.Time, refused error) ([]*arrival, error) {
	admission := c.Runner.Admit(c.Kind, len(batch), until)
	if admission.Room > 0 {
		batch = batch[:admission.Room]
	}
	arrivals, err := c.understand(batch, admission, refused)
	if err != nil {
		admission.Cancel()
		return nil, err
	}
	// Stopping does not cancel a commit under way.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	if err := c.decide(ctx, arrivals); err != nil {
		admission.Cancel()
		return nil, err
	}
	var started []saga.Saga
	waiting := false
	for _, a := range arrivals {
		switch {
		case a.result != resultAccepted:
		case a.decision.After.State == saga.Submitting:
			started = append(started, a.decision.After)
		default:
			waiting = true
		}
	}
	admission.Start(started, waiting)
	return arrivals, nil
}

const commitTimeout = 10 * time.Second

// understand reads the messages.
func (c *Consumer) understand(batch []jetstream.Msg, admission *saga.Admission, refused error) ([]*arrival, error) {
	room := admission.Room
	arrivals := make([]*arrival, len(batch))
	for i, m := range batch {
		meta, err := m.Metadata()
		if err != nil {
			return nil, fmt.Errorf("intake: not a JetStream message: %w", err)
		}
		a := &arrival{msg: m, meta: meta}
		arrivals[i] = a
		request, err := message.DecodeRequest(c.Kind, m.Headers(), m.Data())
		if refused != nil {
			err = fmt.Errorf("intake: it cannot be stored: %w", refused)
		}
		if err != nil {
			a.reject(c.Kind, saga.CodeMalformed, saga.ClassMalformed, "", err.Error())
			continue
		}
		s := saga.New(request, saga.Source{
			Subject: m.Subject(), Sequence: meta.Sequence.Stream, Header: message.SenderHeaders(m.Headers()),
			Body: m.Data(), Metadata: request.Metadata,
		}, meta.Timestamp)
		if room > 0 {
			room--
			s.Worker = admission.Worker
		}
		e := saga.Event{Name: saga.Accepted}
		if a.decision, err = c.Policy.Decide(s, e, c.Lease.Now(), rand.Float64()); err != nil {
			return nil, err
		}
		a.result = resultAccepted
	}
	return arrivals, nil
}

// accept inserts the sagas and finds out which of them were there before.
func (c *Consumer) accept(ctx context.Context, arrivals []*arrival) error {
	var decisions []saga.Decision
	var of []*arrival
	for _, a := range arrivals {
		if a.letter.ID == "" {
			decisions, of = append(decisions, a.decision), append(of, a)
		}
	}
	if len(decisions) == 0 {
		return nil
	}
	known, err := c.Store.Accept(ctx, decisions)
	if err != nil {
		return err
	}
	for i, a := range of {
		a.compare(known[i])
	}
	return nil
}

// compare says what a request is beside what is on record for its key.
func (a *arrival) compare(known saga.Known) {
	s := a.decision.After
	switch {
	case known.ID == s.ID:
		a.result = resultAccepted
	case known.Fingerprint == s.Fingerprint:
		a.result = resultDuplicate
	default:
		a.reject(s.Kind, saga.CodeConflict, saga.ClassConflict, s.RequestID, fmt.Sprintf(
			"request_id was accepted before with another meaning: fingerprint %s then, %s now",
			known.Fingerprint, s.Fingerprint))
	}
}

// bury stores the dead letters and their copies for the stream.
func (c *Consumer) bury(ctx context.Context, arrivals []*arrival) error {
	bad := slices.DeleteFunc(slices.Clone(arrivals), func(a *arrival) bool { return a.letter.ID == "" })
	if len(bad) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	err := pgx.BeginTxFunc(ctx, c.DB, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if err := saga.Durable(ctx, tx); err != nil {
			return err
		}
		return bury(ctx, tx, bad)
	})
	if err == nil {
		c.Published()
	}
	return err
}

func bury(ctx context.Context, tx pgx.Tx, arrivals []*arrival) error {
	var letters pgx.Batch
	isNew := map[string]bool{}
	for _, a := range arrivals {
		packageID, iccid := a.decision.After.PackageID, a.decision.After.ICCID
		saga.QueueLetter(&letters, a.letter, packageID, iccid).Exec(func(tag pgconn.CommandTag) error {
			isNew[a.letter.ID] = isNew[a.letter.ID] || tag.RowsAffected() == 1 // it may be there twice
			return nil
		})
	}
	if err := tx.SendBatch(ctx, &letters).Close(); err != nil {
		return fmt.Errorf("intake: dead letters: %w", err)
	}
	for _, a := range arrivals {
		if !isNew[a.letter.ID] {
			continue // it was delivered before
		}
		delete(isNew, a.letter.ID)
		a.buried = true
		copied := outbox.Message{Message: a.letter.Message(), DeadLetter: uuid.MustParse(a.letter.ID)}
		if err := outbox.Append(ctx, tx, copied); err != nil {
			return err
		}
	}
	return nil
}

// reject makes a dead letter without a saga. Its id is the message's own, however often
// it is delivered; the time and the bytes are in it because a stream that is made anew
// begins to count anew.
func (a *arrival) reject(k message.Kind, code, class, requestID, reason string) {
	digest := sha256.Sum256(a.msg.Data())
	name := fmt.Appendf(nil, "%s %d %d %x", a.msg.Subject(), a.meta.Sequence.Stream, a.meta.Timestamp.UnixNano(), digest)
	a.result = code
	a.letter = message.DeadLetter{
		ID: uuid.NewSHA1(uuid.NameSpaceURL, name).String(), Kind: k, RequestID: requestID,
		Code: code, Class: class, Reason: saga.Clean(reason),
		Purchased: message.PurchasedNo, Replayable: true, Time: a.meta.Timestamp,
		SourceSubject: a.msg.Subject(), SourceSequence: a.meta.Sequence.Stream, Header: message.SenderHeaders(a.msg.Headers()), Body: a.msg.Data(),
	}
}
