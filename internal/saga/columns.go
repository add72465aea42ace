package saga

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"esimflow/internal/outbox"
)

// What a statement about many rows takes as parameters: a column each, in the order in
// which the statement names them.

// column is one parameter of a statement about many rows. Its elements should be of types
// that pgx knows: it is slow with those that it has to find out about.
func column[R, T any](rows []R, value func(R) T) pgtype.FlatArray[T] {
	all := make(pgtype.FlatArray[T], len(rows))
	for i, r := range rows {
		all[i] = value(r)
	}
	return all
}

// moves are the sagas' own columns, with what each decision expects.
func moves(all []Decision) []any {
	return []any{
		column(all, Decision.key),
		column(all, func(d Decision) int64 { return d.Before.Version }),
		column(all, func(d Decision) pgtype.UUID { return nullUUID(d.Before.Worker) }),
		column(all, func(d Decision) string { return string(d.After.State) }),
		column(all, func(d Decision) int64 { return d.After.Version }),
		column(all, func(d Decision) pgtype.UUID { return nullUUID(d.After.Worker) }),
		column(all, func(d Decision) pgtype.Timestamptz { return nullTime(d.After.DueAt) }),
		column(all, func(d Decision) time.Time { return d.After.DeadlineAt }),
		column(all, func(d Decision) int { return d.After.Attempts }),
		column(all, func(d Decision) int { return d.After.Tries }),
		column(all, func(d Decision) int { return d.After.Failures }),
		column(all, func(d Decision) int { return d.After.Looks }),
		column(all, func(d Decision) time.Duration { return d.After.LookDelay }),
		column(all, func(d Decision) pgtype.Timestamptz { return nullTime(d.After.IntentAt) }),
		column(all, func(d Decision) pgtype.Timestamptz { return nullTime(d.After.IntentDeadline) }),
		column(all, func(d Decision) pgtype.Int8 { return nullInt(d.After.OrderID) }),
		column(all, func(d Decision) string { return string(d.After.StoppedIn) }),
		column(all, func(d Decision) int { return d.After.Ends }),
	}
}

// ownedEntry is an entry of a saga's history.
type ownedEntry struct {
	saga uuid.UUID
	Entry
}

func history(decisions []Decision) []any {
	var all []ownedEntry
	for _, d := range decisions {
		for _, e := range d.entries() {
			all = append(all, ownedEntry{d.id(), e})
		}
	}
	return []any{
		column(all, func(e ownedEntry) pgtype.UUID { return nullUUID(e.saga) }),
		column(all, func(e ownedEntry) int64 { return e.Version }),
		column(all, func(e ownedEntry) string { return string(e.Event) }),
		column(all, func(e ownedEntry) pgtype.Text { return nullText(string(e.From)) }),
		column(all, func(e ownedEntry) string { return string(e.To) }),
		column(all, func(e ownedEntry) int { return e.Attempt }),
		column(all, func(e ownedEntry) string { return e.Code }),
		column(all, func(e ownedEntry) string { return e.Seen }),
		column(all, func(e ownedEntry) pgtype.Timestamptz { return nullTime(e.DueAt) }),
		column(all, func(e ownedEntry) string { return e.Actor }),
		column(all, func(e ownedEntry) string { return e.Reason }),
	}
}

// purchases are those that have changed, but for what is kept as an answer anyway. Which
// eSIMs are confirmed matters for as long as others are not. Each is as it is, or sealed.
func (st *Store) purchases(decisions []Decision) (plain []any, sealed any, _ error) {
	var sagas pgtype.FlatArray[pgtype.UUID]
	var data pgtype.FlatArray[json.RawMessage]
	var closed pgtype.FlatArray[[]byte]
	for _, d := range decisions {
		p := d.After.Purchase
		if p == nil || p == d.Before.Purchase || p.answered && (len(p.Confirmed) == 0 || d.After.State == Notifying) {
			continue
		}
		text, err := p.revealed()
		if err != nil {
			return nil, nil, fmt.Errorf("saga: purchase: %w", err)
		}
		asIs, secret := st.sealPurchase(d.id(), text)
		sagas, data, closed = append(sagas, d.key()), append(data, asIs), append(closed, secret)
	}
	return []any{sagas, data}, closed, nil
}

func (st *Store) answers(decisions []Decision) []any {
	all := having(decisions, func(d Decision) bool { return d.Answer != nil })
	return []any{
		column(all, Decision.key),
		column(all, func(d Decision) int { return d.After.Attempts }),
		column(all, func(d Decision) int { return d.Answer.Status }),
		column(all, func(d Decision) []byte { return st.sealAnswer(d.id(), d.Answer.Body) }),
	}
}

func resolutions(decisions []Decision) []any {
	all := having(decisions, func(d Decision) bool { return d.Resolved != "" })
	return []any{
		column(all, Decision.key),
		column(all, func(d Decision) string { return d.Resolved }),
		column(all, func(d Decision) string { return d.Entry.Actor }),
		column(all, func(d Decision) string { return d.Entry.Reason }),
	}
}

func letters(decisions []Decision) ([]any, error) {
	all := having(decisions, func(d Decision) bool { return d.DeadLetter != nil })
	headers := make(pgtype.FlatArray[json.RawMessage], len(all))
	for i, d := range all {
		var err error
		if headers[i], err = json.Marshal(orEmptyHeader(d.DeadLetter.Header)); err != nil {
			return nil, fmt.Errorf("saga: dead letter: %w", err)
		}
	}
	return []any{
		column(all, func(d Decision) string { return d.DeadLetter.ID }),
		column(all, Decision.key),
		column(all, func(d Decision) string { return string(d.DeadLetter.Kind) }),
		column(all, func(d Decision) string { return d.DeadLetter.RequestID }),
		column(all, func(d Decision) string { return d.After.PackageID }),
		column(all, func(d Decision) string { return d.After.ICCID }),
		column(all, func(d Decision) string { return d.DeadLetter.Code }),
		column(all, func(d Decision) string { return d.DeadLetter.Class }),
		column(all, func(d Decision) string { return d.DeadLetter.Reason }),
		column(all, func(d Decision) string { return d.DeadLetter.State }),
		column(all, func(d Decision) int { return d.DeadLetter.Attempts }),
		column(all, func(d Decision) string { return string(d.DeadLetter.Purchased) }),
		column(all, func(d Decision) bool { return d.DeadLetter.Replayable }),
		column(all, func(d Decision) string { return d.DeadLetter.SourceSubject }),
		column(all, func(d Decision) int64 { return int64(d.DeadLetter.SourceSequence) }),
		headers,
		column(all, func(d Decision) []byte { return orEmptyBytes(d.DeadLetter.Body) }),
	}, nil
}

func (st *Store) messages(decisions []Decision) ([]any, error) {
	var sagas pgtype.FlatArray[pgtype.UUID]
	rows := outbox.Rows{Keys: st.keys}
	for _, d := range decisions {
		for _, m := range d.Messages {
			if err := rows.Add(m); err != nil {
				return nil, err
			}
			sagas = append(sagas, d.key())
		}
	}
	return append([]any{sagas}, rows.Arguments()...), nil
}

func having(all []Decision, is func(Decision) bool) (some []Decision) {
	for _, d := range all {
		if is(d) {
			some = append(some, d)
		}
	}
	return some
}

func (d Decision) id() uuid.UUID { return d.After.ID }

func (d Decision) key() pgtype.UUID { return nullUUID(d.After.ID) }
