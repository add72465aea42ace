package app_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"

	"esimflow/internal/app"
	"esimflow/internal/pressonesim"
)

// campaignFault is a kind of trouble. It befalls one target at a time, lasts for some
// time between short and long, and is then undone, or done with if do returns nil.
type campaignFault struct {
	name        string
	weight      int // how often, against the others
	target      campaignTarget
	short, long time.Duration
	do          func(c *campaign, target int, roll *rand.Rand) (undo func() error, err error)
}

// campaignTarget is what a fault befalls.
type campaignTarget string

// The targets.
const (
	campaignWorker    campaignTarget = "worker"
	campaignPublisher campaignTarget = "publisher"
	campaignNetwork   campaignTarget = "link"
	campaignHop       campaignTarget = "relay"
	campaignPostgres  campaignTarget = "Postgres"
	campaignNATS      campaignTarget = "NATS"
	campaignPressOne  campaignTarget = "PressOne"
)

// targets is how many there are of each; the indices of workers and publishers are those
// of campaign.programs, workers first.
func (c *campaign) targets(t campaignTarget) (first, n int) {
	switch t {
	case campaignWorker:
		return 0, 3
	case campaignPublisher:
		return 3, 2
	case campaignNetwork:
		return 0, len(c.links)
	case campaignHop:
		return 0, len(c.relays)
	case campaignPostgres, campaignNATS, campaignPressOne:
	}
	return 0, 1
}

// campaignFaults is everything that goes wrong, beside what the simulator does to three in
// ten of all calls.
var campaignFaults = []campaignFault{
	{"kill -9 worker", 14, campaignWorker, 100 * time.Millisecond, 1500 * time.Millisecond, killAndStart},
	{"kill -9 publisher", 6, campaignPublisher, 100 * time.Millisecond, 1500 * time.Millisecond, killAndStart},
	{"SIGTERM worker", 4, campaignWorker, 0, 500 * time.Millisecond, stopAndStart},
	{"SIGTERM publisher", 2, campaignPublisher, 0, 500 * time.Millisecond, stopAndStart},
	{"SIGSTOP worker", 9, campaignWorker, campaignLease + 500*time.Millisecond, 5 * campaignLease, freeze},
	{"SIGSTOP publisher", 5, campaignPublisher, 3500 * time.Millisecond, 7 * time.Second, freeze},
	{"clock steps", 7, campaignWorker, 2 * time.Second, 20 * time.Second, stepClock},

	{"Postgres crashes", 4, campaignPostgres, 50 * time.Millisecond, 2 * time.Second, func(c *campaign, _ int, _ *rand.Rand) (func() error, error) {
		return func() error { return c.pg.Start(context.Background()) }, c.pg.StopImmediate()
	}},
	{"Postgres connections killed", 8, campaignPostgres, 0, 0, killBackends},
	{"NATS restarts", 4, campaignNATS, 50 * time.Millisecond, 2 * time.Second, func(c *campaign, _ int, _ *rand.Rand) (func() error, error) {
		c.nats.Stop()
		return c.nats.Start, nil
	}},

	// All data are lost, both ways, and nobody is told.
	{"link cut", 9, campaignNetwork, 300 * time.Millisecond, 5 * time.Second, spoilLink(campaignBoth, "timeout", func(*rand.Rand) string { return `{"timeout":0}` })},
	// What is asked arrives, what is answered does not.
	{"link loses answers", 9, campaignNetwork, 300 * time.Millisecond, 4 * time.Second, spoilLink(campaignDown, "timeout", func(*rand.Rand) string { return `{"timeout":0}` })},
	{"link delays", 8, campaignNetwork, time.Second, 5 * time.Second, spoilLink(campaignBoth, "latency", func(r *rand.Rand) string {
		return fmt.Sprintf(`{"latency":%d,"jitter":%d}`, 20+r.IntN(400), r.IntN(20))
	})},
	{"link trickles", 4, campaignNetwork, time.Second, 4 * time.Second, spoilLink(campaignBoth, "bandwidth", func(r *rand.Rand) string {
		return fmt.Sprintf(`{"rate":%d}`, 2+r.IntN(20))
	})},
	{"link slices", 3, campaignNetwork, time.Second, 4 * time.Second, spoilLink(campaignBoth, "slicer", func(r *rand.Rand) string {
		return fmt.Sprintf(`{"average_size":%d,"size_variation":7,"delay":%d}`, 8+r.IntN(100), r.IntN(500))
	})},
	{"link breaks off requests", 4, campaignNetwork, time.Second, 3 * time.Second, spoilLink(campaignUp, "limit_data", fewBytes)},
	{"link breaks off answers", 5, campaignNetwork, time.Second, 3 * time.Second, spoilLink(campaignDown, "limit_data", fewBytes)},
	{"link resets peers", 4, campaignNetwork, 300 * time.Millisecond, 2 * time.Second, spoilLink(campaignBoth, "reset_peer", func(r *rand.Rand) string {
		return fmt.Sprintf(`{"timeout":%d}`, r.IntN(300))
	})},
	{"link closes slowly", 2, campaignNetwork, time.Second, 3 * time.Second, spoilLink(campaignBoth, "slow_close", func(r *rand.Rand) string {
		return fmt.Sprintf(`{"delay":%d}`, 50+r.IntN(300))
	})},
	{"link drops connections", 6, campaignNetwork, 0, 0, func(c *campaign, target int, _ *rand.Rand) (func() error, error) {
		return nil, c.links[target].reset()
	}},
	{"link refuses", 5, campaignNetwork, 200 * time.Millisecond, 3 * time.Second, func(c *campaign, target int, _ *rand.Rand) (func() error, error) {
		return c.links[target].open, c.links[target].refuse()
	}},

	// Half of the connections to a server are dead from now on, and nobody is told.
	{"connections are forgotten", 6, campaignHop, 0, 0, func(c *campaign, target int, roll *rand.Rand) (func() error, error) {
		c.relays[target].forget(0.5, roll)
		return nil, nil
	}},

	{"PressOne sells late", 6, campaignPressOne, time.Second, 3 * time.Second, injectFault(func(r *rand.Rand) pressonesim.Fault {
		return pressonesim.Fault{Action: pressonesim.Slow, Delay: time.Duration(200+r.IntN(700)) * time.Millisecond, Detached: true}
	})},
	{"PressOne hangs once it has sold", 4, campaignPressOne, 500 * time.Millisecond, 2 * time.Second, injectFault(func(*rand.Rand) pressonesim.Fault {
		return pressonesim.Fault{Action: pressonesim.Hang, When: pressonesim.After}
	})},
	{"PressOne limits the account", 3, campaignPressOne, time.Second, 3 * time.Second, func(c *campaign, _ int, r *rand.Rand) (func() error, error) {
		c.sim.Tune(func(k *pressonesim.Knobs) {
			k.AccountLimit = pressonesim.Limit{Requests: 3 + r.IntN(20), Window: time.Second}
		})
		return func() error {
			c.sim.Tune(func(k *pressonesim.Knobs) { k.AccountLimit = pressonesim.Limit{} })
			return nil
		}, nil
	}},
	{"PressOne's tokens expire", 2, campaignPressOne, 0, 0, func(c *campaign, _ int, _ *rand.Rand) (func() error, error) {
		c.sim.ExpireTokens()
		return nil, nil
	}},
}

