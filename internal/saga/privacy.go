package saga

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/pressone"
)

// PersonalData is what is on record about one request, all but what installs its eSIMs: that is not data
// about somebody, it is a secret of theirs, and they have it.
type PersonalData struct {
	ID        uuid.UUID       `json:"saga_id"`
	RequestID string          `json:"request_id"`
	State     State           `json:"state"`
	ICCID     string          `json:"iccid,omitempty"` // of a top-up
	Request   ReceivedRequest `json:"request"`
	Order     *pressone.Order `json:"order,omitempty"` // its eSIMs without codes
	Codes     string          `json:"codes"`           // none, kept or removed
	Timeline  []Entry         `json:"timeline"`
}

// ReceivedRequest is a request as it arrived.
type ReceivedRequest struct {
	Subject  string              `json:"subject"`
	Sequence uint64              `json:"sequence"`
	Headers  map[string][]string `json:"headers"`
	Body     string              `json:"body"`
}

const privacyActionSQL = `
INSERT INTO privacy_action (id, action, saga_id, actor, reason)
VALUES ($1, $2, $3, $4, $5)`

// Export returns what is on record about a saga's request, once it is on record who asked and why.
func (st *Store) Export(ctx context.Context, id uuid.UUID, actor, reason string) (PersonalData, error) {
	actor, reason, err := answerable(actor, reason)
	if err != nil {
		return PersonalData{}, err
	}
	s, err := st.Get(ctx, id)
	if err != nil {
		return PersonalData{}, err
	}
	entries, err := st.Timeline(ctx, id)
	if err != nil {
		return PersonalData{}, err
	}
	if _, err := st.db.Exec(ctx, privacyActionSQL, uuid.Must(uuid.NewV7()), "export", id, actor, reason); err != nil {
		return PersonalData{}, translate("export", err)
	}
	data := PersonalData{
		ID: s.ID, RequestID: s.RequestID, State: s.State, ICCID: s.ICCID, Codes: "none", Timeline: entries,
		Request: ReceivedRequest{Subject: s.Source.Subject, Sequence: s.Source.Sequence, Headers: s.Source.Header, Body: string(s.Source.Body)},
	}
	if s.Purchase != nil {
		data.Order = &s.Purchase.skeleton(true).Order
	}
	switch {
	case s.Wiped:
		data.Codes = "removed"
	case s.KeyGone, s.Purchase != nil && len(s.Purchase.Order.Sims) > 0:
		data.Codes = "kept"
	}
	return data, nil
}

const eraseSQL = `
SELECT erase_saga($1, $2, $3, $4, $5, $6, $7)`

// Erase removes what is on record about a saga's request but the accounting skeleton: its id, PressOne's order
// and price, states and times. The request stays recognisable, by a keyed digest, so that it is not bought
// again. The error is a *RefusedError if it is not over, or nobody answers for it.
func (st *Store) Erase(ctx context.Context, id uuid.UUID, actor, reason string) error {
	actor, reason, err := answerable(actor, reason)
	if err != nil {
		return err
	}
	if st.digestKey == nil {
		return errNoDigest
	}
	s, err := st.Get(ctx, id)
	if err != nil {
		return err
	}
	if s.KeyGone {
		return &RefusedError{Why: "its price cannot be read: the key is not in ENCRYPTION_KEY"}
	}
	var skeleton []byte
	if s.Purchase != nil {
		if skeleton, err = json.Marshal(s.Purchase.skeleton(false)); err != nil {
			return fmt.Errorf("saga: erase: %w", err)
		}
	}
	var why string
	err = pgx.BeginFunc(ctx, st.db, func(tx pgx.Tx) error {
		if err := Durable(ctx, tx); err != nil {
			return err
		}
		return tx.QueryRow(ctx, eraseSQL, id, st.digest(s.Kind, s.RequestID), st.meaning(s.Kind, s.RequestID, s.Fingerprint),
			skeleton, uuid.Must(uuid.NewV7()), actor, reason).Scan(&why)
	})
	if isLocked(err) {
		return &RefusedError{Why: "the database is too busy: try again in a moment"}
	}
	if err != nil {
		return translate("erase", err)
	}
	if why != "" {
		return &RefusedError{Why: why}
	}
	return nil
}

const eraseRemainsSQL = `
SELECT erase_remains($1, $2, $3, $4)`

// EraseRemains removes what is on record by a name, a request id or an ICCID, of requests that never had a saga, or whose saga has
// left after RETENTION: dead letters, and what was noted about them. It returns how much that was. The error is a
// *RefusedError if a dead letter of it is open, or nobody answers for it.
func (st *Store) EraseRemains(ctx context.Context, name, actor, reason string) (n int, _ error) {
	actor, reason, err := answerable(actor, reason)
	if err != nil {
		return 0, err
	}
	err = pgx.BeginFunc(ctx, st.db, func(tx pgx.Tx) error {
		if err := Durable(ctx, tx); err != nil {
			return err
		}
		return tx.QueryRow(ctx, eraseRemainsSQL, name, uuid.Must(uuid.NewV7()), actor, reason).Scan(&n)
	})
	switch {
	case err != nil:
		return 0, translate("erase", err)
	case n < 0:
		return 0, &RefusedError{Why: "a dead letter of it is open: resolve it first, and try again in a moment"}
	}
	return n, nil
}

// answerable cleans who acts and why; both are required.
func answerable(actor, reason string) (who, why string, _ error) {
	who, why = strings.TrimSpace(Clean(actor)), strings.TrimSpace(Clean(reason))
	if who == "" || why == "" {
		return "", "", &RefusedError{Why: "actor and reason are required: they are recorded"}
	}
	return who, why, nil
}
