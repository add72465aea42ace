package bench

import (
	"slices"
	"time"
)

// latencies is from when each request was sent to the arrival of its first result; what has
// none is left out.
func latencies(sent, arrived []time.Time, late time.Duration) *Latency {
	var ms []float64
	for i := range sent {
		if !arrived[i].IsZero() {
			ms = append(ms, float64(arrived[i].Sub(sent[i]).Microseconds())/1000)
		}
	}
	if len(ms) == 0 {
		return nil
	}
	slices.Sort(ms)
	return &Latency{
		P50: quantile(ms, 0.5), P90: quantile(ms, 0.9), P99: quantile(ms, 0.99), Max: ms[len(ms)-1],
		Late: float64(late.Microseconds()) / 1000,
	}
}