func killAndStart(c *campaign, target int, _ *rand.Rand) (func() error, error) {
	p := c.programs[target]
	p.kill()
	return p.start, nil
}

func stopAndStart(c *campaign, target int, _ *rand.Rand) (func() error, error) {
	p := c.programs[target]
	return p.start, p.terminate()
}

func freeze(c *campaign, target int, _ *rand.Rand) (func() error, error) {
	p := c.programs[target]
	p.signal(syscall.SIGSTOP)
	return func() error {
		p.signal(syscall.SIGCONT)
		return nil
	}, nil
}

// stepClock has a worker's wall clock step, by up to three hours either way, and later back.
func stepClock(c *campaign, target int, roll *rand.Rand) (func() error, error) {
	p := c.programs[target]
	offset := time.Duration(roll.Int64N(int64(6*time.Hour))) - 3*time.Hour
	return func() error { return p.step(0) }, p.step(offset)
}

// killBackends ends half of the programs' connections to Postgres, whatever they are in
// the middle of.
func killBackends(c *campaign, _ int, _ *rand.Rand) (func() error, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	// Where Postgres is away there are none to kill.
	_, _ = c.db.Exec(ctx, `
		SELECT pg_terminate_backend(pid)
		FROM pg_stat_activity
		WHERE (application_name LIKE $1 OR application_name LIKE $2) AND random() < 0.5`,
		string(app.WorkerProgram)+"-%", string(app.PublisherProgram)+"-%")
	return nil, nil
}

var (
	campaignUp   = []string{"upstream"}
	campaignDown = []string{"downstream"}
	campaignBoth = []string{"upstream", "downstream"}
)

// fewBytes breaks connections off after a few bytes or a few kilobytes.
func fewBytes(r *rand.Rand) string {
	return fmt.Sprintf(`{"bytes":%d}`, []int{r.IntN(400), r.IntN(3000), r.IntN(30_000)}[r.IntN(3)])
}

func spoilLink(directions []string, kind string, attributes func(*rand.Rand) string) func(*campaign, int, *rand.Rand) (func() error, error) {
	return func(c *campaign, target int, roll *rand.Rand) (func() error, error) {
		l, text := c.links[target], attributes(roll)
		for _, direction := range directions {
			if err := l.spoil(kind, direction, text); err != nil {
				return l.mend, err
			}
		}
		return l.mend, nil
	}
}

