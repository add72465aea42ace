package monitor

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	poolDesc = prometheus.NewDesc("esimflow_postgres_connections",
		"This process's connections to Postgres, by pool and what they are doing.", []string{"pool", "state"}, nil)
	poolLimitDesc = prometheus.NewDesc("esimflow_postgres_connections_limit",
		"How many connections the pool opens at the most.", []string{"pool"}, nil)
	poolAcquiresDesc = prometheus.NewDesc("esimflow_postgres_acquires_total",
		"Connections taken from the pool: at once, after a wait because none was free, or not at all because the caller gave up.",
		[]string{"pool", "result"}, nil)
	poolWaitDesc = prometheus.NewDesc("esimflow_postgres_acquire_wait_seconds_total",
		"Time spent waiting for a connection when none was free.", []string{"pool"}, nil)
)

// Pools shows how busy a process's pools are, by name.
type Pools map[string]*pgxpool.Pool

// Describe implements prometheus.Collector.
func (Pools) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{poolDesc, poolLimitDesc, poolAcquiresDesc, poolWaitDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (p Pools) Collect(ch chan<- prometheus.Metric) {
	for name, pool := range p {
		s := pool.Stat()
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{name}, labels...)...)
		}
		counter := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, append([]string{name}, labels...)...)
		}
		gauge(poolDesc, float64(s.AcquiredConns()), "acquired")
		gauge(poolDesc, float64(s.IdleConns()), "idle")
		gauge(poolDesc, float64(s.ConstructingConns()), "constructing")
		gauge(poolLimitDesc, float64(s.MaxConns()))
		counter(poolAcquiresDesc, float64(s.AcquireCount()-s.EmptyAcquireCount()), "at_once")
		counter(poolAcquiresDesc, float64(s.EmptyAcquireCount()), "waited")
		counter(poolAcquiresDesc, float64(s.CanceledAcquireCount()), "gave_up")
		counter(poolWaitDesc, s.EmptyAcquireWaitTime().Seconds())
	}
}
