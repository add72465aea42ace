package ops

import (
	"context"
	"sync"
	"time"
)

// cached keeps a value for a while, so that many who look cost as much as one, and wait as long.
type cached[T any] struct {
	max      time.Duration // how old a value may be
	patience time.Duration // how long reading may take

	mu      sync.Mutex
	at      time.Time
	value   T
	reading *reading[T] // nil: nobody reads
}

// reading is a value that somebody reads now. Its result is there when done is closed.
type reading[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// get returns the value, read anew if it is too old. Who comes meanwhile is told what the one
// who reads it is told, which does not end when that one leaves.
func (c *cached[T]) get(ctx context.Context, read func(context.Context) (T, error)) (T, error) {
	c.mu.Lock()
	if !c.at.IsZero() && time.Since(c.at) < c.max {
		defer c.mu.Unlock()
		return c.value, nil
	}
	now, mine := c.reading, false
	if now == nil {
		now, mine = &reading[T]{done: make(chan struct{})}, true
		c.reading = now
	}
	c.mu.Unlock()
	if mine {
		c.read(ctx, now, read)
	}
	select {
	case <-now.done:
		return now.value, now.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

func (c *cached[T]) read(ctx context.Context, now *reading[T], read func(context.Context) (T, error)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.patience)
	defer cancel()
	now.err = context.Canceled // if it panics
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.reading == now { // it was not forgotten meanwhile
			c.reading = nil
			if now.err == nil {
				c.value, c.at = now.value, time.Now()
			}
		}
		close(now.done)
	}()
	now.value, now.err = read(ctx)
}

// forget has the value read anew, by whoever comes next.
func (c *cached[T]) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.reading = time.Time{}, nil
}