// injectFault has the simulator do something to all submissions for a while.
func injectFault(fault func(*rand.Rand) pressonesim.Fault) func(*campaign, int, *rand.Rand) (func() error, error) {
	return func(c *campaign, _ int, roll *rand.Rand) (func() error, error) {
		var ids []string
		for _, endpoint := range []pressonesim.Endpoint{pressonesim.Orders, pressonesim.Topups} {
			f := fault(roll)
			f.Endpoint = endpoint
			ids = append(ids, c.sim.Inject(f))
		}
		return func() error {
			for _, id := range ids {
				c.sim.ClearFault(id)
			}
			return nil
		}, nil
	}
}

// campaignEntry is a fault in the schedule.
type campaignEntry struct {
	at, lasts time.Duration
	fault     *campaignFault
	target    int
	seed      uint64 // of the fault's own choices
	befalls   string // what nothing else befalls meanwhile
}

// schedule draws the troubles, again if chance has left one out that a long campaign has to have:
// see campaign.report.
func (c *campaign) schedule() []campaignEntry {
	roll := c.dice(campaignFaultDice)
	for {
		all := c.drawFaults(roll)
		missing := slices.ContainsFunc(campaignFaults, func(f campaignFault) bool {
			return !slices.ContainsFunc(all, func(e campaignEntry) bool { return e.fault.name == f.name && e.at < c.length*3/4 })
		})
		if !missing || c.length < campaignLong {
			return all
		}
	}
}

// drawFaults draws troubles. What is broken is not broken again before it was mended, but everything
// may be broken at once.
func (c *campaign) drawFaults(roll *rand.Rand) []campaignEntry {
	weights := 0
	for _, f := range campaignFaults {
		weights += f.weight
	}
	busy := map[string]time.Duration{}
	var all []campaignEntry
	for at := time.Second; at < c.length; at += time.Duration(50+roll.IntN(800)) * time.Millisecond {
		n := roll.IntN(weights)
		i := 0
		for ; n >= campaignFaults[i].weight; i++ {
			n -= campaignFaults[i].weight
		}
		f := &campaignFaults[i]
		first, count := c.targets(f.target)
		e := campaignEntry{
			at: at, fault: f, target: first + roll.IntN(count), seed: roll.Uint64(),
			lasts: f.short + time.Duration(roll.Int64N(int64(f.long-f.short)+1)),
		}
		what := fmt.Sprint(f.target, e.target)
		if f.target == campaignPublisher {
			what = fmt.Sprint(campaignWorker, e.target)
		}
		if f.name == "clock steps" || f.target == campaignPressOne {
			what = fmt.Sprint(f.name, e.target) // in nobody's way
		}
		if busy[what] > at {
			continue
		}
		busy[what] = at + e.lasts + 300*time.Millisecond
		e.befalls = what
		all = append(all, e)
	}
	return all
}

// afflict goes by the schedule until ctx ends, and mends everything then. Where mending takes longer than
// was planned, the next fault of the same thing waits.
func (c *campaign) afflict(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	mended := map[string]chan struct{}{} // closed when the last fault of a thing is over
	for _, e := range c.schedule() {
		if !c.until(ctx, e.at) {
			return
		}
		before, over := mended[e.befalls], make(chan struct{})
		mended[e.befalls] = over
		wg.Go(func() {
			defer close(over)
			if before != nil {
				<-before
			}
			if ctx.Err() == nil {
				c.befall(ctx, e)
			}
		})
	}
}

// befall lets one fault happen, waits and undoes it.
func (c *campaign) befall(ctx context.Context, e campaignEntry) {
	what := c.describe(e)
	c.note("%s, for %s", what, e.lasts.Round(time.Millisecond))
	c.count1("fault " + e.fault.name)
	undo, err := e.fault.do(c, e.target, rand.New(rand.NewPCG(e.seed, 0)))
	if err != nil {
		c.problem("%s: %v", what, err)
	}
	if undo == nil {
		return
	}
	c.until(ctx, time.Since(c.began)+e.lasts)
	if err := undo(); err != nil {
		c.problem("undo %s: %v", what, err)
	}
	c.note("%s: over", what)
}

func (c *campaign) describe(e campaignEntry) string {
	switch e.fault.target {
	case campaignWorker, campaignPublisher:
		return e.fault.name + ": " + c.programs[e.target].name
	case campaignNetwork:
		return e.fault.name + ": " + c.links[e.target].name
	case campaignHop:
		return e.fault.name + ": " + c.relays[e.target].name
	case campaignPostgres, campaignNATS, campaignPressOne:
	}
	return e.fault.name
}

// until waits for a moment of the campaign; it reports false when ctx has ended before.
func (c *campaign) until(ctx context.Context, at time.Duration) bool {
	t := time.NewTimer(at - time.Since(c.began))
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
