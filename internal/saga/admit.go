package saga

import (
	"time"

	"github.com/google/uuid"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// Admission is room in a runner for sagas that are about to be accepted: they can be
// accepted with their intent, and run at once, without being read back. Whoever has one
// calls Start after its commit, or Cancel.
type Admission struct {
	Worker uuid.UUID // whose they are
	Room   int       // how many

	runner *Runner
}

// Admit reserves room for up to n sagas of a kind; if there is none at the moment, it waits
// for some, but not beyond until. There is none for top-ups, whose list has to be
// read first, while the runner's lease does not run, while ordering is closed, paused or
// still counted after an outage, or where the rate has to be waited for first.
func (r *Runner) Admit(k message.Kind, n int, until time.Time) *Admission {
	a := &Admission{Worker: r.Lease.ID(), runner: r}
	open := func() bool {
		return r.Lease.Runs(a.Worker) && r.Gate.Room(pressone.LaneWrite) == pressone.Unlimited && !r.Gate.Paused(k)
	}
	if k != message.Order || !r.Eager || !r.running.Load() || !open() {
		return a
	}
	if !waitFor(r.eager, until) {
		return a
	}
	if !waitFor(r.slots, until) {
		unreserve(r.eager, 1)
		return a
	}
	if !open() { // who made room may have found out why there is none to be had
		unreserve(r.eager, 1)
		unreserve(r.slots, 1)
		return a
	}
	allowed := 1 + reserve(r.eager, n-1)
	a.Room = 1 + reserve(r.slots, allowed-1)
	unreserve(r.eager, allowed-a.Room)
	r.held.claiming.RLock() // until they are among the held
	return a
}

// waitFor takes one slot.
func waitFor(slots chan struct{}, until time.Time) bool {
	select {
	case slots <- struct{}{}:
		return true
	default:
	}
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case slots <- struct{}{}:
		return true
	case <-t.C:
		return false
	}
}

// Start runs the sagas, which are committed as this worker's, and gives back the room
// that is left. That others were accepted and wait is for the runner to know.
func (a *Admission) Start(sagas []Saga, waiting bool) {
	r := a.runner
	if a.Room > 0 {
		for _, s := range sagas {
			r.held.add(s.ID)
			r.admitted <- s // never blocks: there is a slot for each
		}
		a.giveBack(a.Room - len(sagas))
	}
	if waiting {
		r.Wake()
	}
}

// Cancel gives the room back: nothing was committed, or it is not known what was. The
// sweep finds what was.
func (a *Admission) Cancel() {
	if a.Room > 0 {
		a.giveBack(a.Room)
	}
}

func (a *Admission) giveBack(n int) {
	unreserve(a.runner.slots, n)
	unreserve(a.runner.eager, n)
	a.runner.held.claiming.RUnlock()
}
