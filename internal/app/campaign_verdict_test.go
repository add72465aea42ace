package app_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"esimflow/internal/saga"
)

// campaignFinding is something that is not as it has to be, and the saga that it is about,
// if it is about one.
type campaignFinding struct {
	saga uuid.UUID
	text string
}

func (c *campaign) find(id uuid.UUID, format string, args ...any) {
	c.findings = append(c.findings, campaignFinding{id, fmt.Sprintf(format, args...)})
}

// deliver fails the test if anything was found, and shows what is needed to understand it.
func (c *campaign) deliver(b books) {
	c.t.Helper()
	c.mu.Lock()
	problems := slices.Clone(c.problems)
	c.mu.Unlock()
	if len(problems)+len(c.findings) == 0 {
		return
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%d problems, %d findings\n", len(problems), len(c.findings))
	for _, p := range problems[:min(len(problems), 20)] {
		fmt.Fprintf(&out, "problem: %s\n", p)
	}
	shown := map[uuid.UUID]bool{}
	for i, f := range c.findings {
		if i < 40 {
			fmt.Fprintf(&out, "finding: %s %s\n", f.saga, f.text)
		}
		if f.saga != uuid.Nil && len(shown) < 4 {
			shown[f.saga] = true
		}
	}
	for id := range shown {
		c.tellSaga(&out, b, id)
	}
	fmt.Fprintf(&out, "\nwhat was done, by seed %d:\n%s\n", c.seed, strings.Join(c.diary, "\n"))
	for _, p := range c.programs {
		fmt.Fprintf(&out, "\nthe end of %s's log:\n%s\n", p.name, p.log.tail(15, ""))
	}
	c.t.Error(out.String())
}

// stamp is a time as the programs log it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// tellSaga shows a saga's timeline, what PressOne saw and sold, and what the programs logged
// about it.
func (c *campaign) tellSaga(out *strings.Builder, b books, id uuid.UUID) {
	s := b.sagas[id]
	fmt.Fprintf(out, "\nsaga %s: %s %s, %s, order %d\n", id, s.Kind, s.RequestID, s.State, s.OrderID)
	saga.WriteTimeline(out, b.history[id], true)
	for _, post := range c.provider.seen(s.Reference) {
		fmt.Fprintf(out, "PressOne got a submission at %s, and answered %d after %s\n", stamp(post.At), post.Status, post.Took)
	}
	for _, o := range slices.Concat(b.ledger.Sold, b.ledger.Failed) {
		if o.Sent == s.Reference || int64(o.ID) == s.OrderID {
			fmt.Fprintf(out, "PressOne's order %d at %s: %s %s of %s, %s\n", o.ID, stamp(o.CreatedAt.Add(-c.skew)), o.Status, o.Kind, o.PackageID, o.Sent)
		}
	}
	for _, p := range c.programs {
		if text := p.log.tail(30, id.String()); text != "" {
			fmt.Fprintf(out, "%s:\n%s\n", p.name, text)
		}
	}
}

// campaignLong is how long a campaign has to be to have everything in it.
const campaignLong = 2 * time.Minute

// report prints what happened, and fails if that was too little.
func (c *campaign) report() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for name := range c.tally {
		names = append(names, name)
	}
	slices.Sort(names)
	var out strings.Builder
	for _, name := range names {
		fmt.Fprintf(&out, "%6d %s\n", c.tally[name], name)
	}
	var end []string // how the end came
	for i, line := range c.diary {
		if strings.HasSuffix(line, campaignCalm) {
			end = c.diary[i:]
		}
	}
	c.t.Logf("%s of trouble, then:\n%s\n\n%s", c.length, strings.Join(end, "\n"), out.String())
	if c.length < campaignLong {
		return // chance may deny anything in a short time
	}
	for _, name := range []string{
		"event worker_lost", "event outcome_unknown", "event found", "event not_found", "event proved_absent", "event replayed",
		"fault kill -9 worker", "fault kill -9 publisher", "fault SIGSTOP worker", "fault SIGSTOP publisher",
		"fault Postgres crashes", "fault NATS restarts", "fault link cut", "fault clock steps", "request duplicate", "request conflict", "request malformed",
	} {
		require.Positive(c.t, c.tally[name], "nothing was tested: %s", name)
	}
}
