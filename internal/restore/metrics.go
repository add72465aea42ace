package restore

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics shows what a Witness has found.
type Metrics struct {
	losses prometheus.Counter
	paused prometheus.Gauge
	seen   prometheus.Gauge
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		losses: f.NewCounter(prometheus.CounterOpts{
			Name: "esimflow_witness_losses_total", Help: "Times that this worker found that Postgres has lost commits, and paused ordering.",
		}),
		paused: f.NewGauge(prometheus.GaugeOpts{
			Name: "esimflow_witness_paused_kinds",
			Help: "Kinds of request that are paused because Postgres has lost commits. Every replica reports the same: use max by (), not sum.",
		}),
		seen: f.NewGauge(prometheus.GaugeOpts{
			Name: "esimflow_witness_acknowledged_timestamp_seconds",
			Help: "When NATS has last acknowledged to this worker how far Postgres has counted; 0: never. Until a worker has asked, it submits nothing.",
		}),
	}
}

func (m *Metrics) turned(paused int, lost bool) {
	m.paused.Set(float64(paused))
	if lost {
		m.losses.Inc()
	}
}

func (m *Metrics) acknowledged() { m.seen.SetToCurrentTime() }
