package pressone

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"esimflow/internal/message"
)

// Metrics counts what is asked of PressOne. One is shared by the client, the token and the gate. A nil Metrics counts nothing.
type Metrics struct {
	requests    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	gateOpen    *prometheus.GaugeVec
	closedUntil *prometheus.GaugeVec
	closures    *prometheus.CounterVec
	rampLimit   *prometheus.GaugeVec
	probes      *prometheus.CounterVec
	pauses      *prometheus.GaugeVec
	tokenExpiry prometheus.Gauge
	refreshes   *prometheus.CounterVec
}

const outcomeOK = "ok"

// Results of refreshing the token.
const (
	refreshOK      = "ok"
	refreshLimited = "limited" // the token endpoint's rate limit
	refreshAccount = "account" // wrong credentials
	refreshError   = "error"   // anything else
)

// NewMetrics registers the metrics of this package with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	m := &Metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "esimflow_provider_requests_total",
			Help: "Requests to PressOne by what is known about their effect. The code is PressOne's, or http_<status>, or other.",
		}, []string{"operation", "outcome", "code"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "esimflow_provider_request_seconds",
			Help:                            "How long requests to PressOne took, body included.",
			Buckets:                         []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"operation", "outcome"}),
		gateOpen: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "esimflow_provider_gate_open",
			Help: "1 when the lane is open, 0 when it is closed. Every replica reports the same: use min by (lane).",
		}, []string{"lane"}),
		closedUntil: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "esimflow_provider_gate_closed_until_timestamp_seconds",
			Help: "When the lane opens by itself, or is probed; +Inf when it is paused; 0 when it is open. Every replica reports the same: use max by (lane).",
		}, []string{"lane"}),
		closures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "esimflow_provider_gate_closures_total",
			Help: "Times that this replica closed a lane.",
		}, []string{"lane", "reason"}),
		rampLimit: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "esimflow_provider_gate_ramp_limit",
			Help: "Calls in flight that all workers together may have while the lane opens again after an outage; 0 when nobody counts. " +
				"Every replica reports the same: use max by (lane).",
		}, []string{"lane"}),
		probes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "esimflow_provider_gate_probes_total",
			Help: "Calls of this replica by which a lane was to be opened after an outage, by what came of them.",
		}, []string{"lane", "result"}),
		pauses: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "esimflow_paused",
			Help: "1 while operators have paused it: a lane, or a kind of request. Every replica reports the same: use max by (what, name).",
		}, []string{"what", "name"}),
		tokenExpiry: f.NewGauge(prometheus.GaugeOpts{
			Name: "esimflow_provider_token_expiry_timestamp_seconds",
			Help: "When the access token in use will be replaced; 0 before the first. Every replica reports its own: use max.",
		}),
		refreshes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "esimflow_provider_token_refreshes_total",
			Help: "Requests for an access token by result.",
		}, []string{"result"}),
	}
	m.initialize()
	return m
}

// initialize creates the series that alerts and dashboards look at, at zero: increase() does not see a counter born at 1.
func (m *Metrics) initialize() {
	for _, op := range operations {
		for _, outcome := range []string{outcomeOK, Unknown.String(), NotApplied.String(), Refused.String()} {
			m.seconds.WithLabelValues(string(op), outcome)
		}
		m.requests.WithLabelValues(string(op), outcomeOK, "")
	}
	m.expect()
	for _, lane := range lanes {
		m.gateOpen.WithLabelValues(string(lane)).Set(1)
		m.closedUntil.WithLabelValues(string(lane)).Set(0)
		m.rampLimit.WithLabelValues(string(lane)).Set(0)
		m.pauses.WithLabelValues(pauseLane, string(lane)).Set(0)
		for _, reason := range closeReasons {
			m.closures.WithLabelValues(string(lane), reason)
		}
		for _, v := range []verdict{answered, outage, silent} {
			m.probes.WithLabelValues(string(lane), v.String())
		}
	}
	for _, k := range message.Kinds() {
		m.pauses.WithLabelValues(pauseKind, string(k)).Set(0)
	}
	for _, result := range []string{refreshOK, refreshLimited, refreshAccount, refreshError} {
		m.refreshes.WithLabelValues(result)
	}
}

// observe counts one request; e is nil when it succeeded. The exemplar may be nil.
func (m *Metrics) observe(op Operation, e *Error, took time.Duration, exemplar prometheus.Labels) {
	if m == nil {
		return
	}
	outcome, code := outcomeOK, ""
	if e != nil {
		outcome, code = e.Disposition.String(), codeLabel(e)
	}
	m.requests.WithLabelValues(string(op), outcome, code).Inc()
	seconds := m.seconds.WithLabelValues(string(op), outcome)
	if pointing, ok := seconds.(prometheus.ExemplarObserver); ok && exemplar != nil {
		pointing.ObserveWithExemplar(took.Seconds(), exemplar)
		return
	}
	seconds.Observe(took.Seconds())
}

func (m *Metrics) refreshed(result string) {
	if m != nil {
		m.refreshes.WithLabelValues(result).Inc()
	}
}

func (m *Metrics) expires(in time.Duration) {
	if m != nil {
		m.tokenExpiry.Set(float64(time.Now().Add(in).Unix()))
	}
}

func (m *Metrics) closed(lane Lane, reason string) {
	if m != nil {
		m.closures.WithLabelValues(string(lane), reason).Inc()
	}
}

// lane shows how long a lane is closed for, and why. One that is down is closed until somebody has probed it.
func (m *Metrics) lane(lane Lane, closedFor time.Duration, reason string, p phase) {
	if m == nil {
		return
	}
	open, until := 1.0, 0.0
	paused := closedFor > 0 && reason == reasonPaused
	switch {
	case paused:
		open, until = 0, math.Inf(1)
	case closedFor > 0, p == phaseDown:
		open, until = 0, math.Round(float64(time.Now().Add(closedFor).UnixMilli())/1000)
	}
	m.gateOpen.WithLabelValues(string(lane)).Set(open)
	m.closedUntil.WithLabelValues(string(lane)).Set(until)
	m.paused(pauseLane, string(lane), paused)
}

func (m *Metrics) ramp(lane Lane, limit int) {
	if m != nil {
		m.rampLimit.WithLabelValues(string(lane)).Set(float64(limit))
	}
}

func (m *Metrics) probed(lane Lane, v verdict) {
	if m != nil {
		m.probes.WithLabelValues(string(lane), v.String()).Inc()
	}
}

func (m *Metrics) paused(what, name string, yes bool) {
	if m == nil {
		return
	}
	value := 0.0
	if yes {
		value = 1
	}
	m.pauses.WithLabelValues(what, name).Set(value)
}

// codeLabel keeps the label's values a closed set: PressOne's documented codes, its documented statuses, and other.
func codeLabel(e *Error) string {
	switch e.Code {
	case "11", "13", "14", "23", "33", "34", "43", "53", "73", "89",
		"4001", "4004", "4005", "4007", "4008", "4009", "4010", "4013", "4014", "4033", "5001":
		return e.Code
	case "":
	default:
		return "other"
	}
	switch e.Status {
	case 0:
		return ""
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound,
		http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
		http.StatusOK, http.StatusRequestTimeout:
		return "http_" + strconv.Itoa(e.Status)
	}
	return "other"
}
