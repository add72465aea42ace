package monitor

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"esimflow/internal/message"
	"esimflow/internal/saga"
)

// open are the states that are not an end, in the order of the flow.
var open = []saga.State{saga.Pending, saga.Submitting, saga.Unknown, saga.Polling, saga.Notifying}

// notifyingLimit is how old a result may be before somebody should look for its publisher.
const notifyingLimit = 5 * time.Minute

var (
	sagasDesc = prometheus.NewDesc("esimflow_sagas",
		"Open sagas; of those that notify, 200,000 at the most. Read from Postgres by every process: use max by (kind, state), not sum.", []string{"kind", "state"}, nil)
	oldestDesc = prometheus.NewDesc("esimflow_saga_oldest_age_seconds",
		"Age of the oldest saga in that state: since it was accepted or replayed (pending), its submission was begun (submitting, unknown), "+
			"it was bought (polling), its result was committed (notifying); 0 if there is none. "+
			"Read from Postgres by every process, and grows on when Postgres is away: use max by (state), not sum.", []string{"state"}, nil)
	limitDesc = prometheus.NewDesc("esimflow_saga_age_limit_seconds",
		"The age that no saga in that state should reach, by the configuration: use max by (state).", []string{"state"}, nil)
	dueDesc = prometheus.NewDesc("esimflow_saga_due",
		"Sagas that are due and held by no worker. Read from Postgres by every process: use max by (), not sum.", nil, nil)
	dueAgeDesc = prometheus.NewDesc("esimflow_saga_due_oldest_age_seconds",
		"For how long the first of the sagas that are due has been, held by no worker; 0 if there is none. "+
			"Read from Postgres by every process, and grows on when Postgres is away: use max by (), not sum.", nil, nil)
)

// Limits is what the policy allows a saga's stages to take.
func Limits(p saga.Policy, leaseTTL time.Duration) map[saga.State]time.Duration {
	return map[saga.State]time.Duration{
		saga.Pending: p.Deadline, saga.Submitting: p.SubmitTimeout + 2*leaseTTL, saga.Unknown: p.Deadline,
		saga.Polling: p.PollDeadline, saga.Notifying: notifyingLimit,
	}
}

// plannedSQL keeps what reads indexes from reading tables, whatever the planner was told
// when they were small, and bounds what it takes.
const plannedSQL = `
SELECT set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true), set_config('statement_timeout', '10s', true)`

// The condition is that of the index saga_waiting, word for word.
const waitingSQL = `
SELECT stage, kind, count(*), EXTRACT(EPOCH FROM now() - min(deadline_at))::float8
FROM saga
WHERE CASE WHEN worker IS NULL THEN stage IN ('pending', 'unknown', 'polling') END
GROUP BY stage, kind`

// Workers hold a few hundred each.
const heldSQL = `
SELECT state, kind, count(*), EXTRACT(EPOCH FROM now() - min(deadline_at))::float8,
       COALESCE(EXTRACT(EPOCH FROM now() - min(intent_at)), 0)::float8
FROM saga
WHERE worker IS NOT NULL AND state IN ('pending', 'submitting', 'unknown', 'polling')
GROUP BY state, kind`

// Whoever waits for its result to be published is in the outbox. Read by its key it is as
// long as what is in it; the table stays as long as it ever was. Its rows are wide, and after
// hours without NATS there are many: so many are enough.
const notifyingSQL = `
SELECT split_part(subject, '.', 3), count(*), EXTRACT(EPOCH FROM now() - min(created_at))::float8
FROM (SELECT subject, created_at FROM outbox WHERE saga_id IS NOT NULL ORDER BY id LIMIT 200000) first
GROUP BY 1`

// As they are claimed.
const dueSQL = `
SELECT begun.n + fresh.n, COALESCE(EXTRACT(EPOCH FROM now() - LEAST(begun.first, fresh.first)), 0)::float8
FROM (
    SELECT count(*) AS n, min(due_at) AS first
    FROM saga
    WHERE worker IS NULL AND (stage IN ('unknown', 'polling') OR stage = 'pending' AND failures > 0) AND due_at <= now()
) begun, (
    SELECT count(*) AS n, min(due_at) AS first
    FROM saga
    WHERE worker IS NULL AND stage = 'pending' AND failures = 0 AND due_at <= now()
) fresh`

