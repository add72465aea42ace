package app

import "time"

// SetWallClock replaces the wall clock of workers that are made from now on.
func SetWallClock(now func() time.Time) { wallClock = now }

// Impatient is impatient, for tests.
var Impatient = impatient

// SetPostgresSilence changes how long Postgres may be silent on a connection that is made
// from now on.
func SetPostgresSilence(d time.Duration) { postgresSilence = d }
