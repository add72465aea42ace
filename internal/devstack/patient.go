package devstack

import "time"

// Tests are what a test's main function runs: a *testing.M.
type Tests interface{ Run() int }

// leakPatience is how long what a test has begun may take to end. Much of it waits for Postgres or
// NATS, which may wait for the machine.
const leakPatience = time.Minute

// Patient is m, which when all is well waits until leaks, which looks for what goes on, finds nothing any
// more; not for ever: whoever asks after that is told.
func Patient(m Tests, leaks func() error) Tests { return patient{m, leaks} }

type patient struct {
	Tests
	leaks func() error
}

func (p patient) Run() int {
	code := p.Tests.Run()
	for began := time.Now(); code == 0 && p.leaks() != nil && time.Since(began) < leakPatience; {
		<-time.After(portPause)
	}
	return code
}
