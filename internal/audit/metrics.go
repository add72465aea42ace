package audit

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics shows what the audit has found. The gauges are read from Postgres, so that every
// worker shows the same.
type Metrics struct {
	findings *prometheus.GaugeVec   // finding
	seen     *prometheus.CounterVec // finding
	orders   prometheus.Counter
	last     prometheus.Gauge
}

// NewMetrics registers the audit's metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	m := &Metrics{
		findings: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "esimflow_audit_findings", Help: "Open findings of the audit. Read from Postgres by every worker: use max by (finding), not sum.",
		}, []string{"finding"}),
		seen: f.NewCounterVec(prometheus.CounterOpts{
			Name: "esimflow_audit_found_total", Help: "Findings of the audit when they were seen first, those included that were adopted at once.",
		}, []string{"finding"}),
		orders: f.NewCounter(prometheus.CounterOpts{
			Name: "esimflow_audit_orders_total", Help: "Orders of PressOne's list that this worker has audited.",
		}),
		last: f.NewGauge(prometheus.GaugeOpts{
			Name: "esimflow_audit_last_complete_timestamp_seconds", Help: "When the last complete audit ended; 0: never. Read from Postgres by every worker: use max by (), not sum.",
		}),
	}
	for _, k := range Kinds() {
		m.findings.WithLabelValues(string(k))
		m.seen.WithLabelValues(string(k))
	}
	return m
}

func (m *Metrics) found(k Kind) { m.seen.WithLabelValues(string(k)).Inc() }

func (m *Metrics) read(n int) { m.orders.Add(float64(n)) }

const measureSQL = `
SELECT count(*) FILTER (WHERE finding = 'orphan') AS orphans, count(*) FILTER (WHERE finding = 'double') AS doubles,
       count(*) FILTER (WHERE finding = 'phantom') AS phantoms,
       (SELECT max(finished_at) FROM audit_run WHERE state = 'done') AS last
FROM audit_finding
WHERE status = 'open'`

// measure reads the gauges.
func (a *Auditor) measure(ctx context.Context) error {
	var orphans, doubles, phantoms int
	var last *time.Time
	if err := a.DB.QueryRow(ctx, measureSQL).Scan(&orphans, &doubles, &phantoms, &last); err != nil {
		return wrap("measure", err)
	}
	for k, n := range map[Kind]int{Orphan: orphans, Double: doubles, Phantom: phantoms} {
		a.Metrics.findings.WithLabelValues(string(k)).Set(float64(n))
	}
	if last != nil {
		a.Metrics.last.Set(float64(last.Unix()))
	}
	return nil
}

func collectIDs(rows pgx.Rows) ([]int64, error) { return pgx.CollectRows(rows, pgx.RowTo[int64]) }
