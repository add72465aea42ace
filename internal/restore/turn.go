package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"esimflow/internal/message"
	"esimflow/internal/saga"
)

var (
	errNoStream = errors.New("the stream " + message.WitnessStream + " does not exist: esimctl streams apply makes it")
	errDenied   = errors.New("NATS does not let this user use " + message.WitnessStream + ": see the table of users in docs/nats.md")
	errAway     = errors.New("NATS is away")
	errTurn     = errors.New("another worker has its turn")
)

// outcome is what came of a turn that Postgres has committed.
type outcome struct {
	asked error // why NATS was not asked, or has not acknowledged what followed; nil: it has
	lost  int64 // the beat that Postgres has forgotten; 0: none
	found bool  // another worker has found that it has forgotten something
}

// Whoever has a turn keeps all others from theirs, who do not wait for it, and from nothing else.
const (
	beginTurnSQL = `
SELECT id, beat, losses, (SELECT count(*) FROM gate_pause WHERE what = 'kind' AND starts_with(reason, $1))
FROM witness
FOR UPDATE SKIP LOCKED`

	endTurnSQL = `
UPDATE witness
SET beat = $1, losses = losses + $2, lost_at = CASE WHEN $2 > 0 THEN now() ELSE lost_at END
RETURNING losses`
)

// turn counts the row up, after NATS was asked what it knows of it: lock, ask, commit, tell. NATS is asked within the
// transaction on purpose, see Mark.lacks. While it cannot be asked the row stays as it is; what this worker
// knows by itself is compared all the same. The error is errTurn while somebody else has a turn.
func (w *Witness) turn(ctx context.Context) (outcome, error) {
	remembered, found := w.known.get() // before the row is read
	var o outcome
	var row, now Mark
	var at uint64
	var losses int64
	var paused int
	err := pgx.BeginFunc(ctx, w.cfg.DB, func(tx pgx.Tx) error {
		// What NATS is told must be on disk; and whoever is frozen in its turn must not keep others from theirs.
		if err := saga.Durable(ctx, tx); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, beginTurnSQL, lostPrefix).Scan(&row.Database, &row.Beat, &losses, &paused); err != nil {
			return err
		}
		var seen Mark
		seen, at, o.asked = w.ask(ctx, row.Database)
		o.lost, o.found = row.lacks(remembered, seen), remembered.Database == row.Database && found != losses
		n := 0
		switch now = row; {
		case o.lost > 0:
			n = 1
			var err error
			if paused, err = pauseLost(ctx, tx); err != nil {
				return err
			}
			fallthrough
		case o.asked == nil, unwitnessed(o.asked):
			now = row.next(remembered, seen)
			return tx.QueryRow(ctx, endTurnSQL, now.Beat, n).Scan(&losses)
		}
		return nil
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return outcome{}, errTurn
	case err != nil:
		return outcome{}, fmt.Errorf("restore: %w", err)
	}
	w.known.set(now, losses)
	w.report(ctx, o.lost, paused)
	if o.asked == nil {
		if o.asked = w.tell(ctx, now, at); o.asked == nil {
			w.cfg.Metrics.acknowledged()
		}
	}
	return o, nil
}

// unwitnessed reports whether there is no witness to be had, rather than one that does not answer now: nobody
// is kept from work for that.
func unwitnessed(err error) bool { return errors.Is(err, errNoStream) || errors.Is(err, errDenied) }

// Denied takes note of a subject that NATS has denied to this worker. Whoever waits for the answer hears
// nothing but that there is none.
func (w *Witness) Denied(subject string) {
	if subject == message.WitnessSubject || strings.HasSuffix(subject, "."+message.WitnessStream) {
		w.denied.Store(time.Now().UnixNano())
	}
}

func (w *Witness) isDenied() bool { return time.Since(time.Unix(0, w.denied.Load())) < deniedFor }

// report says that commits were lost, unless ordering is paused for that already.
func (w *Witness) report(ctx context.Context, lost int64, paused int) {
	w.cfg.Metrics.turned(paused, lost > 0 && paused > 0)
	switch {
	case lost > 0 && paused > 0:
		w.cfg.Log.ErrorContext(ctx, "Postgres has lost commits: what is pending in it may have been bought. Ordering is paused. Stop all workers, and "+
			"see EsimflowPostgresForgot in docs/runbook.md", "known_beat", lost)
	case lost > 0:
		w.cfg.Log.InfoContext(ctx, "Postgres lacks what NATS has seen of it, as esimctl restore begin has said", "known_beat", lost)
	}
}

// ask returns what NATS has last been told, and the message's place on the stream, 0 if there is none. What is of another database, or
// nobody's, is no mark of this one, and is replaced.
func (w *Witness) ask(ctx context.Context, database uuid.UUID) (Mark, uint64, error) {
	if !w.cfg.Connected() {
		return Mark{}, 0, errAway
	}
	if w.isDenied() {
		return Mark{}, 0, errDenied
	}
	ctx, cancel := context.WithTimeout(ctx, w.cfg.AskTimeout)
	defer cancel()
	s, err := w.cfg.JetStream.Stream(ctx, message.WitnessStream)
	var m *jetstream.RawStreamMsg
	if err == nil {
		m, err = s.GetLastMsgForSubject(ctx, message.WitnessSubject)
	}
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return Mark{}, 0, errNoStream
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return Mark{}, 0, nil
	case err != nil && w.isDenied():
		return Mark{}, 0, errDenied
	case err != nil:
		return Mark{}, 0, fmt.Errorf("asking %s: %w", message.WitnessStream, err)
	}
	var seen Mark
	if err := json.Unmarshal(m.Data, &seen); err != nil {
		seen = Mark{} // nobody's
	}
	if seen.Database != database && (w.foreign == nil || w.foreign.Database != seen.Database) {
		w.foreign = &seen
		w.cfg.Log.WarnContext(ctx, "NATS has seen another database: nothing can be said of this one, which takes its place",
			"database", database, "other", seen.Database)
	}
	return seen, m.Sequence, nil
}

// tell has NATS know the mark, unless somebody has told it another since the message at that place.
func (w *Witness) tell(ctx context.Context, now Mark, at uint64) error {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.AskTimeout)
	defer cancel()
	body, err := json.Marshal(now)
	if err != nil {
		return err
	}
	_, err = w.cfg.JetStream.PublishMsg(ctx, &nats.Msg{Subject: message.WitnessSubject, Data: body},
		jetstream.WithExpectLastSequencePerSubject(at), jetstream.WithExpectStream(message.WitnessStream), jetstream.WithRetryAttempts(0))
	var refused *jetstream.APIError
	switch {
	case errors.As(err, &refused) && refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
		return errTurn
	case err != nil && w.isDenied():
		return errDenied
	case err != nil:
		return fmt.Errorf("telling %s: %w", message.WitnessStream, err)
	}
	return nil
}