// Sagas counts open sagas, by state.
func Sagas(db *pgxpool.Pool, limits map[saga.State]time.Duration) *Part {
	r := &sagaReader{db: db, limits: limits}
	return &Part{name: "sagas", descs: []*prometheus.Desc{sagasDesc, oldestDesc, limitDesc, dueDesc, dueAgeDesc}, read: r.read}
}

type sagaReader struct {
	db     *pgxpool.Pool
	limits map[saga.State]time.Duration
}

// census is what was counted.
type census struct {
	counts map[saga.State]map[message.Kind]float64
	oldest map[saga.State]float64 // seconds
	due    float64
	dueFor float64 // seconds
}

func (c *census) add(s saga.State, k message.Kind, n, age float64) {
	if c.counts[s] == nil {
		c.counts[s] = map[message.Kind]float64{}
	}
	c.counts[s][k] += n
	c.oldest[s] = max(c.oldest[s], age)
}

func (r *sagaReader) read(ctx context.Context) ([]sample, error) {
	now := time.Now()
	c, err := r.count(ctx)
	if err != nil {
		return nil, fmt.Errorf("monitor: sagas: %w", err)
	}
	samples := []sample{{desc: dueDesc, value: c.due}, aged(dueAgeDesc, now, c.due, c.dueFor)}
	for _, s := range open {
		total := 0.0
		for _, k := range message.Kinds() {
			total += c.counts[s][k]
			samples = append(samples, sample{desc: sagasDesc, value: c.counts[s][k], labels: []string{string(k), string(s)}})
		}
		samples = append(samples, aged(oldestDesc, now, total, c.oldest[s], string(s)),
			sample{desc: limitDesc, value: r.limits[s].Seconds(), labels: []string{string(s)}})
	}
	return samples, nil
}

// aged is an age that grows on if there is anything that ages.
func aged(d *prometheus.Desc, now time.Time, n, age float64, labels ...string) sample {
	s := sample{desc: d, labels: labels}
	if n > 0 {
		s.since = ago(now, age)
	}
	return s
}

// count counts in one round trip.
func (r *sagaReader) count(ctx context.Context) (*census, error) {
	c := &census{counts: map[saga.State]map[message.Kind]float64{}, oldest: map[saga.State]float64{}}
	// How long ago a stage began is how long ago it ends, and what it may take.
	stage := func(s saga.State, sinceDeadline float64) float64 { return max(0, sinceDeadline+r.limits[s].Seconds()) }
	var s saga.State
	var k message.Kind
	var n, late, sent float64
	var b pgx.Batch // one round trip is one transaction
	b.Queue(plannedSQL)
	b.Queue(waitingSQL).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&s, &k, &n, &late}, func() error {
			age := 0.0
			if s != saga.Unknown { // its time is that of its submission, below
				age = stage(s, late)
			}
			c.add(s, k, n, age)
			return nil
		})
		return err
	})
	b.Queue(heldSQL).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&s, &k, &n, &late, &sent}, func() error {
			age := sent
			if s == saga.Pending || s == saga.Polling {
				age = stage(s, late)
			}
			c.add(s, k, n, age)
			return nil
		})
		return err
	})
	b.Queue(notifyingSQL).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&k, &n, &late}, func() error {
			c.add(saga.Notifying, k, n, max(0, late))
			return nil
		})
		return err
	})
	b.Queue(unknownAgeSQL).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&sent)
		c.oldest[saga.Unknown] = max(c.oldest[saga.Unknown], sent)
		return err
	})
	b.Queue(dueSQL).QueryRow(func(row pgx.Row) error { return row.Scan(&c.due, &c.dueFor) })
	return c, r.db.SendBatch(ctx, &b).Close()
}

const unknownAgeSQL = `
SELECT COALESCE(EXTRACT(EPOCH FROM now() - min(intent_at)), 0)::float8
FROM saga
WHERE CASE WHEN worker IS NULL THEN stage IN ('pending', 'unknown', 'polling') END AND stage = 'unknown'`
