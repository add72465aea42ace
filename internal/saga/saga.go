package saga

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// Saga is one request on its way. All times are Postgres's.
type Saga struct {
	ID         uuid.UUID
	Kind       message.Kind
	RequestID  string
	State      State
	Version    int64     // bumped by every write
	Worker     uuid.UUID // who holds it, Nil when nobody does
	DueAt      time.Time // when it may be claimed; zero when it is not a worker's to move
	DeadlineAt time.Time // when this stage gives up

	Reference   string // our token in PressOne's description
	Fingerprint string
	PackageID   string
	Quantity    int
	ICCID       string // of a top-up

	Attempts       int // submissions in all
	Tries          int // submissions that count against RETRY_MAX_ATTEMPTS
	Failures       int // in a row, for the back-off
	Looks          int // complete look-ups that found nothing, since the last submission
	LookDelay      time.Duration
	IntentAt       time.Time
	IntentDeadline time.Time // what was not written to PressOne by then was not sent
	OrderID        int64     // PressOne's; 0 while unknown
	StoppedIn      State     // while dead-lettered or discarded: where it stopped
	Ends           int       // how often it has ended

	RequestedAt time.Time
	CreatedAt   time.Time

	Source   Source
	Purchase *Purchase // nil while nothing is known to be bought
	Wiped    bool      // what installs its eSIMs was removed, CODES_KEEP after it was completed
	KeyGone  bool      // what was bought is on record, under a key that is not in ENCRYPTION_KEY
}

// Source is the request as it arrived.
type Source struct {
	Subject  string
	Sequence uint64 // in its stream
	Header   nats.Header
	Body     []byte
	Metadata json.RawMessage
}

// Purchase is what was bought, as PressOne describes it, and what of it was confirmed.
type Purchase struct {
	Order     pressone.Order `json:"order"`
	Confirmed []string       `json:"confirmed,omitempty"` // ICCIDs that GET /sims has shown to be installable

	answered bool // the order is what PressOne's answer to the submission says, which is kept
}

// clone copies p deeply enough for a decision to change it.
func (p *Purchase) clone() *Purchase {
	if p == nil {
		return nil
	}
	c := *p
	c.Order.Sims = slices.Clone(p.Order.Sims)
	c.Confirmed = slices.Clone(p.Confirmed)
	return &c
}

// Event is something that happened to a saga. Beside its name it carries what the
// decision needs to know, and what the history is to say.
type Event struct {
	Name EventName
	Code string // PressOne's, http_<status>, or ours
	Seen string // for the history: what was seen

	Class      string        // why it was refused, for dead letters
	RetryAfter time.Duration // not before that
	Slow       bool          // back off ten times as slow: operator maintenance
	Free       bool          // the submission does not count: never sent, or the account's fault
	Ended      bool          // the unknown request has ended: LIST_LAG is enough
	Unwaited   bool          // not_found: it was looked for too early for that to be evidence
	SentBy     time.Time     // worker_lost: what was sent was sent by then, whatever the intent's deadline; zero: by that

	Purchase *Purchase // submitted, found, not_ready, ready, adopted
	Answer   *Answer   // PressOne's, to be kept raw

	Actor  string // an operator's name
	Reason string // an operator's
}

// Answer is PressOne's answer to a submission, raw.
type Answer struct {
	Status int
	Body   []byte
}
