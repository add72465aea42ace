package monitor

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"esimflow/internal/saga"
)

var (
	lettersDesc = prometheus.NewDesc("esimflow_dead_letters",
		"Open dead letters. Read from Postgres by every process: use max by (code), not sum.", []string{"code"}, nil)
	letterAgeDesc = prometheus.NewDesc("esimflow_dead_letter_oldest_age_seconds",
		"Age of the oldest open dead letter of that code; 0 if there is none. Read from Postgres by every process, and grows on when "+
			"Postgres is away: use max by (code), not sum.", []string{"code"}, nil)
)

const lettersSQL = `
SELECT code, count(*), EXTRACT(EPOCH FROM now() - min(created_at))::float8
FROM dead_letter
WHERE status = 'open'
GROUP BY code`

// Letters counts open dead letters.
func Letters(db *pgxpool.Pool) *Part {
	return &Part{name: "dead_letters", descs: []*prometheus.Desc{lettersDesc, letterAgeDesc}, read: func(ctx context.Context) ([]sample, error) {
		now := time.Now()
		counts, oldest := map[string]float64{}, map[string]float64{}
		var code string
		var n, age float64
		var b pgx.Batch
		b.Queue(plannedSQL)
		b.Queue(lettersSQL).Query(func(rows pgx.Rows) error {
			_, err := pgx.ForEachRow(rows, []any{&code, &n, &age}, func() error {
				label := saga.CodeLabel(code)
				counts[label] += n
				oldest[label] = max(oldest[label], age)
				return nil
			})
			return err
		})
		if err := db.SendBatch(ctx, &b).Close(); err != nil {
			return nil, fmt.Errorf("monitor: dead letters: %w", err)
		}
		var samples []sample
		for _, label := range saga.CodeLabels() {
			samples = append(samples, sample{desc: lettersDesc, value: counts[label], labels: []string{label}},
				aged(letterAgeDesc, now, counts[label], oldest[label], label))
		}
		return samples, nil
	}}
}
