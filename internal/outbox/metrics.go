package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	published *prometheus.CounterVec // result: ok, duplicate, error
	pending   prometheus.Gauge
	oldest    prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		published: f.NewCounterVec(prometheus.CounterOpts{
			Name: "esimflow_outbox_published_total", Help: "Messages sent to JetStream, by what it answered.",
		}, []string{"result"}),
		pending: f.NewGauge(prometheus.GaugeOpts{
			Name: "esimflow_outbox_pending_messages",
			Help: "Messages in the outbox. Read from Postgres by every publisher: use max by (), not sum.",
		}),
		oldest: f.NewGauge(prometheus.GaugeOpts{
			Name: "esimflow_outbox_oldest_age_seconds",
			Help: "Age of the oldest message in the outbox. Read from Postgres by every publisher: use max by (), not sum.",
		}),
	}
	for _, result := range []string{"ok", "duplicate", "error"} {
		m.published.WithLabelValues(result)
	}
	return m
}

const lagSQL = `
SELECT count(*), COALESCE(EXTRACT(EPOCH FROM now() - MIN(created_at)), 0)::float8
FROM outbox`

// refresh reads the gauges. The outbox is short, or somebody should know.
func (m *metrics) refresh(ctx context.Context, db *pgxpool.Pool) error {
	var pending, oldest float64
	if err := db.QueryRow(ctx, lagSQL).Scan(&pending, &oldest); err != nil {
		return fmt.Errorf("outbox: lag: %w", err)
	}
	m.pending.Set(pending)
	m.oldest.Set(oldest)
	return nil
}
