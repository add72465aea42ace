package bench

import (
	"context"
	"errors"
	"fmt"

	"esimflow/internal/message"
)

const completedSQL = `
SELECT count(*)
FROM saga
WHERE kind IN ('order', 'topup') AND request_id >= $1 AND request_id < $2 AND state = 'completed'`

// verify says everything that is not as it must be after a run: a result for every request
// and no other, every saga completed, everything sold once, no dead letter, nothing left.
func (r *run) verify(ctx context.Context, got results) (wrong []string, err error) {
	check := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	n := r.cfg.N
	check(got.distinct == n, "%d requests of %d have completed", got.distinct, n)
	check(got.again == 0, "%d completions came twice", got.again)
	check(got.foreign == 0, "%d results are of no request of this run", got.foreign)
	check(got.failed == 0, "%d failed: %s", got.failed, got.example)
	results, err := lastOf(ctx, r.js, message.EventsStream)
	if err != nil {
		return nil, err
	}
	check(results-r.start.results == uint64(n), "%d results are on the stream, not %d", results-r.start.results, n)
	letters, err := lastOf(ctx, r.js, message.DeadLettersStream)
	if err != nil {
		return nil, err
	}
	check(letters == r.start.letters, "%d dead letters are on the stream", letters-r.start.letters)

	var b books
	if err := r.provider.ask(ctx, "books", &b); err != nil {
		return nil, err
	}
	check(b.Sold-r.start.books.Sold == n, "PressOne has sold %d, not %d", b.Sold-r.start.books.Sold, n)
	check(b.Doubles == r.start.books.Doubles, "PressOne has sold %d twice", b.Doubles-r.start.books.Doubles)
	for endpoint, calls := range b.Requests {
		if calls -= r.start.books.Requests[endpoint]; calls > 0 {
			r.figures.Calls[string(endpoint)] = float64(calls) / float64(n)
			r.figures.ProviderCalls += float64(calls) / float64(n)
		}
	}

	conn, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	completed, err := one[int](ctx, conn, completedSQL, r.batch.prefix, r.batch.prefix+"~") // digits come before ~
	if err != nil {
		return nil, err
	}
	check(completed == n, "%d sagas of %d are completed", completed, n)
	left, err := one[int](ctx, conn, outboxSQL)
	if err != nil {
		return nil, err
	}
	check(left == 0, "%d messages are left in the outbox", left)
	dead, err := one[int](ctx, conn, deadLettersSQL)
	if err != nil {
		return nil, err
	}
	check(dead == r.start.dead, "there are %d dead letters", dead-r.start.dead)
	return wrong, nil
}
