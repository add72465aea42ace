package ops

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Why somebody was not let through.
const (
	refusedSecret = "secret" // a token or a session that is wrong, or an identity without a role
	refusedRate   = "rate"   // wrong too often
	refusedRole   = "role"   // a viewer who wanted to act
	refusedOrigin = "origin" // sent by another site, or by another name for this machine
)

// Where they were not let through.
const (
	atAPI     = "api"
	atConsole = "console"
	atOIDC    = "oidc"
)

// Metrics counts who was refused. A nil one counts nothing.
type Metrics struct {
	refused *prometheus.CounterVec // door, reason
}

// NewMetrics registers the metrics of the console and the API.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{refused: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "esimflow_access_refused_total",
		Help: "Requests to the console and the API that were refused, by where and why: " +
			"a wrong secret, wrong too often (rate), a viewer who wanted to act (role), or sent by another site (origin).",
	}, []string{"door", "reason"})}
	for _, door := range []string{atAPI, atConsole, atOIDC} {
		for _, reason := range []string{refusedSecret, refusedRate, refusedRole, refusedOrigin} {
			m.refused.WithLabelValues(door, reason)
		}
	}
	return m
}

func (m *Metrics) refuse(door, reason string) {
	if m != nil {
		m.refused.WithLabelValues(door, reason).Inc()
	}
}
