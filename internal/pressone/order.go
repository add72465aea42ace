package pressone

import (
	"fmt"
	"time"

	json "github.com/go-json-experiment/json/v1"
)

// Order is an order, of eSIMs or a top-up, as PressOne has it.
type Order struct {
	ID          int64     `json:"id"` // positive
	Code        string    `json:"code"`
	PackageID   string    `json:"package_id"`
	Quantity    int       `json:"quantity"`              // 0 when it cannot be read
	Type        string    `json:"type"`                  // sim or topup
	Description *string   `json:"description,omitempty"` // nil: none was given back
	Price       Decimal   `json:"price"`                 // per unit or for all: PressOne does not say
	NetPrice    Decimal   `json:"net_price,omitempty"`
	Currency    string    `json:"currency"`
	CreatedAt   time.Time `json:"created_at"`       // UTC; zero when it cannot be read
	Status      string    `json:"status,omitempty"` // slug: completed, failed, refunded, …; "" unless asked for and given
	Sims        []Sim     `json:"sims,omitempty"`   // those with an ICCID; in lists only when asked for
}

// UnmarshalJSON reads an order as PressOne writes it, and as it is stored. It fails when there is no positive id; every
// other field is read as well as it can be.
func (o *Order) UnmarshalJSON(raw []byte) error {
	var wire struct {
		ID          integer         `json:"id"`
		Code        text            `json:"code"`
		PackageID   text            `json:"package_id"`
		Quantity    integer         `json:"quantity"`
		Type        text            `json:"type"`
		Description optional        `json:"description"`
		Price       Decimal         `json:"price"`
		NetPrice    Decimal         `json:"net_price"`
		Currency    text            `json:"currency"`
		CreatedAt   timestamp       `json:"created_at"`
		Status      json.RawMessage `json:"status"`
		Sims        json.RawMessage `json:"sims"`
	}
	if err := json.Unmarshal(raw, &wire); err != nil {
		return ErrUnreadable // not err: it may quote the body
	}
	if !wire.ID.ok || wire.ID.value <= 0 {
		return fmt.Errorf("%w: no order id", ErrUnreadable)
	}
	*o = Order{
		ID: wire.ID.value, Code: string(wire.Code), PackageID: string(wire.PackageID), Type: string(wire.Type),
		Description: wire.Description.value, Price: wire.Price, NetPrice: wire.NetPrice, Currency: string(wire.Currency),
		CreatedAt: wire.CreatedAt.Time, Status: readSlug(wire.Status), Sims: readSims(wire.Sims),
	}
	if q := wire.Quantity; q.ok && q.value > 0 && q.value < 1<<31 {
		o.Quantity = int(q.value)
	}
	return nil
}

// readSlug reads {"name":"Completed","slug":"completed"}, or the slug alone.
func readSlug(raw json.RawMessage) string {
	var status struct {
		Slug text `json:"slug"`
	}
	if len(raw) > 0 && json.Unmarshal(raw, &status) == nil && status.Slug != "" {
		return string(status.Slug)
	}
	var t text
	_ = t.UnmarshalJSON(raw)
	return string(t)
}

// ReadOrder reads the answer to a submission that was accepted, as Receipt.Raw has it: {"data":{…}}, or a list of exactly one.
// An error is ErrUnreadable.
func ReadOrder(body []byte) (Order, error) {
	var env envelope
	if json.Unmarshal(body, &env) != nil {
		return Order{}, ErrUnreadable
	}
	raw, ok := env.object()
	if !ok {
		list, _ := elements(env.Data)
		if len(list) != 1 {
			return Order{}, ErrUnreadable
		}
		raw = list[0]
	}
	var o Order
	if o.UnmarshalJSON(raw) != nil { // called by itself: raw is known to be JSON
		return Order{}, fmt.Errorf("%w: no order", ErrUnreadable)
	}
	return o, nil
}
