package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"esimflow/internal/deadletter"
	"esimflow/internal/ops"
	"esimflow/internal/saga"
)

// replayedLetter is what became of one letter, and with --wait of its saga.
type replayedLetter struct {
	deadletter.Result
	State saga.State `json:"state,omitempty"`    // of the saga, in the end
	Again string     `json:"end_code,omitempty"` // why it was dead-lettered again
}

func replays(results []deadletter.Result) []replayedLetter {
	all := make([]replayedLetter, 0, len(results))
	for _, r := range results {
		all = append(all, replayedLetter{Result: r})
	}
	return all
}

// replayChunk is how many letters one call replays while there is no rate: few enough to
// be done well within the client's patience.
const replayChunk = 50

// replay replays the letters of the preview that are not refused, and returns those that
// were dealt with, refused ones included. The error is about the next one.
func (c *cli) replay(ctx context.Context, cl *client, preview []deadletter.Result, by deadletter.By, perSecond float64) ([]replayedLetter, error) {
	var all []replayedLetter
	var ids []uuid.UUID
	for _, r := range preview {
		if r.Why != "" {
			all = append(all, replayedLetter{Result: r})
		} else {
			ids = append(ids, r.ID)
		}
	}
	limit, size := rate.Inf, replayChunk
	if perSecond > 0 {
		limit, size = rate.Limit(perSecond), 1
	}
	pace := rate.NewLimiter(limit, 1)
	told, count := time.Now(), 0
	for chunk := range slices.Chunk(ids, size) {
		if err := pace.Wait(ctx); err != nil {
			return all, fmt.Errorf("interrupted after %d of %d", count, len(ids))
		}
		results, err := post[[]deadletter.Result](ctx, cl, "dead-letters/replay",
			ops.ReplayRequest{Filter: deadletter.Filter{IDs: chunk}, By: by})
		if err != nil {
			return all, fmt.Errorf("%w\nOf the next %s some may have been replayed: "+
				"saying it again is safe, it finds those that are still open", err, letters(len(chunk)))
		}
		all = append(all, replays(results)...)
		if n := len(results); n > 0 && results[n-1].Failed {
			return all, fmt.Errorf("the worker could not replay %s: %s", results[n-1].ID, results[n-1].Why)
		}
		count += len(chunk)
		if time.Since(told) > 2*time.Second {
			c.say("%d of %d …", count, len(ids))
			told = time.Now()
		}
	}
	return all, nil
}

// replayed waits if that is wanted, prints what became of the letters, and says it with
// the exit code. failed is why not all were dealt with, or nil.
func (c *cli) replayed(ctx context.Context, cl *client, o replayOptions, all []replayedLetter, failed error) error {
	done, refused := 0, 0
	for _, r := range all {
		switch {
		case r.Done:
			done++
		case !r.Failed:
			refused++
		}
	}
	var waited error
	if o.wait && done > 0 && failed == nil {
		c.say("%s replayed; waiting for the sagas …", letters(done))
		waited = c.awaitSagas(ctx, cl, all, o.timeout)
	}
	if err := c.printReplay(all); err != nil {
		return err
	}
	switch {
	case failed != nil && done > 0:
		return &exitError{exitPartly, fmt.Errorf("%d replayed, %d refused, and then: %w", done, refused, failed)}
	case failed != nil:
		return failed
	case done == 0:
		return exitf(exitRefused, "all %d were refused", refused)
	case refused > 0:
		return exitf(exitPartly, "%d replayed, %d refused", done, refused)
	case waited != nil:
		return waited
	}
	c.say("%s replayed.", letters(done))
	return nil
}

// How often sagas that are waited for are looked at.
const (
	firstLook = 200 * time.Millisecond
	lastLook  = 5 * time.Second
)

// awaitSagas waits until the replayed sagas have ended and fills in how. The error says
// which did not end completed.
func (c *cli) awaitSagas(ctx context.Context, cl *client, all []replayedLetter, timeout time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var open int
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		open = 0
		for i := range all {
			r := &all[i]
			if !r.Done || r.SagaID == nil || ended(r.State) {
				continue
			}
			v, err := get[ops.SagaView](waiting, cl, "sagas/"+r.SagaID.String(), nil)
			if err != nil && waiting.Err() == nil {
				return err
			}
			if err == nil {
				r.State = v.State
				if n := len(v.Timeline); n > 0 && v.State == saga.DeadLettered {
					r.Again = v.Timeline[n-1].Code
				}
			}
			if !ended(r.State) {
				open++
			}
		}
		if open == 0 || !sleep(waiting, pause) {
			break
		}
	}
	completed, others := 0, 0
	for _, r := range all {
		switch {
		case !r.Done || r.SagaID == nil:
		case r.State == saga.Completed:
			completed++
		default:
			others++
		}
	}
	switch {
	case others == 0:
		return nil
	case ctx.Err() != nil:
		return errors.New("interrupted: the sagas go on all the same")
	case open > 0:
		return fmt.Errorf("%d of %d have not ended within %s; they go on all the same", open, completed+others, timeout)
	case completed > 0:
		return exitf(exitPartly, "%d of %d did not end completed", others, completed+others)
	}
	return errors.New("none of them ended completed")
}

// ended reports whether nothing happens to a saga in state s by itself.
func ended(s saga.State) bool {
	return s == saga.Completed || s == saga.DeadLettered || s == saga.Discarded
}

// sleep waits for d and reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *cli) printReplay(all []replayedLetter) error {
	t := table{head: []string{"DEAD LETTER", "REQUEST", "RESULT"}}
	for _, r := range all {
		t.add(r.ID.String(), shorten(r.RequestID, 24), r.outcome())
	}
	return c.print(all, t.write)
}

func (r replayedLetter) outcome() string {
	switch {
	case r.Failed:
		return "failed: " + r.Why
	case r.Why != "":
		return "refused: " + r.Why
	case r.SagaID == nil:
		return "→ " + r.To + ", as a new request"
	case r.Again != "":
		return fmt.Sprintf("→ %s … %s again, with code %s", r.To, r.State, r.Again)
	case r.State != "":
		return fmt.Sprintf("→ %s … %s", r.To, r.State)
	}
	return "→ " + r.To
}
