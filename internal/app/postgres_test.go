package app_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/config"
	"esimflow/internal/devstack"
	"esimflow/internal/pressonesim"
)

// Another session holds a snapshot for as long as hundreds of sagas flow, as a back-up
// does; and one forgets its transaction with the workers' leases locked, one with sagas
// locked, and one with the table locked as ALTER TABLE would. Whatever stands still
// meanwhile goes on afterwards.
func TestOthersHoldOn(t *testing.T) {
	p := setupTrouble(t, pressonesim.Config{Chaos: lostAnswers})
	p.env["LEASE_TTL"], p.env["RETRY_MAX_ATTEMPTS"] = "1500ms", "30"
	snapshot := p.hold(pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, "SELECT pg_current_snapshot()")
	w := p.worker()
	p.worker()
	p.publisher()
	n := p.traffic("snapshot", 150, 30)
	p.progress(50, "completed")

	lease := p.hold(pgx.TxOptions{}, "LOCK TABLE worker IN EXCLUSIVE MODE") // a row's lock would leave room for a new lease
	n += p.traffic("lease", 30, 5)
	require.Eventually(t, func() bool { return w.Ready() != nil }, 60*time.Second, 10*time.Millisecond, "a lease that cannot be renewed runs out")
	lease()
	require.Eventually(t, func() bool { return w.Ready() == nil }, 60*time.Second, 10*time.Millisecond)

	rows := p.hold(pgx.TxOptions{}, "SELECT FROM saga WHERE state NOT IN ('completed', 'notifying') FOR UPDATE")
	n += p.traffic("rows", 30, 5)
	require.Eventually(t, func() bool {
		return p.count("SELECT count(*) FROM saga WHERE state = 'completed' AND request_id LIKE 'rows-%'") >= 20
	}, 2*time.Minute, 10*time.Millisecond, "those that nobody has locked go on")
	rows()

	table := p.hold(pgx.TxOptions{}, "LOCK TABLE saga IN ACCESS EXCLUSIVE MODE")
	n += p.traffic("table", 30, 5)
	require.Eventually(t, func() bool { return p.waiting() > 4 }, 60*time.Second, 5*time.Millisecond, "everybody waits")
	table()
	p.soldOnce(n)
	snapshot()
	p.await(func() bool { return p.count("SELECT count(*) FROM worker WHERE expires_at > now()") == 2 })
}

// waiting is how many of the programs' sessions wait for a lock.
func (p *trouble) waiting() (n int) {
	p.t.Helper()
	require.NoError(p.t, p.admin.QueryRow(p.t.Context(), `
		SELECT count(*) FROM pg_stat_activity
		WHERE datname = $1 AND wait_event_type = 'Lock'`, p.name).Scan(&n))
	return n
}

// A worker is ready once it has its lease, and not as soon as it has seen the schema.
func TestReadyWithTheLease(t *testing.T) {
	p := setupTrouble(t, pressonesim.Config{})
	p.env["LEASE_TTL"] = "90s" // a third of that it is waited for, and then the worker says so
	release := p.hold(pgx.TxOptions{}, "LOCK TABLE worker IN ACCESS EXCLUSIVE MODE")
	w, err := app.NewWorker(t.Context(), p.config(config.Worker), p.logger())
	require.NoError(t, err)
	p.run(w.Run)
	require.Eventually(t, func() bool { return p.waiting() > 0 }, 60*time.Second, time.Millisecond)
	require.EqualError(t, w.Ready(), "app: starting")
	release()
	require.Eventually(t, func() bool { return w.Ready() == nil }, 60*time.Second, time.Millisecond)
}

// Two connections for hundreds of sagas: they take turns, and the lease is renewed
// meanwhile.
func TestFullPool(t *testing.T) {
	p := setupTrouble(t, pressonesim.Config{Chaos: lostAnswers})
	p.env["DATABASE_URL"] += "&pool_max_conns=2"
	p.env["RETRY_MAX_ATTEMPTS"], p.env["LEASE_TTL"] = "30", "15s"
	p.publisher()
	n := p.traffic("pool", 250, 50)
	p.worker()
	p.soldOnce(n)
	require.Zero(t, p.count("SELECT count(*) FROM saga_history WHERE event = 'worker_lost'"))
	require.Equal(t, 1, p.count("SELECT count(*) FROM worker"), "no lease was lost")
}

