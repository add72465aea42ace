package app

import "time"

// SetWallClock replaces the wall clock of workers that are made from now on.
func SetWallClock(now func() time.Time) { wallClock = now }

// Impatient is impatient, for tests.
var Impatient = impatient

// SetPostgresSilence changes how long Postgres may be silent on a connection that is made
// from now on.
func SetPostgresSilence(d time.Duration) { postgresSilence = d }

// Watch makes a worker that does not run yet read the metrics that all processes share, and
// the balance, that often.
func (w *Worker) Watch(every time.Duration) {
	w.watching = watching{every: every, balance: every, first: every, holder: w.TelemetryAddr()}
}

// Watch is Worker.Watch for a publisher.
func (p *Publisher) Watch(every time.Duration) { p.watching = watching{every: every} }

// NoBalance keeps workers that are made from now on from asking for the balance, unless they
// are told to by Watch.
func NoBalance() { firstBalance = time.Hour }
