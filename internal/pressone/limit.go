package pressone

import (
	"context"
	"fmt"
	"math"
	"sync"

	"golang.org/x/time/rate"
)

// Limiter is this worker's share of the account's rate. It is shared by number: every live worker takes the same share, and
// is told how many there are. A nil Limiter limits nothing.
//
// Reads wait in the client. A submission does not: whoever submits waits before it commits the intent, so that the intent's
// deadline is not spent in a queue.
type Limiter struct {
	account float64 // requests a second for the account; 0: unlimited

	mu      sync.Mutex
	workers int
	limiter *rate.Limiter
}

// NewLimiter returns a limiter for an account that may make perSecond requests a second, all of them by this worker until
// SetWorkers says otherwise. 0 is unlimited.
func NewLimiter(perSecond float64) *Limiter {
	l := &Limiter{account: perSecond, limiter: rate.NewLimiter(rate.Limit(perSecond), 1)} // a worker that starts brings no burst
	l.SetWorkers(1)
	return l
}

// SetWorkers says how many workers share the account's rate; less than one is one.
func (l *Limiter) SetWorkers(n int) {
	if l == nil || l.account <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n = max(n, 1)
	if n == l.workers {
		return
	}
	l.workers = n
	share := l.account / float64(n)
	l.limiter.SetLimit(rate.Limit(share))
	l.limiter.SetBurst(max(1, int(math.Ceil(share))))
}

// Wait waits for this worker's turn. It fails when ctx ends first, or would.
func (l *Limiter) Wait(ctx context.Context) error {
	if l == nil || l.account <= 0 {
		return nil
	}
	if err := l.limiter.Wait(ctx); err != nil {
		return fmt.Errorf("pressone: rate limit: %w", err)
	}
	return nil
}
