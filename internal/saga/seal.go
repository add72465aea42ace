package saga

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"esimflow/internal/pressone"
	"esimflow/internal/seal"
)

// What installs an eSIM rests in these columns, sealed wherever there is a key.
const (
	AnswerColumn   = "saga_answer|body"
	PurchaseColumn = "saga_purchase|sealed"
)

// sealAnswer returns an answer as it is kept: packed, and sealed.
func (st *Store) sealAnswer(id uuid.UUID, answer []byte) []byte {
	kept := pack(answer)
	if !st.keys.On() {
		return kept
	}
	return st.keys.Seal(kept, seal.Place(AnswerColumn, id))
}

// openAnswer returns an answer as it came, whether it is sealed or not.
func (st *Store) openAnswer(id uuid.UUID, kept []byte) ([]byte, error) {
	if bytes.HasPrefix(kept, []byte{seal.Mark}) {
		var err error
		if kept, err = st.keys.Open(kept, seal.Place(AnswerColumn, id)); err != nil {
			return nil, fmt.Errorf("saga: kept answer: %w", err)
		}
	}
	return unpack(kept)
}

// sealPurchase returns a purchase for the column data, or packed and sealed for the column sealed.
func (st *Store) sealPurchase(id uuid.UUID, text json.RawMessage) (data json.RawMessage, sealed []byte) {
	if !st.keys.On() {
		return text, nil
	}
	return nil, st.keys.Seal(pack(text), seal.Place(PurchaseColumn, id))
}

// openPurchase reads the column sealed.
func (st *Store) openPurchase(id uuid.UUID, sealed []byte) (*Purchase, error) {
	packed, err := st.keys.Open(sealed, seal.Place(PurchaseColumn, id))
	if err != nil {
		return nil, fmt.Errorf("saga: purchase: %w", err)
	}
	text, err := unpack(packed)
	if err != nil {
		return nil, err
	}
	p := &Purchase{}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("saga: purchase: %w", err)
	}
	return p, nil
}

// revealed is a purchase's JSON with what installs its eSIMs, for storage: everywhere else its JSON
// has no codes.
func (p *Purchase) revealed() (json.RawMessage, error) {
	return json.Marshal(struct {
		Order     pressone.RevealedOrder `json:"order"`
		Confirmed []string               `json:"confirmed,omitempty"`
	}{p.Order.Reveal(), p.Confirmed})
}
