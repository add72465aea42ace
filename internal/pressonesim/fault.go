package pressonesim

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

// When places a fault before or after the effect of a call that buys.
type When string

// The moments. The zero value is Before.
const (
	Before When = "before"
	After  When = "after"
)

// Action is what a fault does to the answer.
type Action string

// The actions.
const (
	Drop      Action = "drop"       // reset the connection without an answer
	Status    Action = "status"     // answer with Status, Code, Reason, Body
	Slow      Action = "slow"       // wait for Delay, then go on as usual
	Garbled   Action = "garbled"    // 200 with JSON that breaks off
	MissingID Action = "missing_id" // 200 with a body that lacks id
	Redirect  Action = "redirect"   // 307 to the same address
	Hang      Action = "hang"       // no answer until the client leaves or the server closes
)

var actions = []Action{Drop, Status, Slow, Garbled, MissingID, Redirect, Hang}

// Fault spoils calls that match it. It is looked at after the request has been
// read in full and has passed authorization and rate limits.
//
// Before faults keep a buying call from having its effect (Slow only puts it
// off). After faults fire only, and are used up only, when the effect has taken
// place; a refusal is answered as it is. Where nothing is bought, When means
// nothing.
type Fault struct {
	// ID names the fault; made up when empty. A fault with the ID of another
	// replaces it.
	ID string `json:"id"`

	// Matchers; empty matches all. Where the request does not say, package,
	// ICCID and description are those of the order or eSIM it asks for.
	Endpoint    Endpoint `json:"endpoint"`
	PackageID   string   `json:"package_id"`
	ICCID       string   `json:"iccid"`
	Description string   `json:"description"` // whole, as the client sent it

	// Times is how often it fires; 0 is always. Skip lets that many matching
	// requests through first.
	Times int `json:"times"`
	Skip  int `json:"skip"`

	When   When   `json:"when"`
	Action Action `json:"action"`

	// Status, Code and Reason make up the answer of the action Status: with a
	// Code it is E1, and Status may be left out where section 3.2 ties the two;
	// without, what PressOne or a gateway sends with that status.
	Status     int           `json:"status"`
	Code       int           `json:"code"`
	Reason     string        `json:"reason"`
	RetryAfter time.Duration `json:"retry_after"`
	// Body and ContentType replace that answer, byte by byte.
	Body        string `json:"body"`
	ContentType string `json:"content_type"`

	// Delay passes before the action; it ends early when the client leaves.
	Delay time.Duration `json:"delay"`
	// Detached lets the effect of a Slow call happen, at the end of Delay, even
	// if the client has left by then.
	Detached bool `json:"detached"`

	// Hits is how often it has fired.
	Hits int `json:"hits"`
}

// Validate reports a fault that could not do anything sensible.
func (f Fault) Validate() error {
	switch {
	case !slices.Contains(actions, f.Action):
		return fmt.Errorf("pressonesim: fault %q: no action %q", f.ID, f.Action)
	case f.Endpoint != Any && !f.Endpoint.known():
		return fmt.Errorf("pressonesim: fault %q: no endpoint %q", f.ID, f.Endpoint)
	case f.When != "" && f.When != Before && f.When != After:
		return fmt.Errorf("pressonesim: fault %q: no moment %q", f.ID, f.When)
	case f.Action == Status && f.Status == 0 && f.Code == 0:
		return fmt.Errorf("pressonesim: fault %q: neither status nor code", f.ID)
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return fmt.Errorf("pressonesim: fault %q: no status %d", f.ID, f.Status)
	case f.Action == Slow && f.Delay <= 0:
		return fmt.Errorf("pressonesim: fault %q: slow without delay", f.ID)
	case f.Times < 0 || f.Skip < 0 || f.Delay < 0:
		return fmt.Errorf("pressonesim: fault %q: negative number", f.ID)
	}
	return nil
}

// subject is what faults are matched against.
type subject struct {
	endpoint    Endpoint
	packageID   string
	iccid       string
	description string
}

func (f *Fault) matches(s subject, when When) bool {
	if s.endpoint.buys() && f.When != when {
		return false
	}
	return (f.Endpoint == Any || f.Endpoint == s.endpoint) &&
		(f.PackageID == "" || f.PackageID == s.packageID) &&
		(f.ICCID == "" || f.ICCID == s.iccid) &&
		(f.Description == "" || f.Description == s.description)
}

// faults is the list of those injected, tried in the order of injection.
type faults struct {
	mu   sync.Mutex
	list []*injected
	seq  int
}

type injected struct {
	Fault
	seen int
}

func (fs *faults) inject(f Fault) string {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.seq++
	if f.ID == "" {
		f.ID = "fault-" + strconv.Itoa(fs.seq)
	}
	orDefault(&f.When, Before)
	f.Hits = 0
	for i, old := range fs.list {
		if old.ID == f.ID {
			fs.list[i] = &injected{Fault: f}
			return f.ID
		}
	}
	fs.list = append(fs.list, &injected{Fault: f})
	return f.ID
}

// take uses up and returns the first fault that applies, or nil.
func (fs *faults) take(s subject, when When) *Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.list {
		if !f.matches(s, when) || f.Times > 0 && f.Hits >= f.Times {
			continue
		}
		f.seen++
		if f.seen <= f.Skip {
			continue
		}
		f.Hits++
		return new(f.Fault)
	}
	return nil
}

func (fs *faults) all() []Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	list := make([]Fault, len(fs.list))
	for i, f := range fs.list {
		list[i] = f.Fault
	}
	return list
}

// clear removes the fault with the id, or all for an empty one.
func (fs *faults) clear(id string) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	before := len(fs.list)
	fs.list = slices.DeleteFunc(fs.list, func(f *injected) bool { return id == "" || f.ID == id })
	return len(fs.list) < before
}