// Postgres has no connection left, when the programs start and again while they work.
func TestTooManyClients(t *testing.T) {
	b := setup(t, pressonesim.Config{Chaos: lostAnswers})
	b.env["DATABASE_URL"], b.env["RETRY_MAX_ATTEMPTS"] = devstack.PrivatePostgres(t).URL(), "30"
	p := b.trouble()
	require.NoError(t, p.admin.Ping(t.Context()))
	require.NoError(t, p.db.Ping(t.Context()))
	crowd := p.crowd()
	n := p.traffic("start", 60, 10)
	worker, publisher := p.process("worker"), p.process("publisher")
	require.Eventually(t, func() bool { return logged(p.bench, "waiting for the database", "53300") }, 60*time.Second, 10*time.Millisecond)
	crowd()
	p.progress(10, "completed")

	var taken []func()
	p.await(func() bool { // the programs may be quicker to take again what they had
		taken = append(taken, p.crowd())
		p.hangUp()
		taken = append(taken, p.crowd())
		return logged(p.bench, "heartbeat", "53300")
	})
	n += p.traffic("middle", 60, 10)
	for _, leave := range taken {
		leave()
	}
	p.soldOnce(n)
	p.stop(worker, publisher)
}

// crowd takes every connection that Postgres has left, until leave.
func (p *trouble) crowd() (leave func()) {
	p.t.Helper()
	var all []*pgx.Conn
	for {
		conn, err := pgx.Connect(p.t.Context(), p.env["DATABASE_URL"])
		if err != nil {
			require.ErrorContains(p.t, err, "53300")
			break
		}
		_, err = conn.Exec(p.t.Context(), "SET application_name = 'test'") // not to be hung up on
		require.NoError(p.t, err)
		all = append(all, conn)
	}
	var once sync.Once
	leave = func() {
		once.Do(func() {
			for _, conn := range all {
				_ = conn.Close(context.Background())
			}
		})
	}
	p.t.Cleanup(leave)
	return leave
}

// logged reports whether one line of the log holds all of these.
func logged(b *bench, words ...string) bool {
	for line := range strings.Lines(b.log.String()) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return true
		}
	}
	return false
}

// stop ends programs with SIGTERM; each has to exit with 0.
func (b *bench) stop(programs ...*exec.Cmd) {
	b.t.Helper()
	for _, cmd := range programs {
		require.NoError(b.t, cmd.Process.Signal(syscall.SIGTERM))
	}
	for _, cmd := range programs {
		require.NoError(b.t, cmd.Wait())
	}
}

// Statements and locks that take longer than Postgres allows are cancelled, every now and
// then, by limits of the database's own. They are tried again.
func TestStatementTimeout(t *testing.T) {
	p := setupTrouble(t, pressonesim.Config{Chaos: lostAnswers})
	p.env["RETRY_MAX_ATTEMPTS"] = "30"
	p.set("statement_timeout", "'200ms'")
	p.set("lock_timeout", "'100ms'")
	p.set("idle_in_transaction_session_timeout", "'300ms'")
	p.worker()
	p.worker()
	p.publisher()
	n := 0
	for _, table := range []string{"saga", "saga_history", "outbox", "worker", "provider_gate", "saga_answer"} {
		n += p.traffic(table, 30, 6)
		release := p.hold(pgx.TxOptions{}, "LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE")
		n += p.traffic("held-"+table, 10, 2) // the others may be done
		require.Eventually(t, func() bool { return p.waiting() > 0 }, 60*time.Second, time.Millisecond)
		require.Eventually(t, func() bool { return logged(p.bench, "55P03") || logged(p.bench, "57014") }, 60*time.Second, 10*time.Millisecond)
		p.rest(400 * time.Millisecond)
		release()
	}
	for _, setting := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		p.reset(setting)
	}
	p.hangUp() // what is connected keeps its limits
	p.soldOnce(n)
}

