package saga

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/trace"
)

// sharing lets callers share a commit: whatever has gathered while the last one was under
// way goes into the next. One alone does not wait, a thousand share; there is no timer.
type sharing struct {
	commit func(batch []*shared)

	mu      sync.Mutex
	waiting []*shared
	running bool
}

// shared is a decision on its way into a commit.
type shared struct {
	decision Decision
	step     trace.Span // that it comes from; nil when nobody looks
	failed   func()     // called if it is not written, before wait returns; may be nil
	taken    bool       // by a commit
	done     chan error // gets one value
}

// end says what became of it, once.
func (w *shared) end(err error) {
	if err != nil && w.failed != nil {
		w.failed()
	}
	w.done <- err
}

// wait returns what became of it.
func (w *shared) wait(ctx context.Context) error {
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func decisionsOf(batch []*shared) []Decision {
	all := make([]Decision, len(batch))
	for i, w := range batch {
		all[i] = w.decision
	}
	return all
}

// maxShared bounds a statement, and with it how long its locks are held.
const maxShared = 256

// add puts a decision into the next commit. Of ctx only its span matters.
func (q *sharing) add(ctx context.Context, d Decision, failed func()) *shared {
	w := &shared{decision: d, step: recorded(ctx), failed: failed, done: make(chan error, 1)}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, w)
	if !q.running {
		q.running = true
		go q.run()
	}
	return w
}

// follow puts what follows from a decision into the same commit, unless that has begun.
func (q *sharing) follow(w *shared, next Decision) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !w.taken {
		w.decision = w.decision.then(next)
	}
	return !w.taken
}

// run commits until nothing waits.
func (q *sharing) run() {
	for {
		batch := q.take()
		if len(batch) == 0 {
			return
		}
		q.commit(batch)
	}
}

// take takes what the next commit has room for. Two decisions about one saga go into two
// commits: the second expects, or contradicts, what the first has done.
func (q *sharing) take() (batch []*shared) {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := make(map[[16]byte]bool, min(len(q.waiting), maxShared))
	left := q.waiting[:0]
	for _, w := range q.waiting {
		id := w.decision.After.ID
		if len(batch) == maxShared || taken[id] {
			left = append(left, w)
			continue
		}
		taken[id], w.taken = true, true
		batch = append(batch, w)
	}
	clear(q.waiting[len(left):])
	q.waiting = left
	q.running = len(batch) > 0
	return batch
}
