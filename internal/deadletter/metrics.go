package deadletter

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics counts what becomes of letters that are replayed. A nil one counts nothing.
type Metrics struct {
	replays *prometheus.CounterVec // result
}

// NewMetrics registers the metrics of replays.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{replays: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "esimflow_replays_total",
		Help: "Dead letters that were to be replayed, by what became of them: done, refused, failed, or skipped because the replay was stopped.",
	}, []string{"result"})}
	for _, f := range Fates() {
		if f != Waiting {
			m.replays.WithLabelValues(string(f))
		}
	}
	return m
}

func (m *Metrics) count(f Fate, n int) {
	if m != nil {
		m.replays.WithLabelValues(string(f)).Add(float64(n))
	}
}
