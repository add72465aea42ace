package bench

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Config is what to measure.
type Config struct {
	N        int           `json:"n"`          // sagas of a run
	Runs     int           `json:"runs"`       // figures are medians over them
	Rate     float64       `json:"rate"`       // requests a second; 0: all at once
	Latency  time.Duration `json:"latency_ns"` // of the provider
	Workers  int           `json:"workers"`
	InFlight int           `json:"in_flight"` // MAX_IN_FLIGHT
	WarmUp   int           `json:"warm_up"`   // sagas before each run that do not count
	Topups   float64       `json:"topups"`    // share of the sagas
	Quiet    time.Duration `json:"quiet_ns"`  // how long to wait for other programs to be quiet, before each run

	Preload        int  `json:"preload"`         // finished sagas that are in the tables before
	PreloadWaiting int  `json:"preload_waiting"` // sagas that wait for days
	Snapshot       bool `json:"snapshot"`        // hold a snapshot open, so that nothing can be vacuumed

	Data       string   `json:"data,omitempty"`    // keep Postgres's data in this directory, and logs
	Profile    string   `json:"profile,omitempty"` // directory
	Statements bool     `json:"statements"`
	LogLevel   string   `json:"log_level"`
	Env        []string `json:"env,omitempty"` // NAME=VALUE, of workers and publisher

	// Progress, if there is one, is called now and then with how many results of a batch
	// have arrived, from one goroutine.
	Progress func(done, of int) `json:"-"`
}

// most is the limit of what fits into request ids, and of good sense.
const most = 100_000_000

// Validate says what is wrong with all of it, in the words of esimctl's flags.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("--"+format, args...))
		}
	}
	check(c.N >= 1 && c.N <= most, "n %d is not 1 to %d", c.N, most)
	check(c.Runs >= 1 && c.Runs <= 1000, "runs %d is not 1 to 1000", c.Runs)
	check(c.Rate >= 0 && c.Rate <= 1e6, "rate %g is not 0 to 1e6 a second", c.Rate) // false for NaN
	check(c.Latency >= 0, "latency %v is negative", c.Latency)
	check(c.Quiet >= 0, "quiet %v is negative", c.Quiet)
	check(c.Workers >= 1 && c.Workers <= 4, "workers %d is not 1 to 4", c.Workers)
	check(c.InFlight >= 1, "in-flight %d is not 1 or more", c.InFlight)
	check(c.WarmUp >= 0 && c.WarmUp <= most, "warm-up %d is not 0 to %d", c.WarmUp, most)
	check(c.Topups >= 0 && c.Topups <= 1, "topups %g is not a share, 0 to 1", c.Topups)
	check(c.Preload >= 0 && c.Preload <= most, "preload %d is not 0 to %d", c.Preload, most)
	check(c.PreloadWaiting >= 0 && c.PreloadWaiting <= most, "preload-waiting %d is not 0 to %d", c.PreloadWaiting, most)
	for _, pair := range c.Env {
		name, _, ok := strings.Cut(pair, "=")
		check(ok && name != "", "env %q is not NAME=VALUE", pair)
	}
	return errors.Join(errs...)
}

// topup tells whether the i-th request is a top-up, spreading them evenly.
func (c Config) topup(i int) bool {
	return math.Floor(float64(i+1)*c.Topups) > math.Floor(float64(i)*c.Topups)
}

// topups is how many of n requests are top-ups, and so how many eSIMs are needed.
func (c Config) topups(n int) int { return int(math.Floor(float64(n) * c.Topups)) }

// workerEnv is the environment of workers and publisher: what production would have by
// default, but nothing that throttles.
func (c Config) workerEnv(databaseURL, natsURL, providerURL string) []string {
	env := []string{
		"DATABASE_URL=" + databaseURL, "NATS_URL=" + natsURL,
		"PRESSONE_BASE_URL=" + providerURL, "PRESSONE_CLIENT_ID=client", "PRESSONE_CLIENT_SECRET=secret",
		"PRESSONE_RATE=0", fmt.Sprintf("MAX_IN_FLIGHT=%d", c.InFlight), "LOG_LEVEL=" + c.LogLevel,
		"HTTP_ADDR=127.0.0.1:0",
	}
	if c.PreloadWaiting > 0 {
		env = append(env, waitingEnv...)
	}
	return append(env, c.Env...) // the last one of a name counts
}
