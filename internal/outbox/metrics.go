package outbox

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics counts what is published. What waits is counted by the monitor.
type metrics struct {
	published *prometheus.CounterVec // result: ok, duplicate, error
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		published: f.NewCounterVec(prometheus.CounterOpts{
			Name: "esimflow_outbox_published_total", Help: "Messages sent to JetStream, by what it answered.",
		}, []string{"result"}),
	}
	for _, result := range []string{"ok", "duplicate", "error"} {
		m.published.WithLabelValues(result)
	}
	return m
}
