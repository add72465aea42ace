package saga

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Policy is the numbers that decisions go by.
type Policy struct {
	SubmitTimeout time.Duration // from the intent's commit to its deadline
	ListLag       time.Duration // an order is listed that long after PressOne answered
	SettleDelay   time.Duration // an order is listed that long after PressOne received it
	AbsenceLooks  int           // complete look-ups that prove an order absent
	Hold          bool          // UNKNOWN_POLICY=hold: an operator confirms absence, not we

	RetryInitial time.Duration
	RetryMax     time.Duration
	MaxTries     int
	Deadline     time.Duration // SAGA_DEADLINE

	PollInitial  time.Duration
	PollMax      time.Duration
	PollDeadline time.Duration
}

// slowness is how much slower maintenance is backed off from.
const slowness = 10

// retryDelay is the delay before try n+1 after n failures in a row: exponential with full
// jitter. roll is a random number in [0, 1).
func (p Policy) retryDelay(n int, roll float64, slow bool) time.Duration {
	initial, longest := p.RetryInitial, p.RetryMax
	if slow {
		initial, longest = initial*slowness, longest*slowness
	}
	return time.Duration(roll * float64(interval(initial, longest, n)))
}

// longestQueue is the longest that a top-up waits for another one of its eSIM before it looks again.
const longestQueue = time.Minute

// longestWait is the longest that a saga in this state is meant to wait, unless PressOne
// says that it has to be longer; the gate sees to that.
func (p Policy) longestWait(s State) time.Duration {
	if s == Pending {
		return max(p.RetryMax*slowness, longestQueue)
	}
	return max(p.RetryMax, p.PollMax, p.SubmitTimeout+max(p.SettleDelay, p.ListLag))
}

// pollDelay is the delay before the next poll after n polls that did not see it ready.
// At least half of it is waited: a poll has nothing to avoid by going at once.
func (p Policy) pollDelay(n int, roll float64) time.Duration {
	return time.Duration((0.5 + roll/2) * float64(interval(p.PollInitial, p.PollMax, n)))
}

// interval is the n-th interval, from 1. backoff is only the calculator: the due time is
// persisted, so a waiting saga holds no goroutine and survives a restart.
func interval(initial, longest time.Duration, n int) time.Duration {
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(initial),
		backoff.WithMaxInterval(longest),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0), // the jitter is ours, so that deciding is pure
		backoff.WithMaxElapsedTime(0),      // it would stop by itself after 15 minutes
	)
	d := b.NextBackOff()
	for i := 1; i < n && d < longest; i++ {
		d = b.NextBackOff()
	}
	return min(d, longest)
}
