package audit

import (
	"time"

	"github.com/google/uuid"

	"esimflow/internal/pressone"
)

// Kind is what is wrong.
type Kind string

// The kinds of findings.
const (
	Orphan  Kind = "orphan"  // bought, and no saga owns it
	Double  Kind = "double"  // bought, and its saga owns another order
	Phantom Kind = "phantom" // owned, and PressOne does not know it
)

// Kinds lists the kinds.
func Kinds() []Kind { return []Kind{Orphan, Double, Phantom} }

// Status is what became of a finding.
type Status string

// The statuses.
const (
	Open      Status = "open"
	Adopted   Status = "adopted"   // its saga owns it now, through the audit
	Settled   Status = "settled"   // it is no longer so
	Dismissed Status = "dismissed" // an operator has dealt with it
)

// Finding is an order that does not fit.
type Finding struct {
	ID         uuid.UUID  `json:"id"`
	Finding    Kind       `json:"finding"`
	OrderID    int64      `json:"order_id"`
	Order      OrderData  `json:"order" db:"data"`
	SagaID     *uuid.UUID `json:"saga_id"` // whose it is, or seems to be
	RequestID  string     `json:"request_id,omitempty"`
	Why        string     `json:"why"`
	Advice     string     `json:"advice"`
	RunID      uuid.UUID  `json:"run_id"` // the last run that saw it
	Status     Status     `json:"status"`
	FirstSeen  time.Time  `json:"first_seen"`
	LastSeen   time.Time  `json:"last_seen"`
	ResolvedAt *time.Time `json:"resolved_at,omitempty"`
	Actor      string     `json:"actor,omitempty"` // who dismissed it,
	Note       string     `json:"note,omitempty"`  // and why
}

// OrderData is what PressOne says of an order, without what installs its eSIMs.
type OrderData struct {
	Code        string    `json:"code,omitempty"`
	PackageID   string    `json:"package_id,omitempty"`
	Type        string    `json:"type,omitempty"`
	Quantity    int       `json:"quantity,omitempty"`
	Price       string    `json:"price,omitempty"`
	Currency    string    `json:"currency,omitempty"`
	Status      string    `json:"status,omitempty"`
	Description string    `json:"description,omitempty"`
	ICCIDs      []string  `json:"iccids,omitempty"`
	CreatedAt   time.Time `json:"created_at,omitzero"` // as PressOne says, taken for UTC
}

// Run is one reading of PressOne's books. Days are UTC, at midnight.
type Run struct {
	ID          uuid.UUID  `json:"id"`
	From        time.Time  `json:"from" db:"from_day"`
	To          time.Time  `json:"to" db:"to_day"` // included
	Next        time.Time  `json:"next" db:"next_day"`
	State       string     `json:"state"`                  // running, done or failed
	RequestedBy string     `json:"requested_by,omitempty"` // an operator; empty: it was time for one
	Orders      int64      `json:"orders"`                 // that PressOne listed
	Paired      int64      `json:"paired"`                 // of them: with the saga that owns them
	Free        int64      `json:"free"`                   // of them: failed or refunded
	Unsettled   int64      `json:"unsettled"`              // of them: of sagas that are about to find them
	Trouble     string     `json:"trouble,omitempty"`      // why it waits or has failed
	StartedAt   time.Time  `json:"started_at"`
	UpdatedAt   time.Time  `json:"updated_at"` // when it got on last
	FinishedAt  *time.Time `json:"finished_at,omitempty"`
}

// Report is a run with what it found.
type Report struct {
	Run

	Findings []Finding `json:"findings"` // seen by this run
}

// Open is how many of the findings are open.
func (r Report) Open() int {
	n := 0
	for _, f := range r.Findings {
		if f.Status == Open {
			n++
		}
	}
	return n
}

func dataOf(o pressone.Order) OrderData {
	d := OrderData{
		Code: o.Code, PackageID: o.PackageID, Type: o.Type, Quantity: o.Quantity, Price: string(o.Price), Currency: o.Currency,
		Status: o.Status, CreatedAt: o.CreatedAt,
	}
	if o.Description != nil {
		d.Description = *o.Description
	}
	for _, sim := range o.Sims {
		d.ICCIDs = append(d.ICCIDs, sim.ICCID)
	}
	return d
}
