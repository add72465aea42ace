package pressonesim

import (
	"sync"
	"time"
)

// Limit allows Requests in each Window, which starts with the first request
// after the last one ended. Zero Requests is no limit.
type Limit struct {
	Requests int           `json:"requests"`
	Window   time.Duration `json:"window"`
}

// limiter counts requests in fixed windows, one for each endpoint and, where
// PressOne counts by eSIM, each ICCID.
type limiter struct {
	mu      sync.Mutex
	windows map[limitKey]*window
}

type limitKey struct {
	endpoint Endpoint
	iccid    string
}

type window struct {
	ends time.Time
	used int
}

// take counts a request. It returns how long to wait when there is no room;
// a refused request is not counted.
func (l *limiter) take(key limitKey, limit Limit, now time.Time) (time.Duration, bool) {
	if limit.Requests <= 0 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[key]
	if w == nil || !now.Before(w.ends) {
		w = &window{ends: now.Add(limit.Window)}
		l.windows[key] = w
	}
	if w.used >= limit.Requests {
		return w.ends.Sub(now), false
	}
	w.used++
	return 0, true
}
