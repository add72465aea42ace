package app

import (
	"time"

	"esimflow/internal/config"
)

// StopBudget is how long a program takes to stop at the most, from SIGTERM to its end. Whoever
// kills it earlier cuts a submission short, whose outcome is then unknown.
func StopBudget(p Program, cfg config.Config) time.Duration {
	// The statement that is under way, and the commit that follows from it, wait for Postgres as
	// long as anybody does.
	budget := 2*postgresSilence + shutdownMargin
	if p == WorkerProgram {
		budget += cfg.SubmitTimeout
	}
	return budget
}
