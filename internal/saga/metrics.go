package saga

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"esimflow/internal/message"
)

// Metrics counts what happens to sagas.
type Metrics struct {
	transitions  *prometheus.CounterVec // from, event, to: the edges of the table
	ends         *prometheus.CounterVec // kind, end
	conflicts    *prometheus.CounterVec // reason
	deadLetters  *prometheus.CounterVec // kind, code, class
	unrecognized prometheus.Gauge
	commitSize   *prometheus.HistogramVec // what
	commitTime   *prometheus.HistogramVec // what
}

// What is committed together.
const (
	commitDecisions = "decisions"
	commitRequests  = "requests"
)

// NewMetrics registers the saga's metrics. Every edge of the table is there from the
// start, at zero: a counter born at one is invisible to increase().
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	m := &Metrics{
		transitions: f.NewCounterVec(prometheus.CounterOpts{
			Name: "esimflow_saga_transitions_total", Help: "Transitions of sagas, by the edges of the state table.",
		}, []string{"from", "event", "to"}),
		ends: f.NewCounterVec(prometheus.CounterOpts{
			Name: "esimflow_saga_ends_total", Help: "Sagas that ended. A replayed saga ends again.",
		}, []string{"kind", "end"}),
		conflicts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "esimflow_saga_conflicts_total", Help: "Writes that changed nothing: fencing at work.",
		}, []string{"reason"}),
		deadLetters: f.NewCounterVec(prometheus.CounterOpts{
			Name: "esimflow_dead_letters_total", Help: "Dead letters opened, by code and class.",
		}, []string{"kind", "code", "class"}),
	}
	m.unrecognized = f.NewGauge(prometheus.GaugeOpts{
		Name: "esimflow_saga_unrecognized_sagas",
		Help: "Sagas in a state that this version does not know, left alone. Read from Postgres by every worker: use max by (), not sum.",
	})
	m.commitSize = f.NewHistogramVec(prometheus.HistogramOpts{
		Name: "esimflow_commit_batch_size", Help: "Decisions about sagas, or requests, that shared a commit.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 9), NativeHistogramBucketFactor: 1.1,
	}, []string{"what"})
	m.commitTime = f.NewHistogramVec(prometheus.HistogramOpts{
		Name: "esimflow_commit_seconds", Help: "Duration of such a commit.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14), NativeHistogramBucketFactor: 1.1,
	}, []string{"what"})
	for _, what := range []string{commitDecisions, commitRequests} {
		m.commitSize.WithLabelValues(what)
		m.commitTime.WithLabelValues(what)
	}
	for _, r := range rules {
		m.transitions.WithLabelValues(string(r.From), string(r.On), string(r.To))
	}
	for _, k := range message.Kinds() {
		for _, end := range []State{Completed, DeadLettered, Discarded} {
			m.ends.WithLabelValues(string(k), string(end))
		}
		for _, c := range knownLetters {
			m.deadLetters.WithLabelValues(string(k), c.code, c.class)
		}
	}
	m.conflicts.WithLabelValues("version")
	m.conflicts.WithLabelValues("lease_lost")
	return m
}

// knownLetters are the codes and classes that are known beforehand. Other codes of
// PressOne's are counted as "other": a label is a closed set.
var knownLetters = []struct{ code, class string }{
	{"11", "insufficient_credit"},
	{"4007", "insufficient_credit"},
	{"http_402", "insufficient_credit"},
	{"33", "out_of_stock"},
	{"http_422", "out_of_stock"},
	{"http_422", "rejected"},
	{"73", ClassRecycled},
	{"14", "rejected"},
	{"23", "rejected"},
	{"34", "rejected"},
	{"43", "rejected"},
	{"4001", "rejected"},
	{"4005", "rejected"},
	{"4008", "rejected"},
	{"4010", "rejected"},
	{"http_400", "rejected"},
	{"http_404", "rejected"},
	{"http_413", "rejected"},
	{CodePrecheck, ClassNotOffered},
	{CodeRetriesExhausted, ClassExhausted},
	{CodeDeadline, ClassExhausted},
	{CodePollDeadline, ClassNotReady},
	{CodeOutcomeUnknown, ClassOutcomeUnknown},
	{CodeMalformed, ClassMalformed},
	{CodeConflict, ClassConflict},
	{CodeExpired, ClassExpired},
}

// DeadLetter counts a dead letter that was opened.
func (m *Metrics) DeadLetter(k message.Kind, code, class string) {
	for _, c := range knownLetters {
		if c.code == code && c.class == class {
			m.deadLetters.WithLabelValues(string(k), code, class).Inc()
			return
		}
	}
	m.deadLetters.WithLabelValues(string(k), "other", class).Inc()
}

// Accepted counts a saga that intake has accepted.
func (m *Metrics) Accepted(d Decision) { m.moved(d) }

func (m *Metrics) moved(d Decision) {
	for _, e := range d.entries() {
		m.transitions.WithLabelValues(string(e.From), string(e.Event), string(e.To)).Inc()
	}
	if d.DeadLetter != nil {
		m.DeadLetter(d.DeadLetter.Kind, d.DeadLetter.Code, d.DeadLetter.Class)
	}
	switch d.After.State { //nolint:exhaustive // only ends are counted
	case DeadLettered, Discarded:
		m.ends.WithLabelValues(string(d.After.Kind), string(d.After.State)).Inc()
	}
}

func (m *Metrics) announced(k message.Kind, n int) {
	m.transitions.WithLabelValues(string(Notifying), string(Announced), string(Completed)).Add(float64(n))
	m.ends.WithLabelValues(string(k), string(Completed)).Add(float64(n))
}

// committed notes a commit, whether it has succeeded or not.
func (m *Metrics) committed(what string, n int, took time.Duration) {
	m.commitSize.WithLabelValues(what).Observe(float64(n))
	m.commitTime.WithLabelValues(what).Observe(took.Seconds())
}

func (m *Metrics) conflict() { m.conflicts.WithLabelValues("version").Inc() }

func (m *Metrics) leaseLost() { m.conflicts.WithLabelValues("lease_lost").Inc() }
