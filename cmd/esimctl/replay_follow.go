package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"esimflow/internal/deadletter"
)

// How often a replay that is followed is looked at.
const (
	firstLook = 200 * time.Millisecond
	lastLook  = 2 * time.Second
)

// followReplay shows a replay's progress until its sagas have ended, prints what became of
// its letters, and says it with the exit code.
func (c *cli) followReplay(ctx context.Context, job deadletter.Replay, timeout time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	bar := newBar(c.err)
	report := deadletter.ReplayReport{Replay: job}
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		now, err := get[deadletter.ReplayReport](waiting, c, "replays/"+job.ID.String(), query("set", "no"))
		switch {
		case err == nil:
			report = now
		case waiting.Err() == nil:
			bar.done()
			return fmt.Errorf("%w\nThe replay goes on in a worker: esimctl replay show %s", err, job.ID)
		}
		drawReplay(bar, report)
		if report.State != deadletter.Running && report.Ends.UnderWay == 0 || !sleep(waiting, pause) {
			break
		}
	}
	bar.done()
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: the replay goes on in a worker: esimctl replay show %s, or abort", job.ID)
	}
	whole, err := get[deadletter.ReplayReport](ctx, c, "replays/"+job.ID.String(), nil)
	if err != nil {
		return err
	}
	if err := c.print(whole, func(w io.Writer) error { return writeReplayed(w, whole) }); err != nil {
		return err
	}
	if whole.Note != "" {
		c.say("%s", plain(whole.Note))
	}
	return replayEnd(whole, timeout)
}

// replayEnd says what is not as it was wanted, with the exit code for it.
func replayEnd(r deadletter.ReplayReport, timeout time.Duration) error {
	e := r.Ends
	left, good := r.Refused+r.Failed+r.Skipped, e.Completed+e.Published
	switch {
	case r.State == deadletter.Running:
		return fmt.Errorf("%d of %d letters have not had their turn within %s; it goes on all the same: esimctl replay show %s",
			r.Waiting(), r.Letters, timeout, r.ID)
	case r.Done == 0:
		return exitf(exitRefused, "none of %d was replayed", r.Letters)
	case e.UnderWay > 0:
		return fmt.Errorf("%d of %d have not ended within %s; they go on all the same", e.UnderWay, r.Done, timeout)
	case left > 0:
		return exitf(exitPartly, "%d replayed, %d refused, %d failed, %d skipped", r.Done, r.Refused, r.Failed, r.Skipped)
	case good == 0:
		return errors.New("none of them ended completed")
	case good < r.Done:
		return exitf(exitPartly, "%d of %d did not end completed", r.Done-good, r.Done)
	}
	return nil
}

func writeReplayed(w io.Writer, r deadletter.ReplayReport) error {
	t := table{head: []string{"DEAD LETTER", "REQUEST", "RESULT"}}
	for _, l := range r.Set {
		t.add(l.Letter.String(), shorten(l.RequestID, 24), fateOf(l))
	}
	return t.write(w)
}

// drawReplay shows how far a replay is: its sagas that have ended, of all its letters.
func drawReplay(b *bar, r deadletter.ReplayReport) {
	had := r.Letters - r.Waiting()
	text := fmt.Sprintf("%d of %d had their turn, %d completed, %d under way", had, r.Letters, r.Ends.Completed, r.Ends.UnderWay)
	if r.State == deadletter.Running && r.Note != "" {
		text += "; " + r.Note
	}
	b.draw(had-r.Ends.UnderWay, r.Letters, text)
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
