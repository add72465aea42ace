package ops

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often somebody may be wrong about a secret: an address, and all together.
const (
	triesBurst    = 10
	triesEvery    = 6 * time.Second
	allTriesBurst = 200
	allTriesRate  = 20   // a second
	mostAddresses = 4096 // that are remembered; the rest share one allowance
)

// attempts counts wrong secrets by address. Being right costs nothing, but whoever has been
// wrong too often is not told whether they are right now.
type attempts struct {
	mu     sync.Mutex
	all    *rate.Limiter
	others *rate.Limiter
	by     map[netip.Prefix]*rate.Limiter
}

func newAttempts() *attempts {
	return &attempts{
		all: rate.NewLimiter(allTriesRate, allTriesBurst), others: newTries(), by: map[netip.Prefix]*rate.Limiter{},
	}
}

func newTries() *rate.Limiter { return rate.NewLimiter(rate.Every(triesEvery), triesBurst) }

// try asks right whether a secret is right, unless the address, or everybody together, has
// been wrong too often: then limited is true, and nobody knows. Only one is asked at a time,
// so that those who come at once are counted as those who come one after the other.
func (a *attempts) try(addr string, now time.Time, right func() bool) (ok, limited bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.spent(addr, now) {
		return false, true
	}
	if right() {
		return true, false
	}
	a.count(addr, now)
	return false, false
}

// limited reports whether the address has been wrong too often.
func (a *attempts) limited(addr string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.spent(addr, now)
}

// wrong counts that the address was wrong.
func (a *attempts) wrong(addr string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count(addr, now)
}

func (a *attempts) spent(addr string, now time.Time) bool {
	l, known := a.by[network(addr)]
	if !known {
		if len(a.by) < mostAddresses {
			return a.all.TokensAt(now) < 1
		}
		l = a.others
	}
	return l.TokensAt(now) < 1 || a.all.TokensAt(now) < 1
}

func (a *attempts) count(addr string, now time.Time) {
	from := network(addr)
	l, known := a.by[from]
	if !known {
		if len(a.by) >= mostAddresses {
			a.forget(now)
		}
		if l = a.others; len(a.by) < mostAddresses {
			l = newTries()
			a.by[from] = l
		}
	}
	l.AllowN(now, 1)
	a.all.AllowN(now, 1)
}

// forget drops the addresses that have their whole allowance again.
func (a *attempts) forget(now time.Time) {
	for from, l := range a.by {
		if l.TokensAt(now) >= triesBurst {
			delete(a.by, from)
		}
	}
}

// network is whom an address is counted with: a whole /64 of IPv6 is one customer's. What is no
// address is counted with all that are none.
func network(hostport string) netip.Prefix {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // the address has as many
	return p
}
