package saga

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
	"esimflow/internal/seal"
)

// Metrics counts what happens to sagas.
type Metrics struct {
	transitions  *prometheus.CounterVec   // from, event, to: the edges of the table
	ends         *prometheus.CounterVec   // kind, end
	conflicts    *prometheus.CounterVec   // reason
	deadLetters  *prometheus.CounterVec   // kind, code, class
	durations    *prometheus.HistogramVec // kind, end
	spend        *prometheus.CounterVec   // kind, currency
	unrecognized prometheus.Gauge
	unopened     prometheus.Counter
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
		durations: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "esimflow_saga_duration_seconds",
			Help: "From the request's arrival on the stream to the saga's end. A replayed saga ends again, and counts from its request.",
			Buckets: []float64{
				.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800, 86400,
			},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"kind", "end"}),
		spend: f.NewCounterVec(prometheus.CounterOpts{
			Name: "esimflow_spend_total", Help: "Price of what was bought: what PressOne states with the order, times the quantity. It does not say whether that is the price of one; " +
				"if it is that of all, this is too much for orders of several.",
		}, []string{"kind", "currency"}),
	}
	m.unopened = f.NewCounter(prometheus.CounterOpts{
		Name: "esimflow_saga_unopened_total",
		Help: "Purchases and kept answers that could not be decrypted: their key is not in ENCRYPTION_KEY, or they were altered.",
	})
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
			m.durations.WithLabelValues(string(k), string(end))
		}
		for _, c := range knownLetters {
			m.deadLetters.WithLabelValues(string(k), c.code, c.class)
			m.deadLetters.WithLabelValues(string(k), otherCode, c.class)
		}
		for _, currency := range pressone.CurrencyLabels() {
			m.spend.WithLabelValues(string(k), currency)
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
	m.deadLetters.WithLabelValues(string(k), otherCode, class).Inc()
}

// otherCode stands for all codes that are not known beforehand.
const otherCode = "other"

// CodeLabels are what CodeLabel returns.
func CodeLabels() []string {
	labels := []string{otherCode}
	for _, c := range knownLetters {
		if !slices.Contains(labels, c.code) {
			labels = append(labels, c.code)
		}
	}
	return labels
}

// CodeLabel is a dead letter's code as metrics name it: labels are a closed set.
func CodeLabel(code string) string {
	for _, c := range knownLetters {
		if c.code == code {
			return code
		}
	}
	return otherCode
}

// Accepted counts a saga that intake has accepted.
func (m *Metrics) Accepted(d Decision) { m.moved(d) }

func (m *Metrics) moved(d Decision) {
	for _, e := range d.entries() {
		m.transitions.WithLabelValues(string(e.From), string(e.Event), string(e.To)).Inc()
		switch e.Event { //nolint:exhaustive // only what says that it was bought
		case Submitted, Found, Adopted:
			m.bought(d.After)
		}
	}
	if d.DeadLetter != nil {
		m.DeadLetter(d.DeadLetter.Kind, d.DeadLetter.Code, d.DeadLetter.Class)
	}
	switch d.After.State { //nolint:exhaustive // only ends are counted
	case DeadLettered, Discarded:
		m.ended(d.After.Kind, d.After.State, d.At.Sub(d.After.RequestedAt).Seconds())
	}
}

// bought counts what a saga has just been found to have bought.
func (m *Metrics) bought(s Saga) {
	if s.Purchase == nil {
		return
	}
	if price, err := strconv.ParseFloat(string(s.Purchase.Order.Price), 64); err == nil && price > 0 {
		m.spend.WithLabelValues(string(s.Kind), pressone.CurrencyLabel(s.Purchase.Order.Currency)).Add(price * float64(max(1, s.Quantity)))
	}
}

// ended counts an end, so many seconds after the request.
func (m *Metrics) ended(k message.Kind, end State, seconds float64) {
	m.ends.WithLabelValues(string(k), string(end)).Inc()
	m.durations.WithLabelValues(string(k), string(end)).Observe(max(0, seconds)) // clocks may differ
}

func (m *Metrics) announced(k message.Kind, seconds float64) {
	m.transitions.WithLabelValues(string(Notifying), string(Announced), string(Completed)).Inc()
	m.ended(k, Completed, seconds)
}

// committed notes a commit, whether it has succeeded or not.
func (m *Metrics) committed(what string, n int, took time.Duration) {
	m.commitSize.WithLabelValues(what).Observe(float64(n))
	m.commitTime.WithLabelValues(what).Observe(took.Seconds())
}

func (m *Metrics) conflict() { m.conflicts.WithLabelValues("version").Inc() }

func (m *Metrics) leaseLost() { m.conflicts.WithLabelValues("lease_lost").Inc() }

// opened counts what could not be decrypted, if err says so.
func (m *Metrics) opened(err error) {
	if errors.Is(err, seal.ErrKeyMissing) || errors.Is(err, seal.ErrBroken) {
		m.unopened.Inc()
	}
}
