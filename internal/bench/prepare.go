package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"esimflow/internal/devstack"
)

// settling is how long a connection of Postgres may keep its counters to itself while
// nothing is asked of it, with a margin.
const settling = 10500 * time.Millisecond

func (r *run) startAll(ctx context.Context) error {
	env := r.cfg.workerEnv(r.pg.LoopbackURL(), r.nats.telling.URL, r.provider.telling.URL)
	for i := range r.cfg.Workers + 1 {
		kind, name := workerProcess, fmt.Sprintf("%s-%d", workerProcess, i+1)
		if i == r.cfg.Workers {
			kind, name = publisherProcess, publisherProcess
		}
		port, err := devstack.FreePort()
		if err != nil {
			return err
		}
		address := fmt.Sprintf("127.0.0.1:%d", port)
		p, err := r.launcher.start(ctx, kind, name, task{}, append(slices.Clone(env), "TELEMETRY_ADDR="+address))
		if err != nil {
			return err
		}
		p.ready = "http://" + address + "/readyz"
		r.all = append(r.all, p)
		if kind == workerProcess {
			r.workers = append(r.workers, p)
		}
		if err := awaitReady(ctx, p); err != nil {
			return err
		}
		r.figures.StartMillis[name] = float64(time.Since(p.begun).Microseconds()) / 1000
	}
	return nil
}

// readyTimeout is how long a worker may take to start. Long: it may have to find its way
// through millions of sagas.
const readyTimeout = 10 * time.Minute

func awaitReady(ctx context.Context, p *process) error {
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	return poll(ctx, 2*time.Millisecond, readyTimeout, func() (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.ready, http.NoBody)
		if err != nil {
			return "", err
		}
		if res, err := client.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return "", nil
			}
		}
		return p.name + " is not ready", nil
	})
}

// poll looks every so often until nothing is wrong any more, but no longer than limit.
func poll(ctx context.Context, every, limit time.Duration, look func() (wrong string, err error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for begun := time.Now(); ; {
		wrong, err := look()
		switch {
		case err != nil:
			return err
		case wrong == "":
			return nil
		case time.Since(begun) > limit:
			return fmt.Errorf("bench: %s after %v", wrong, limit)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// prepare warms up and leaves everything at rest, with the consumers paused and, without a
// rate, all requests on the stream.
func (r *run) prepare(ctx context.Context, prefix string) error {
	if r.cfg.WarmUp > 0 {
		r.say("Run %d of %d: warming up with %d sagas …", r.number, r.cfg.Runs, r.cfg.WarmUp)
		warm := batch{prefix: prefix, n: r.cfg.WarmUp, cfg: r.cfg}
		o, err := observe(ctx, r.js)
		if err != nil {
			return err
		}
		defer o.stop()
		if err := warm.publishAll(ctx, r.js); err != nil {
			return err
		}
		if err := o.await(ctx, warm.n, r.cfg.Progress); err != nil {
			return err
		}
		conn, err := r.connect(ctx)
		if err != nil {
			return err
		}
		if err := errors.Join(drained(ctx, conn), conn.Close(ctx)); err != nil {
			return err
		}
	}
	if err := r.pause(ctx, time.Now().Add(longPause)); err != nil {
		return err
	}
	rest := time.NewTimer(settling)
	defer rest.Stop()
	if err := r.vacuum(ctx); err != nil {
		return err
	}
	if r.cfg.WarmUp > 0 {
		select {
		case <-rest.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if r.cfg.Rate == 0 {
		if err := r.batch.publishAll(ctx, r.js); err != nil {
			return err
		}
	}
	return r.exec(ctx, `CHECKPOINT`)
}

func (s *stack) vacuum(ctx context.Context) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `VACUUM (ANALYZE)`)
	if err = errors.Join(err, conn.Close(ctx)); err != nil {
		return fmt.Errorf("bench: vacuum: %w", err)
	}
	return nil
}

const outboxSQL = `
SELECT count(*)
FROM outbox`

// drained waits until the outbox is empty, which is when the last saga is completed.
func drained(ctx context.Context, conn *pgx.Conn) error {
	return awaitNone(ctx, conn, outboxSQL, "messages in the outbox")
}

// awaitNone waits until sql counts nothing.
func awaitNone(ctx context.Context, conn *pgx.Conn, sql, what string) error {
	return poll(ctx, 5*time.Millisecond, stallTimeout, func() (string, error) {
		n, err := one[int](ctx, conn, sql)
		if err != nil || n == 0 {
			return "", err
		}
		return fmt.Sprintf("%d %s are left", n, what), nil
	})
}

// hold opens the snapshot that keeps everything from being vacuumed, if that is wanted.
func (r *run) hold(ctx context.Context) (release func(), err error) {
	if !r.cfg.Snapshot {
		return func() {}, nil
	}
	conn, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	release = func() { _ = conn.Close(context.WithoutCancel(ctx)) }
	for _, sql := range []string{`BEGIN ISOLATION LEVEL REPEATABLE READ`, `SELECT FROM saga LIMIT 1`} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			release()
			return nil, fmt.Errorf("bench: snapshot: %w", err)
		}
	}
	return release, nil
}

const clientsSQL = `
SELECT count(*)
FROM pg_stat_activity
WHERE datname = 'esimflow' AND backend_type = 'client backend' AND state <> 'idle in transaction'`

// alone waits until nobody is connected any more, but for the snapshot: only then has
// everybody's share been counted.
func (r *run) alone(ctx context.Context) error {
	return awaitNone(ctx, r.admin, clientsSQL, "connections to Postgres")
}

// quietSample is how long other programs have to be quiet.
const quietSample = time.Second

// awaitQuiet waits until the machine has next to nothing to do, but not for ever.
func (r *run) awaitQuiet(ctx context.Context) error {
	for begun := time.Now(); time.Since(begun) < r.cfg.Quiet; {
		before, err := readMachine()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(quietSample):
		}
		after, err := readMachine()
		if err != nil || after.busy-before.busy+after.stole-before.stole < noise*quietSample.Seconds() {
			return err
		}
	}
	return nil
}