// rest lets time go by, in Postgres.
func (p *trouble) rest(d time.Duration) {
	p.t.Helper()
	p.exec("SELECT pg_sleep($1)", d.Seconds())
}

// A failover leaves everybody on a server that is read-only for a while. Then another one
// may be written to, and what is connected to the first stays so, unless it hangs up
// itself: nobody ends its connections.
func TestReadOnlyFailover(t *testing.T) {
	p := setupTrouble(t, pressonesim.Config{Chaos: lostAnswers})
	p.env["LEASE_TTL"], p.env["RETRY_MAX_ATTEMPTS"] = "1500ms", "30"
	w := p.worker()
	p.publisher()
	n := p.traffic("before", 100, 20)
	p.progress(30, "completed")

	p.set("default_transaction_read_only", "on")
	p.hangUp()
	n += p.traffic("during", 30, 5)
	require.Eventually(t, func() bool { return w.Ready() != nil }, 60*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { return logged(p.bench, "25006") }, 60*time.Second, 10*time.Millisecond)

	p.reset("default_transaction_read_only")
	p.soldOnce(n)
	require.Eventually(t, func() bool { return w.Ready() == nil }, 60*time.Second, 10*time.Millisecond)
}

// An administrator ends every connection, again and again.
func TestConnectionsAreEnded(t *testing.T) {
	p := setupTrouble(t, pressonesim.Config{Chaos: lostAnswers})
	p.env["RETRY_MAX_ATTEMPTS"] = "30"
	p.worker()
	worker, publisher := p.process("worker"), p.process("publisher")
	n, ended := 0, 0
	for ended < 200 {
		n += p.traffic(fmt.Sprintf("ended-%d", n), 10, 2)
		ended += p.hangUp()
		p.rest(100 * time.Millisecond)
	}
	p.soldOnce(n)
	p.stop(worker, publisher)
}

// Postgres is restarted in good order, and by a crash, whose recovery refuses connections
// for a while, with hundreds of sagas on their way.
func TestPostgresRestarts(t *testing.T) {
	b := setup(t, pressonesim.Config{Chaos: lostAnswers})
	pg := devstack.PrivatePostgres(t)
	b.env["DATABASE_URL"], b.env["RETRY_MAX_ATTEMPTS"] = pg.URL(), "30"
	p := b.trouble()
	p.worker()
	worker, publisher := p.process("worker"), p.process("publisher")
	n := 0
	for i, stop := range []func() error{pg.StopFast, pg.StopImmediate, pg.StopFast} {
		release := p.withhold()
		n += p.traffic("restart"+string(rune('a'+i)), 60, 10)
		p.progress(n-40, "polling")
		release()
		require.NoError(t, stop())
		require.NoError(t, pg.Start(t.Context()))
	}
	p.soldOnce(n)
	p.stop(worker, publisher)
}

// The disk is full for a while: whatever is written is refused.
func TestDiskFull(t *testing.T) {
	p := setupTrouble(t, pressonesim.Config{Chaos: lostAnswers})
	p.env["LEASE_TTL"], p.env["RETRY_MAX_ATTEMPTS"] = "1500ms", "30"
	_, err := p.db.Exec(t.Context(), `
		CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'could not extend file: No space left on device';
		END $$`)
	require.NoError(t, err)
	w := p.worker()
	p.publisher()
	n := 0
	for _, tables := range [][]string{{"saga_history"}, {"outbox"}, {"saga_answer", "saga_purchase"}, {"saga", "saga_history", "saga_request", "outbox", "worker", "lease"}} {
		release := p.withhold()
		n += p.traffic(tables[0], 40, 8)
		p.progress(n-20, "polling")
		for _, table := range tables {
			_, err := p.db.Exec(t.Context(), "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON "+table+" EXECUTE FUNCTION full_disk()")
			require.NoError(t, err)
		}
		p.rest(time.Second)
		p.await(func() bool { return logged(p.bench, "53100") })
		for _, table := range tables {
			_, err := p.db.Exec(t.Context(), "DROP TRIGGER full_disk ON "+table)
			require.NoError(t, err)
		}
		release()
	}
	p.soldOnce(n)
	p.await(func() bool { return w.Ready() == nil })
}
