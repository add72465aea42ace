package intake

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"esimflow/internal/message"
	"esimflow/internal/saga"
)

// What can become of a message.
const (
	resultAccepted  = "accepted"
	resultDuplicate = "duplicate"
)

// Metrics counts what becomes of messages.
type Metrics struct {
	messages *prometheus.CounterVec   // kind, result
	seconds  *prometheus.HistogramVec // kind
	sagas    *saga.Metrics
}

// NewMetrics registers intake's metrics, for all consumers.
func NewMetrics(reg prometheus.Registerer, sagas *saga.Metrics) *Metrics {
	f := promauto.With(reg)
	m := &Metrics{
		sagas: sagas,
		messages: f.NewCounterVec(prometheus.CounterOpts{
			Name: "esimflow_intake_messages_total", Help: "Requests decided on, by what became of them.",
		}, []string{"kind", "result"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "esimflow_intake_commit_seconds", Help: "From receiving a batch of requests to its commit.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14), NativeHistogramBucketFactor: 1.1,
		}, []string{"kind"}),
	}
	for _, k := range message.Kinds() {
		for _, result := range []string{resultAccepted, resultDuplicate, saga.CodeConflict, saga.CodeMalformed, saga.CodeExpired} {
			m.messages.WithLabelValues(string(k), result)
		}
		m.seconds.WithLabelValues(string(k))
	}
	return m
}

func (m *Metrics) decided(k message.Kind, a *arrival) {
	m.messages.WithLabelValues(string(k), a.result).Inc()
	switch a.result {
	case resultAccepted:
		m.sagas.Accepted(a.decision)
	case resultDuplicate:
	default:
		if a.buried {
			m.sagas.DeadLetter(k, a.letter.Code, a.letter.Class)
		}
	}
}

func (m *Metrics) committed(k message.Kind, d time.Duration) {
	m.seconds.WithLabelValues(string(k)).Observe(d.Seconds())
}
