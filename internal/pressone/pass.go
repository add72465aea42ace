package pressone

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Unlimited is the room on a lane where nobody counts.
const Unlimited = math.MaxInt

// Pass is leave to make one call on a lane: from Enter, for Leave. The zero Pass belongs to nobody who asked.
type Pass struct {
	// Probe says that this is the one call by which all workers find out whether PressOne is back.
	Probe bool

	lane  Lane
	begun time.Time
	ramp  bool // it is one of those in flight that the ramp allows
}

// Counted says that others wait for the pass to be given back: it must be left, whatever becomes of the call.
func (p Pass) Counted() bool { return p.Probe || p.ramp }

// Room returns how many calls this worker may begin on the lane now: none when it is closed, one when it is time for the probe,
// what is left of this worker's share during the ramp, one to see whether there are tokens again, and Unlimited otherwise. It
// costs no query.
func (g *Gate) Room(lane Lane) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closedFor(lane) > 0 {
		return 0
	}
	room := g.state[lane].breaker.room(g.workers)
	if time.Until(g.token) <= 0 && g.state[LaneToken].failures > 0 {
		return min(room, 1)
	}
	return room
}

// Pass is the pass of a call that is made whether the lane is open or not.
func (*Gate) Pass(lane Lane) Pass { return Pass{lane: lane, begun: time.Now()} }

// Enter asks for leave to make a call. While the lane is open it costs no query; when it is time for the probe, one, by which of
// all workers one gets it. Whoever gets no pass is told how long to wait before asking again.
func (g *Gate) Enter(ctx context.Context, lane Lane) (p Pass, wait time.Duration, _ error) {
	g.mu.Lock()
	p = Pass{lane: lane, begun: time.Now()}
	if d := g.closedFor(lane); d > 0 {
		g.mu.Unlock()
		return Pass{}, d, nil
	}
	s := g.state[lane]
	switch s.breaker.phase {
	case phaseRamp:
		defer g.mu.Unlock()
		if s.breaker.room(g.workers) == 0 {
			return Pass{}, g.cfg.RetryInitial, nil
		}
		s.breaker.inFlight++
		g.state[lane] = s
		p.ramp = true
		return p, 0, nil
	case phaseDown:
		g.mu.Unlock()
		return g.probe(ctx, p)
	case phaseOpen:
	}
	g.mu.Unlock()
	return p, 0, nil
}

// A lane is closed for everybody while its probe is out, for so long that a probe whose worker has died is missed.
const probeGateSQL = `
UPDATE provider_gate
SET closed_until = now() + make_interval(secs => $3::float8), reason = 'outage', probe_by = $2, updated_at = now()
WHERE lane = $1 AND phase = 'down' AND closed_until <= now() AND reason <> 'paused'`

// probe takes the probe, if nobody has it.
func (g *Gate) probe(ctx context.Context, p Pass) (Pass, time.Duration, error) {
	tag, err := g.db.Exec(ctx, probeGateSQL, p.lane, g.holder, g.cfg.ProbeBudget.Seconds())
	if err != nil {
		return Pass{}, g.cfg.RetryInitial, fmt.Errorf("pressone: probe: %w", err)
	}
	err = g.read(ctx)
	if tag.RowsAffected() == 0 {
		return Pass{}, max(g.ClosedFor(p.lane), g.cfg.RetryInitial), err
	}
	p.Probe = true
	g.hint(p.lane)
	return p, 0, nil // that the row could not be read does not take the probe away
}

// leaveTimeout bounds what it takes to tell the gate how a call went.
const leaveTimeout = 5 * time.Second

// Drop gives back a pass for a call that was not made.
func (g *Gate) Drop(ctx context.Context, p Pass) error {
	_, err := g.Leave(ctx, p, errNotCalled)
	return err
}

var errNotCalled = errors.New("pressone: not called")

// Leave tells the gate how the call of a pass went, nil for a success, and reports whether that closed the lane.
//
// Outages are counted, and close the lane when there are too many in a row: see breaker. Being limited closes it for as
// long as PressOne said, and so does an outage if that was said in it; where it did not say, and when the account is refused,
// for a time that doubles with every failure in a row. Everything else leaves the gate alone; so does, on the other lanes, a
// failure to get a token, which has closed its own lane already.
//
// Whoever leaves has yet to commit what the call has brought. So that ctx has ended keeps nothing from being told, and Postgres is
// not waited for for long: what it does not take holds here.
func (g *Gate) Leave(ctx context.Context, p Pass, err error) (closed bool, _ error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	e, ours := errors.AsType[*Error](err)
	elsewhere := ours && e.Operation == OpToken && p.lane != LaneToken
	v := judge(err)
	if elsewhere {
		v = silent
	}
	g.mu.Lock()
	s := g.state[p.lane]
	var do change
	s.breaker, do = s.breaker.ended(v, p, g.workers, time.Now(), g.cfg.RetryInitial)
	from, limit := s.breaker.phase, s.breaker.limit
	if do == widen {
		s.breaker.answers = 0 // of many answers, one is enough to write it
	}
	g.state[p.lane] = s
	g.mu.Unlock()

	problem := g.perform(ctx, do, p, from, limit)
	if p.Probe {
		g.cfg.Metrics.probed(p.lane, v)
	}
	switch {
	case p.Probe && v == silent:
		return false, g.giveUp(ctx, p)
	case err == nil:
		return false, errors.Join(problem, g.reset(ctx, p.lane))
	case !ours, elsewhere:
		return false, problem
	case e.Limited, do == trip && e.RetryAfter > 0:
		return true, errors.Join(problem, g.close(ctx, p.lane, reasonLimited, min(e.RetryAfter, closureMax)))
	case e.Account:
		return true, errors.Join(problem, g.close(ctx, p.lane, reasonAccount, 0))
	}
	return do == trip, problem
}

