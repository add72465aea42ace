package deadletter

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"esimflow/internal/message"
	"esimflow/internal/saga"
)

// Stage is where a replay is.
type Stage string

// The stages.
const (
	Running Stage = "running"
	Done    Stage = "done"    // every letter was dealt with
	Aborted Stage = "aborted" // an operator stopped it; what was left is as it was
)

// Fate is what became of a letter in a replay.
type Fate string

// The fates. All but Waiting are final.
const (
	Waiting  Fate = "waiting"
	Released Fate = "done"    // its saga was moved, or its bytes were published
	Refused  Fate = "refused" // it cannot be replayed, and nothing was changed
	Failed   Fate = "failed"  // Postgres does not take it, and nothing was changed
	Skipped  Fate = "skipped" // the replay was stopped before its turn, as a whole or for its class
)

// Fates lists every fate in the order of the flow.
func Fates() []Fate { return []Fate{Waiting, Released, Refused, Failed, Skipped} }

// Replay is a frozen set of letters that is released bit by bit, by whichever worker is
// alive. All times are Postgres's.
type Replay struct {
	ID uuid.UUID `json:"id"`
	By
	Filter     json.RawMessage `json:"filter"` // a Filter, as it was given
	Rate       float64         `json:"rate"`   // letters a second, at the most
	Ramp       []int           `json:"ramp"`   // letters in its first seconds
	State      Stage           `json:"state"`
	Letters    int             `json:"letters"`
	Done       int             `json:"done"`
	Refused    int             `json:"refused"`
	Failed     int             `json:"failed"`
	Skipped    int             `json:"skipped"`
	Note       string          `json:"note,omitempty"` // why it waits, or why it stopped
	Worker     string          `json:"worker,omitempty"`
	CreatedAt  time.Time       `json:"created_at"`
	StartedAt  *time.Time      `json:"started_at"`
	FinishedAt *time.Time      `json:"finished_at"`
}

// Waiting is how many letters have not had their turn.
func (r Replay) Waiting() int { return r.Letters - r.Done - r.Refused - r.Failed - r.Skipped }

// ReplayLetter is one letter of a replay, what became of it, and how its saga fares.
type ReplayLetter struct {
	Position  int               `json:"position"`
	Letter    uuid.UUID         `json:"dead_letter_id" db:"letter_id"`
	SagaID    *uuid.UUID        `json:"saga_id"`
	Kind      message.Kind      `json:"kind"`
	RequestID string            `json:"request_id"`
	PackageID string            `json:"package_id"`
	Code      string            `json:"code"`
	Class     string            `json:"class"`
	Purchased message.Purchased `json:"purchased"`
	Price     string            `json:"price,omitempty"` // "" if it is not known
	Currency  string            `json:"currency,omitempty"`
	State     Fate              `json:"state"`
	MovedTo   string            `json:"to,omitempty"`  // the saga's state, or the subject of a new request
	Why       string            `json:"why,omitempty"` // why it was refused, failed or was skipped
	At        *time.Time        `json:"at"`
	Saga      saga.State        `json:"saga_state,omitempty"` // now, if it was released
	Again     string            `json:"end_code,omitempty"`   // why it is dead-lettered again, if it is
}

// Ends counts how the sagas fare that a replay has released.
type Ends struct {
	UnderWay  int `json:"under_way"`
	Completed int `json:"completed"`
	Stopped   int `json:"stopped"` // dead-lettered again
	Discarded int `json:"discarded"`
	Published int `json:"published"` // as new requests, which are sagas of their own
}

// ReplayReport is a replay with its letters, in their order.
type ReplayReport struct {
	Replay
	Ends Ends           `json:"ends"`
	Set  []ReplayLetter `json:"set,omitempty"`
}

// Money is an amount in a currency; without one if PressOne's catalogue names none.
type Money struct {
	Amount   string `json:"amount"` // decimal
	Currency string `json:"currency"`
}

// Tally counts the letters of a preview that have something in common.
type Tally struct {
	Name    string `json:"name"`
	Letters int    `json:"letters"`
	Refused int    `json:"refused"`
}

// PreviewLetter is what a replay would do to one letter.
type PreviewLetter struct {
	Result
	Class     string            `json:"class"`
	Purchased message.Purchased `json:"purchased"`
	Price     string            `json:"price,omitempty"` // of all that it asks for; "" if it is not known, or bought already
	Currency  string            `json:"currency,omitempty"`
}

// Preview is what a replay would do: the exact set, and what it would cost.
type Preview struct {
	Letters  int             `json:"letters"`
	Willing  int             `json:"willing"` // those that would be released
	Refused  int             `json:"refused"` // those that would not, each with why
	Cost     []Money         `json:"cost"`    // of what would be bought, as far as prices are known
	Unpriced int             `json:"unpriced"`
	Codes    []Tally         `json:"codes"` // most letters first, as the next two
	Classes  []Tally         `json:"classes"`
	Packages []Tally         `json:"packages"`
	Set      []PreviewLetter `json:"set"`
}
