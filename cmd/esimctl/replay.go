package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"esimflow/internal/deadletter"
	"esimflow/internal/saga"
)

func newReplayCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "List, show and abort replays of dead letters",
		Long: `List, show and abort replays of dead letters. They are started by "dlq replay" and go on in a
worker, whatever becomes of the program that has started them.`,
	}
	cmd.AddCommand(newReplayListCommand(c), newReplayShowCommand(c), newReplayAbortCommand(c))
	return cmd
}

func newReplayListCommand(c *cli) *cobra.Command {
	return listing[deadletter.Replay]{
		path: "replays", limit: 20, nothing: "There was no replay yet.", write: writeReplays,
	}.command(c, &cobra.Command{Use: "list", Short: "List replays, the latest first"})
}

func writeReplays(w io.Writer, all []deadletter.Replay) error {
	t := table{head: []string{"REPLAY", "STATE", "DONE", "BY", "AGE", "REASON"}, cut: 5}
	for _, r := range all {
		t.add(r.ID.String(), string(r.State), fmt.Sprintf("%d/%d", r.Done, r.Letters), shorten(r.Actor, 12), age(r.CreatedAt), r.Reason)
	}
	return t.write(w)
}

func newReplayShowCommand(c *cli) *cobra.Command {
	return showing(aReplay, c, &cobra.Command{Use: "show ID", Short: "Show a replay, and what became of its letters"}, writeReplayReport)
}

func newReplayAbortCommand(c *cli) *cobra.Command {
	return deciding(aReplay, c, &cobra.Command{
		Use: "abort ID --reason TEXT", Short: "Stop a replay: what has not had its turn stays as it is",
	}, "abort", func(r deadletter.Replay) string {
		return fmt.Sprintf("Replay %s is aborted: %d done, %d left as they were.", r.ID, r.Done, r.Skipped)
	})
}

func writeReplayReport(w io.Writer, r deadletter.ReplayReport) error {
	var started, finished string
	if r.StartedAt != nil {
		started = instant(*r.StartedAt)
	}
	if r.FinishedAt != nil {
		finished = instant(*r.FinishedAt)
	}
	e := r.Ends
	err := writeFields(w,
		"replay", r.ID.String(), "state", string(r.State), "note", r.Note, "by", r.Actor, "reason", r.Reason, "filter", string(r.Filter),
		"rate", fmt.Sprintf("%g a second", r.Rate),
		"letters", fmt.Sprintf("%d: %d done, %d refused, %d failed, %d skipped, %d waiting", r.Letters, r.Done, r.Refused, r.Failed, r.Skipped, r.Waiting()),
		"sagas", fmt.Sprintf("%d completed, %d stopped again, %d discarded, %d under way; %d published as new requests",
			e.Completed, e.Stopped, e.Discarded, e.UnderWay, e.Published),
		"worker", r.Worker, "created", instant(r.CreatedAt), "started", started, "finished", finished)
	if err != nil || len(r.Set) == 0 {
		return err
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	t := table{head: []string{"DEAD LETTER", "REQUEST", "CODE", "RESULT"}}
	for _, l := range r.Set {
		t.add(l.Letter.String(), shorten(l.RequestID, 16), l.Code, fateOf(l))
	}
	return t.write(w)
}

// fateOf says what became of a letter.
func fateOf(l deadletter.ReplayLetter) string {
	switch {
	case l.State != deadletter.Released && l.Why != "":
		return fmt.Sprintf("%s: %s", l.State, l.Why)
	case l.State != deadletter.Released:
		return string(l.State)
	case l.SagaID == nil:
		return "→ " + l.MovedTo + ", as a new request"
	case l.Saga == saga.DeadLettered && l.Again != "":
		return fmt.Sprintf("→ %s … %s again, with code %s", l.MovedTo, l.Saga, l.Again)
	}
	return fmt.Sprintf("→ %s … %s", l.MovedTo, l.Saga)
}
