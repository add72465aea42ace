package app_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// trouble is a database that is made to misbehave, while what the test itself asks of it
// goes through.
type trouble struct {
	*bench
	admin *pgxpool.Pool // of the maintenance database: no setting of ours reaches it
	name  string        // of the database
}

// immune are settings that shield the test's own connections.
var immune = map[string]string{
	"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0",
	"default_transaction_read_only": "off", "application_name": "test",
	"deadlock_timeout": "1h", // who holds rows that somebody needs to go on is not the one that gives up
}

func setupTrouble(t *testing.T, sim pressonesim.Config) *trouble {
	t.Helper()
	b := setup(t, sim)
	return b.trouble()
}

// trouble looks after the database that DATABASE_URL names.
func (b *bench) trouble() *trouble {
	b.t.Helper()
	open := func(database string) *pgxpool.Pool {
		cfg, err := pgxpool.ParseConfig(b.env["DATABASE_URL"])
		require.NoError(b.t, err)
		maps.Copy(cfg.ConnConfig.RuntimeParams, immune)
		if database != "" {
			cfg.ConnConfig.Database = database
		}
		pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
		require.NoError(b.t, err)
		b.t.Cleanup(pool.Close)
		return pool
	}
	p := &trouble{bench: b, admin: open("postgres")}
	before := b.db
	b.db = open("")
	b.t.Cleanup(func() { // while the database can still be read
		if !b.t.Failed() {
			b.checkSecrets()
		}
		b.db = before
	})
	require.NoError(b.t, b.db.QueryRow(b.t.Context(), "SELECT current_database()").Scan(&p.name))
	return p
}

func (p *trouble) exec(sql string, args ...any) {
	p.t.Helper()
	_, err := p.admin.Exec(p.t.Context(), sql, args...)
	require.NoError(p.t, err)
}

// set changes a setting of the database for connections that are yet to come.
func (p *trouble) set(setting, value string) {
	p.t.Helper()
	p.exec(fmt.Sprintf("ALTER DATABASE %s SET %s = %s", p.name, setting, value))
}

func (p *trouble) reset(setting string) {
	p.t.Helper()
	p.exec(fmt.Sprintf("ALTER DATABASE %s RESET %s", p.name, setting))
}

// hangUp ends the connections of all programs, and returns how many there were.
func (p *trouble) hangUp() (n int) {
	p.t.Helper()
	require.NoError(p.t, p.admin.QueryRow(p.t.Context(), `
		SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE datname = $1 AND application_name <> 'test'`, p.name).Scan(&n))
	return n
}

// hold begins a transaction, runs sql in it, and leaves it open until release, or until
// the test has ended: a pool waits for what it has lent.
func (p *trouble) hold(options pgx.TxOptions, sql string) (release func()) {
	p.t.Helper()
	tx, err := p.db.BeginTx(p.t.Context(), options)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	_, err = tx.Exec(p.t.Context(), sql)
	require.NoError(p.t, err)
	return func() { require.NoError(p.t, tx.Rollback(context.Background())) }
}

// traffic publishes orders and top-ups, and returns how many.
func (b *bench) traffic(prefix string, orders, topups int) int {
	b.t.Helper()
	b.orders(prefix, orders)
	iccids := pressonesim.DefaultICCIDs()
	for i := range topups {
		b.publish(message.Topup, fmt.Sprintf(`{"request_id":"%s-%d","package_id":"bonbon-mobile-30days-3gb-topup","iccid":"%s"}`, prefix, i, iccids[i%len(iccids)]))
	}
	return orders + topups
}

// tally is count where the connection may be lost: then it is -1.
func (b *bench) tally(sql string) int {
	n := -1
	if err := b.db.QueryRow(context.Background(), sql).Scan(&n); err != nil {
		return -1
	}
	return n
}

// progress waits until at least n sagas are there, and some of them are in state.
func (b *bench) progress(n int, state string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		return b.tally("SELECT count(*) FROM saga") >= n && b.tally("SELECT count(*) FROM saga WHERE state = '"+state+"'") > 0
	}, time.Minute, 5*time.Millisecond, "%d sagas, some %s", n, state)
}

// withhold keeps what is bought from being ready, until release: so some of it is being polled, however slow
// whoever looks is.
func (b *bench) withhold() (release func()) {
	b.sim.Tune(func(k *pressonesim.Knobs) { k.ReadyAfter = time.Hour })
	return func() { b.sim.Tune(func(k *pressonesim.Knobs) { k.ReadyAfter = 0 }) }
}

// soldOnce waits until n sagas have completed, and compares with PressOne's books: each
// was bought once, each belongs to one saga, and each result was announced once.
func (b *bench) soldOnce(n int) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		return b.tally("SELECT count(*) FROM saga WHERE state = 'completed'") == n
	}, 5*time.Minute, 50*time.Millisecond, "%d sagas are to complete", n)
	require.Empty(b.t, b.sim.Ledger().Doubles())
	require.Equal(b.t, n, b.sim.SoldCount())
	require.Equal(b.t, n, b.count("SELECT count(DISTINCT order_id) FROM saga"))
	require.Zero(b.t, b.count("SELECT count(*) FROM dead_letter"))
	require.Len(b.t, b.events(), n)
	require.Zero(b.t, b.count("SELECT count(*) FROM outbox"))
	require.Zero(b.t, b.count("SELECT count(*) FROM saga WHERE worker IS NOT NULL"))
}

// lostAnswers makes a share of PressOne's answers go missing, after the effect or before.
var lostAnswers = pressonesim.Chaos{Rate: 0.2, Seed: 7, Reads: true, Actions: []pressonesim.Action{pressonesim.Drop, pressonesim.Slow}, SlowFor: 200 * time.Millisecond}
