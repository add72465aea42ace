package saga

import (
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

// Admit reserves room for up to n sagas of a kind. There is none for top-ups, whose list
// has to be read first, while the runner's lease does not run, while ordering is closed,
// or where the rate has to be waited for first.
func (r *Runner) Admit(k message.Kind, n int) *Admission {
	a := &Admission{Worker: r.Lease.ID(), runner: r}
	if k != message.Order || !r.Eager || !r.running.Load() || !r.Lease.Runs(a.Worker) || r.Gate.ClosedFor(pressone.LaneWrite) > 0 {
		return a
	}
	r.held.claiming.RLock() // until they are among the held
	a.Room = r.reserve(n)
	if a.Room == 0 {
		r.held.claiming.RUnlock()
	}
	return a
}

// Start runs the sagas, which are committed as this worker's, and gives back the room
// that is left.
func (a *Admission) Start(sagas []Saga) {
	r := a.runner
	if a.Room > 0 {
		for _, s := range sagas {
			r.held.add(s.ID)
			r.admitted <- s // never blocks: there is a slot for each
		}
		r.unreserve(a.Room - len(sagas))
		r.held.claiming.RUnlock()
	}
	r.Wake()
}

// Cancel gives the room back: nothing was committed, or it is not known what was. The
// sweep finds what was.
func (a *Admission) Cancel() {
	if a.Room > 0 {
		a.runner.unreserve(a.Room)
		a.runner.held.claiming.RUnlock()
	}
}
