package pressonesim

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// OrderStatus is an order's status slug.
type OrderStatus string

// The statuses. Pending is not documented; it is what an order shows before
// its ReadyAfter has passed.
const (
	Pending   OrderStatus = "pending"
	Completed OrderStatus = "completed"
	Failed    OrderStatus = "failed"
	Refunded  OrderStatus = "refunded"
)

func (s OrderStatus) name() string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(string(s[:1])) + string(s[1:])
}

// Order is one entry of the books: what was really sold, or, where the books
// say so, tried and failed.
type Order struct {
	ID        int    `json:"id"`
	Code      string `json:"code"` // "20230227-009666"
	Kind      Kind   `json:"kind"`
	PackageID string `json:"package_id"`
	Quantity  int    `json:"quantity"`
	// ICCID is the eSIM that was topped up; empty for orders.
	ICCID string `json:"iccid,omitempty"`
	// Sent is the description in the request, Stored what PressOne keeps and
	// shows; Stored is nil where it shows null.
	Sent   string  `json:"description_sent"`
	Stored *string `json:"description_stored"`
	// UnitPrice is of one, Price of all units: what was charged.
	UnitPrice Cents       `json:"unit_price_cents"`
	Price     Cents       `json:"price_cents"`
	CreatedAt time.Time   `json:"created_at"`
	Status    OrderStatus `json:"status"` // Completed, Refunded or Failed
	Sims      []SoldSim   `json:"sims,omitempty"`
}

// SoldSim is one eSIM of an order.
type SoldSim struct {
	ICCID      string `json:"iccid"`
	MatchingID string `json:"matching_id"`
}

// Ledger is a copy of the books, oldest first. It tells what happened, whatever
// the answers said.
type Ledger struct {
	Sold   []Order `json:"sold"`
	Failed []Order `json:"failed"` // only with the knob FailedRows
}

// Orders returns what was sold under a description, as the client sent it.
func (l Ledger) Orders(description string) []Order {
	return l.where(func(o Order) bool { return o.Sent == description })
}

// Topups returns the top-ups sold for an eSIM.
func (l Ledger) Topups(iccid string) []Order {
	return l.where(func(o Order) bool { return o.Kind == KindTopup && o.ICCID == iccid })
}

// Package returns what was sold of a package.
func (l Ledger) Package(id string) []Order {
	return l.where(func(o Order) bool { return o.PackageID == id })
}

func (l Ledger) where(keep func(Order) bool) []Order {
	return slices.DeleteFunc(slices.Clone(l.Sold), func(o Order) bool { return !keep(o) })
}

// Count is the number of orders sold.
func (l Ledger) Count() int {
	return len(l.Sold)
}

// Units is the number of eSIMs and top-ups sold.
func (l Ledger) Units() int {
	n := 0
	for _, o := range l.Sold {
		n += o.Quantity
	}
	return n
}

// Revenue is what all orders sold were charged; refunds are not taken off.
func (l Ledger) Revenue() Cents {
	var sum Cents
	for _, o := range l.Sold {
		sum += o.Price
	}
	return sum
}

// Doubles returns the descriptions that were sold more than once, with how
// often. Orders without a description are left out.
func (l Ledger) Doubles() map[string]int {
	doubles := make(map[string]int)
	for _, o := range l.Sold {
		if o.Sent != "" {
			doubles[o.Sent]++
		}
	}
	for description, n := range doubles {
		if n < 2 {
			delete(doubles, description)
		}
	}
	return doubles
}

// order is an Order as the simulator holds it: never changed once it is in the
// books, but for its status.
type order struct {
	Order
	pkg       *Package
	cards     []*card
	lowDesc   string
	lowCode   string
	overruled atomic.Pointer[OrderStatus]
}

// export copies o.
func (o *order) export() Order {
	c := o.Order
	c.Sims = slices.Clone(o.Sims)
	if o.Stored != nil {
		c.Stored = new(*o.Stored)
	}
	c.Status = o.settled()
	return c
}

// settled is the status once the order is ready.
func (o *order) settled() OrderStatus {
	if status := o.overruled.Load(); status != nil {
		return *status
	}
	return o.Status
}

// Ledger returns a copy of the books.
func (s *Sim) Ledger() Ledger {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l := Ledger{Sold: make([]Order, 0, len(s.orders)), Failed: []Order{}}
	for _, o := range s.orders {
		if o.Status == Failed {
			l.Failed = append(l.Failed, o.export())
			continue
		}
		l.Sold = append(l.Sold, o.export())
	}
	return l
}

// Sold returns what was sold under a description, as the client sent it. It is
// cheap however long the books are.
func (s *Sim) Sold(description string) []Order {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var sold []Order
	for _, o := range s.bySent[description] {
		if o.Status != Failed {
			sold = append(sold, o.export())
		}
	}
	return sold
}

// SoldCount returns the number of orders sold.
func (s *Sim) SoldCount() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sold
}

// SetOrderStatus overrules the status an order shows, such as Refunded or
// Failed; the charge stays in the books. It reports whether the order exists.
func (s *Sim) SetOrderStatus(id int, status OrderStatus) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	o := s.orderByID(id)
	if o == nil {
		return false
	}
	o.overruled.Store(&status)
	return true
}
