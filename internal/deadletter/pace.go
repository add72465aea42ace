package deadletter

import "math"

// pace says how many letters each second of a replay may release: as many as the ramp says
// at first, and then as the rate does. It is kept in memory: whoever takes a replay over
// begins its ramp anew.
type pace struct {
	beats   int     // of the ramp, that are over
	credit  float64 // of letters: for rates that are no whole number
	started bool
}

// next is how many letters the next second may release.
func (p *pace) next(rate float64, ramp []int) int {
	now := rate
	if p.beats < len(ramp) {
		now = min(rate, float64(ramp[p.beats]))
	}
	p.credit = min(p.credit+now, math.Ceil(now)) // what was not used is not caught up on
	if !p.started {
		p.started, p.credit = true, max(p.credit, 1) // the first one at once, however slow it is
	}
	return int(math.Floor(p.credit))
}

// used notes how many letters were released. The ramp goes on with seconds that were of
// use only: in one that was waited through, nothing was seen.
func (p *pace) used(n int) {
	if n == 0 {
		return
	}
	p.credit -= float64(n)
	p.beats++
}
