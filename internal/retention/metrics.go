package retention

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics counts what has left.
type Metrics struct {
	what    *prometheus.CounterVec // what
	seconds prometheus.Histogram
	behind  prometheus.Gauge
	before  prometheus.Gauge
}

// What can leave.
const (
	whatSaga    = "saga"
	whatLetter  = "dead_letter"
	whatFinding = "audit_finding"
	whatRun     = "audit_run"
	whatReplay  = "replay"
	whatCodes   = "activation_codes" // of a saga that stays
)

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	m := &Metrics{
		what: f.NewCounterVec(prometheus.CounterOpts{
			Name: "esimflow_retention_removed_total", Help: "What this worker has removed after RETENTION, or, of activation codes, from how many sagas after CODES_KEEP.",
		}, []string{"what"}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "esimflow_retention_batch_seconds", Help: "How long removing a batch of sagas took, its commit included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14), NativeHistogramBucketFactor: 1.1,
		}),
		behind: f.NewGauge(prometheus.GaugeOpts{
			Name: "esimflow_retention_behind_seconds",
			Help: "How much later than they should sagas leave, shown by the worker that removes them: use max by (), not sum.",
		}),
		before: f.NewGauge(prometheus.GaugeOpts{
			Name: "esimflow_retention_removed_before_timestamp_seconds",
			Help: "Requests from before this are refused unless they are on record; shown by the worker that removes sagas, 0 by others: use max by (), not sum.",
		}),
	}
	for _, what := range []string{whatSaga, whatLetter, whatFinding, whatRun, whatReplay, whatCodes} {
		m.what.WithLabelValues(what)
	}
	return m
}

func (m *Metrics) removed(r Removed, took time.Duration) {
	m.what.WithLabelValues(whatSaga).Add(float64(r.Sagas))
	m.what.WithLabelValues(whatLetter).Add(float64(r.Letters))
	m.what.WithLabelValues(whatFinding).Add(float64(r.Findings))
	m.what.WithLabelValues(whatRun).Add(float64(r.Runs))
	m.what.WithLabelValues(whatReplay).Add(float64(r.Replays))
	if took > 0 {
		m.seconds.Observe(took.Seconds())
	}
}

func (m *Metrics) wiped(sagas int64) { m.what.WithLabelValues(whatCodes).Add(float64(sagas)) }

func (m *Metrics) late(behind time.Duration) { m.behind.Set(behind.Seconds()) }

func (m *Metrics) announced(before time.Time) { m.before.Set(float64(before.Unix())) }
