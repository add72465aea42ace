package ops

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"

	"esimflow/internal/audit"
	"esimflow/internal/deadletter"
	"esimflow/internal/outbox"
	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// overviewView is the whole system at a moment.
type overviewView struct {
	At       time.Time
	Flow     []saga.Tally // in the order of the flow, empty ones too
	Open     int          // in all of them
	Pace     pace
	Groups   []deadletter.Group
	Letters  int // in all groups
	Gate     pressone.View
	Outbox   outbox.Backlog
	Intake   []IntakeLag // nil: it could not be read
	Lag      uint64      // in all of it
	Balance  []figure    // nil: it is not measured
	Exposure []figure    // nil: it is not measured
	Findings []audit.Finding
	Audited  *audit.Run // the last complete one
	Replays  []deadletter.Replay
}

// Unknown is how many submissions may have bought something, and nobody knows: sagas that
// look for it, and open dead letters.
func (v overviewView) Unknown() int {
	n := 0
	for _, t := range v.Flow {
		if t.State == saga.Unknown {
			n += t.Count
		}
	}
	for _, g := range v.Groups {
		n += g.Unknown
	}
	return n
}

// Priced reports whether the exposure says what they come to.
func (v overviewView) Priced() bool {
	return slices.ContainsFunc(v.Exposure, func(f figure) bool { return f.Amount != "0" })
}

// Most is where counting stops.
func (overviewView) Most() int { return saga.MostTallied }

// showOverview reads at most every few seconds, however many look.
func (c *console) showOverview(w http.ResponseWriter, r *http.Request) error {
	v, err := c.overview.get(r.Context(), c.readOverview)
	if err != nil {
		return err
	}
	return c.show(w, r, http.StatusOK, "overview", view{Title: "Overview", Section: "overview", Live: true, Data: v})
}

// flow is the states that sagas pass on their way, those that are over aside.
var flow = []saga.State{saga.Pending, saga.Submitting, saga.Unknown, saga.Polling, saga.Notifying}

func (c *console) readOverview(ctx context.Context) (v overviewView, err error) {
	v.At = c.Now()
	tallies, err := c.Store.Tallies(ctx)
	if err != nil {
		return v, err
	}
	for _, state := range flow {
		t := saga.Tally{State: state}
		for _, one := range tallies {
			if one.State == state {
				t = one
			}
		}
		v.Flow = append(v.Flow, t)
		v.Open += t.Count
	}
	minutes, whole, err := c.Store.Pace(ctx, v.At.Add(-paced*time.Minute))
	if err != nil {
		return v, err
	}
	v.Pace = paceOf(minutes, whole)
	if v.Groups, err = c.Desk.Groups(ctx, deadletter.Filter{}); err != nil {
		return v, err
	}
	for _, g := range v.Groups {
		v.Letters += g.Count
	}
	if v.Gate, err = c.Gate.View(ctx); err != nil {
		return v, err
	}
	if v.Outbox, err = outbox.ReadBacklog(ctx, c.DB); err != nil {
		return v, err
	}
	if v.Findings, err = c.Auditor.Findings(ctx, audit.Open, 100); err != nil {
		return v, err
	}
	runs, err := c.Auditor.Runs(ctx, 10)
	if err != nil {
		return v, err
	}
	if i := slices.IndexFunc(runs, func(r audit.Run) bool { return r.State == "done" }); i >= 0 {
		v.Audited = &runs[i]
	}
	if c.Lag != nil { // NATS may be away: that is one of the things to be seen here
		v.Intake, _ = c.Lag(ctx)
		for _, l := range v.Intake {
			v.Lag += l.Waiting + uint64(max(0, l.InHand))
		}
	}
	v.Balance, v.Exposure = c.money()
	return v, c.readReplays(ctx, &v)
}

// paced is how many minutes the overview looks back.
const paced = 30

// bar is a minute of the pace, as it is drawn: heights are of barHeight.
type bar struct {
	saga.Minute

	X                int
	Good, Bad, Other int // heights, from the bottom up
	BadY, OtherY     int
	GoodY            int
}

// The picture's measures, in its own units.
const (
	barWidth  = 10
	barGap    = 3
	barHeight = 64
)

// pace is what was accepted lately.
type pace struct {
	Bars      []bar // the earliest first
	Width     int
	Most      int // in one minute
	PerMinute int // over the last five
	Accepted  int
	Completed int
	Stopped   int
	Whole     bool
}

// Open is how many of those that were accepted are still on their way.
func (p pace) Open() int { return p.Accepted - p.Completed - p.Stopped }

func paceOf(minutes []saga.Minute, whole bool) pace {
	p := pace{Whole: whole, Width: paced * (barWidth + barGap)}
	by := map[int]saga.Minute{}
	for _, m := range minutes {
		if m.Ago < 0 || m.Ago >= paced {
			continue
		}
		by[m.Ago] = m
		p.Most = max(p.Most, m.Accepted)
		p.Accepted += m.Accepted
		p.Completed += m.Completed
		p.Stopped += m.Stopped
	}
	for ago := range 5 {
		p.PerMinute += by[ago].Accepted
	}
	p.PerMinute = (p.PerMinute + 4) / 5
	scale := func(n int) int {
		if n == 0 {
			return 0
		}
		return max(1, n*barHeight/p.Most)
	}
	for i := range paced {
		m := by[paced-1-i]
		m.Ago = paced - 1 - i
		b := bar{Minute: m, X: i * (barWidth + barGap)}
		b.Good, b.Bad, b.Other = scale(m.Completed), scale(m.Stopped), scale(m.Accepted-m.Completed-m.Stopped)
		b.GoodY = barHeight - b.Good
		b.OtherY = b.GoodY - b.Other
		b.BadY = b.OtherY - b.Bad
		p.Bars = append(p.Bars, b)
	}
	return p
}

// figure is an amount of money that was measured.
type figure struct{ Amount, Currency string }

// money reads what this worker has measured, under the names of the metrics: the console
// shows what the alerts go by.
func (c *console) money() (balance, exposure []figure) {
	if c.Gather == nil {
		return nil, nil
	}
	families, err := c.Gather.Gather()
	if err != nil && len(families) == 0 {
		return nil, nil
	}
	for _, f := range families {
		switch f.GetName() {
		case "esimflow_provider_balance":
			balance = figures(f)
		case "esimflow_unknown_exposure":
			exposure = figures(f)
		}
	}
	return balance, exposure
}

func figures(f *dto.MetricFamily) []figure {
	var all []figure
	for _, m := range f.GetMetric() {
		one := figure{Amount: strconv.FormatFloat(m.GetGauge().GetValue(), 'f', 2, 64)}
		for _, l := range m.GetLabel() {
			if l.GetName() == "currency" {
				one.Currency = l.GetValue()
			}
		}
		all = append(all, one)
	}
	if some := slices.DeleteFunc(slices.Clone(all), func(f figure) bool { return f.Amount == "0.00" }); len(some) > 0 {
		return some
	}
	if len(all) == 0 {
		return nil
	}
	return []figure{{Amount: "0"}} // in whatever currency
}
