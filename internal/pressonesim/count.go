package pressonesim

import (
	"maps"
	"sync"
)

// counter counts requests by endpoint and by what they were about.
type counter struct {
	mu  sync.Mutex
	all map[Endpoint]int
	by  map[limitKey]int
}

func newCounter() counter {
	return counter{all: make(map[Endpoint]int), by: make(map[limitKey]int)}
}

func (c *counter) add(e Endpoint, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[e]++
	if id != "" {
		c.by[limitKey{e, id}]++
	}
}

func (c *counter) total(e Endpoint) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e != Any {
		return c.all[e]
	}
	n := 0
	for _, m := range c.all {
		n += m
	}
	return n
}

func (c *counter) single(e Endpoint, id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[limitKey{e, id}]
}

func (c *counter) snapshot() map[Endpoint]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.all)
}