// Observe is Leave for a call that was made without a pass. While the lane is down and due for a probe, it was one.
func (g *Gate) Observe(ctx context.Context, lane Lane, err error) (closed bool, _ error) {
	p := g.Pass(lane)
	g.mu.Lock()
	due := g.state[lane].breaker.phase == phaseDown && g.closedFor(lane) == 0
	g.mu.Unlock()
	p.Probe = due && judge(err) != silent
	return g.Leave(ctx, p, err)
}

// $2 is the phase that the lane was in, as far as we know: of many workers only the first closes it. $3 is us, $4 and $5 are the
// first and the longest time until a probe, in seconds. What else has closed the lane for longer goes on doing so, and it is probed
// after a pause.
const tripGateSQL = `
UPDATE provider_gate
SET phase = 'down', ramp = 0, probe_by = '', failures = failures + 1, updated_at = now(),
    reason  = CASE WHEN reason = 'paused' THEN reason ELSE 'outage' END,
    beneath = CASE WHEN reason = 'paused' THEN 'outage' ELSE beneath END,
    closed_until = greatest(CASE WHEN phase = 'down' THEN '-infinity' ELSE closed_until END,
        now() + make_interval(secs => least($5::float8, $4::float8 * power(2, least(failures, 30)))))
WHERE lane = $1 AND phase = $2 AND (phase <> 'down' OR reason <> 'paused' AND (probe_by = $3 OR closed_until <= now()))`

const reopenGateSQL = `
UPDATE provider_gate
SET phase = 'ramp', ramp = 1, probe_by = '', reason = '', closed_until = '-infinity', updated_at = now()
WHERE lane = $1 AND phase = 'down' AND reason <> 'paused' AND (probe_by = $2 OR closed_until <= now())`

// $2 is the step that was answered, $3 the last one. After that nobody counts any more, and the failures are forgotten.
const widenGateSQL = `
UPDATE provider_gate
SET phase = CASE WHEN ramp < $3 THEN 'ramp' ELSE 'open' END, ramp = CASE WHEN ramp < $3 THEN ramp * 2 ELSE 0 END,
    failures = CASE WHEN ramp < $3 THEN failures ELSE 0 END, updated_at = now()
WHERE lane = $1 AND phase = 'ramp' AND ramp = $2`

// perform writes what a call's end means for everybody. Where it cannot be written, it holds here, for a while.
func (g *Gate) perform(ctx context.Context, do change, p Pass, from phase, limit int) error {
	var sql string
	var args []any
	switch do {
	case stay:
		return nil
	case trip:
		initial, longest := g.cfg.RetryInitial.Seconds(), g.probeEvery().Seconds()
		sql, args = tripGateSQL, []any{p.lane, from, g.holder, initial, longest}
	case reopen:
		sql, args = reopenGateSQL, []any{p.lane, g.holder}
	case widen:
		sql, args = widenGateSQL, []any{p.lane, limit, rampLast}
	}
	tag, err := g.db.Exec(ctx, sql, args...)
	if err != nil {
		if do == trip {
			g.closeHere(p.lane, reasonOutage, 0)
		}
		return fmt.Errorf("pressone: %s: %w", do, err)
	}
	if tag.RowsAffected() > 0 {
		if do == trip && from != phaseDown {
			g.cfg.Metrics.closed(p.lane, reasonOutage)
		}
		g.hint(p.lane)
	}
	return g.read(ctx)
}

const giveUpProbeSQL = `
UPDATE provider_gate
SET probe_by = '', closed_until = now() + make_interval(secs => $3::float8), updated_at = now()
WHERE lane = $1 AND phase = 'down' AND probe_by = $2 AND reason <> 'paused'`

// giveUp leaves the probe to another call: this one has told nothing. Not at once, lest the next one does no better.
func (g *Gate) giveUp(ctx context.Context, p Pass) error {
	if _, err := g.db.Exec(ctx, giveUpProbeSQL, p.lane, g.holder, g.cfg.RetryInitial.Seconds()); err != nil {
		return fmt.Errorf("pressone: give up probe: %w", err)
	}
	g.hint(p.lane)
	return g.read(ctx)
}
