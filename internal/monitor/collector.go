package monitor

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Timing.
const (
	// Every is how often a part is read.
	Every = 15 * time.Second
	// readTimeout bounds one reading.
	readTimeout = 10 * time.Second
	// idleShare is how much longer than it takes to read a part it is left alone.
	idleShare = 20
)

// sample is one value of a gauge, as it was read.
type sample struct {
	desc   *prometheus.Desc
	value  float64
	since  time.Time // if set, the value is the time since then, in seconds, whenever somebody asks
	labels []string
}

// Part is something that is read by itself: when it hangs, the others go on.
type Part struct {
	name  string
	descs []*prometheus.Desc
	read  func(ctx context.Context) ([]sample, error)
	every time.Duration                   // 0: the collector's
	first time.Duration                   // how long it is waited with at first
	leave func(ctx context.Context) error // what is left to do when it is not read any more

	mu      sync.Mutex
	samples []sample
	fresh   time.Time // when it was last read, or made
	took    time.Duration
}

// Collector reads its parts in the background and serves what it has read.
type Collector struct {
	parts  []*Part
	every  time.Duration
	errors *prometheus.CounterVec
	log    *slog.Logger
}

// The collector's own metrics.
var (
	ageDesc = prometheus.NewDesc("esimflow_collector_age_seconds",
		"Time since this process has last read what the gauges of that part show.", []string{"part"}, nil)
	tookDesc = prometheus.NewDesc("esimflow_collector_read_seconds",
		"How long the last reading of that part took.", []string{"part"}, nil)
)

// NewCollector registers a collector of these parts; nothing is read until Run. every is how
// often; 0 is Every.
func NewCollector(reg prometheus.Registerer, log *slog.Logger, every time.Duration, parts ...*Part) *Collector {
	if every <= 0 {
		every = Every
	}
	c := &Collector{parts: parts, every: every, log: log, errors: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "esimflow_collector_errors_total", Help: "Readings of that part that came to nothing.",
	}, []string{"part"})}
	for _, p := range parts {
		p.fresh = time.Now()
		c.errors.WithLabelValues(p.name)
	}
	reg.MustRegister(c, c.errors)
	return c
}

// Run reads until ctx is cancelled.
func (c *Collector) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, p := range c.parts {
		wg.Go(func() { c.keep(ctx, p) })
	}
	wg.Wait()
}

// keep reads one part again and again.
func (c *Collector) keep(ctx context.Context, p *Part) {
	every := p.every
	if every <= 0 {
		every = c.every
	}
	for pause(ctx, p.first); ctx.Err() == nil; pause(ctx, jitter(max(every, idleShare*p.duration()))) {
		if err := p.refresh(ctx); err != nil && ctx.Err() == nil {
			c.errors.WithLabelValues(p.name).Inc()
			c.log.WarnContext(ctx, "metrics could not be read", "part", p.name, "err", err)
		}
	}
	if p.leave != nil {
		done, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = p.leave(done) // what it gives up runs out anyway
	}
}

// refresh reads the part once.
func (p *Part) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	start := time.Now()
	samples, err := p.read(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took = time.Since(start)
	if err != nil {
		return err
	}
	p.samples, p.fresh = samples, time.Now()
	return nil
}

func (p *Part) duration() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.took
}

// jitter keeps the processes from reading at the same time.
func jitter(d time.Duration) time.Duration {
	return time.Duration((0.9 + 0.2*rand.Float64()) * float64(d))
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- ageDesc
	ch <- tookDesc
	for _, p := range c.parts {
		for _, d := range p.descs {
			ch <- d
		}
	}
}

// Collect implements prometheus.Collector: it serves the cache, and waits for nobody.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	for _, p := range c.parts {
		p.collect(ch)
	}
}

func (p *Part) collect(ch chan<- prometheus.Metric) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(ageDesc, time.Since(p.fresh).Seconds(), p.name)
	gauge(tookDesc, p.took.Seconds(), p.name)
	for _, s := range p.samples {
		if !s.since.IsZero() {
			s.value = max(0, time.Since(s.since).Seconds())
		}
		gauge(s.desc, s.value, s.labels...)
	}
}

// ago is the moment, by this process's monotonic clock, that was seconds before now; never
// the zero time.
func ago(now time.Time, seconds float64) time.Time {
	return now.Add(-time.Duration(seconds * float64(time.Second)))
}
