package pressonesim

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Chaos spoils calls at random. Which calls is decided by Seed and the order of
// their arrival alone. It never lies about effects: answers that mean "nothing
// was done" (429, code 13) come before the effect only.
type Chaos struct {
	// Rate is the share of calls to spoil, 0 to 1.
	Rate float64 `json:"rate"`
	Seed uint64  `json:"seed"`
	// Actions to choose from; none means all but Hang.
	Actions []Action `json:"actions"`
	// SlowFor is the delay of Slow (1s).
	SlowFor time.Duration `json:"slow_for"`
	// Reads spoils GETs too; else only the two calls that buy.
	Reads bool `json:"reads"`
}

// Validate reports a chaos that could not do anything sensible.
func (c Chaos) Validate() error {
	if c.Rate < 0 || c.Rate > 1 {
		return fmt.Errorf("pressonesim: chaos: rate %g", c.Rate)
	}
	for _, a := range c.Actions {
		if !slices.Contains(actions, a) {
			return fmt.Errorf("pressonesim: chaos: no action %q", a)
		}
	}
	return nil
}

// chaosAnswer is one answer of the action Status.
type chaosAnswer struct {
	status, code int
	retryAfter   time.Duration
}

// ambiguous answers may follow an order that was made as well as one that was
// not (section 3.3); harmless ones only the latter.
var (
	ambiguous = []chaosAnswer{
		{status: http.StatusInternalServerError},
		{status: http.StatusBadGateway},
		{status: http.StatusServiceUnavailable},
		{status: http.StatusGatewayTimeout},
		{status: http.StatusInternalServerError, code: 5001},
		{status: http.StatusServiceUnavailable, code: 4033},
		{status: http.StatusUnprocessableEntity, code: 53},
		{status: http.StatusConflict},
	}
	harmless = []chaosAnswer{
		{status: http.StatusTooManyRequests, code: 4004, retryAfter: time.Second},
		{status: http.StatusTooManyRequests},
		{status: http.StatusUnprocessableEntity, code: 13},
	}
)

// dice is a Chaos being played.
type dice struct {
	mu    sync.Mutex
	chaos Chaos
	rng   *rand.Rand
}

func (d *dice) set(c Chaos) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(c.Actions) == 0 {
		c.Actions = slices.DeleteFunc(slices.Clone(actions), func(a Action) bool { return a == Hang })
	}
	orDefault(&c.SlowFor, time.Second)
	c.Actions = slices.Clone(c.Actions)
	d.chaos, d.rng = c, rand.New(rand.NewPCG(c.Seed, 0x5eed))
}

func (d *dice) current() Chaos {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.chaos
}

// roll decides about one call. It draws the same number of values whatever
// comes out, so that calls do not disturb one another's luck.
func (d *dice) roll(e Endpoint) *Fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.chaos
	if c.Rate == 0 || e == Token || !e.buys() && !c.Reads {
		return nil
	}
	hit, action, moment, answer := d.rng.Float64() < c.Rate, d.rng.IntN(1<<30), d.rng.IntN(2), d.rng.IntN(1<<30)
	if !hit {
		return nil
	}
	f := &Fault{ID: "chaos", When: Before, Action: c.Actions[action%len(c.Actions)]}
	if moment == 1 {
		f.When = After
	}
	switch f.Action {
	case Slow:
		f.Delay = c.SlowFor
	case Status:
		choice := ambiguous
		if f.When == Before {
			choice = slices.Concat(ambiguous, harmless)
		}
		a := choice[answer%len(choice)]
		f.Status, f.Code, f.RetryAfter = a.status, a.code, a.retryAfter
	case Drop, Garbled, MissingID, Redirect, Hang:
	}
	return f
}
