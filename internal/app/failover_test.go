package app_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/config"
	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// witnessed is the beat that NATS has acknowledged last.
func (b *bench) witnessed() int64 {
	b.t.Helper()
	stream, err := b.js.Stream(b.t.Context(), message.WitnessStream)
	require.NoError(b.t, err)
	m, err := stream.GetLastMsgForSubject(b.t.Context(), message.WitnessSubject)
	require.NoError(b.t, err)
	var told struct{ Beat int64 }
	require.NoError(b.t, json.Unmarshal(m.Data, &told))
	return told.Beat
}

// failOver puts a copy in the place of the database, under its name: whoever is connected is
// disconnected, and comes back to the copy.
func (p *trouble) failOver(replica string) {
	p.t.Helper()
	name := func(dsn string) string {
		cfg, err := pgx.ParseConfig(dsn)
		require.NoError(p.t, err)
		return cfg.Database
	}
	old, promoted := p.name, name(replica)
	hangUp := func(database string) {
		p.exec(`SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '` + database + `'`)
	}
	rename := func(from, to string) { // somebody may have been let in and not have been seen yet
		p.await(func() bool {
			hangUp(from)
			_, err := p.admin.Exec(p.t.Context(), `ALTER DATABASE `+from+` RENAME TO `+to)
			return err == nil
		})
	}
	p.exec(`ALTER DATABASE ` + old + ` ALLOW_CONNECTIONS false`)
	p.exec(`ALTER DATABASE ` + promoted + ` ALLOW_CONNECTIONS false`)
	rename(old, old+"_dead")
	rename(promoted, old)
	rename(old+"_dead", promoted)
	p.exec(`ALTER DATABASE ` + promoted + ` ALLOW_CONNECTIONS true`)
	p.exec(`ALTER DATABASE ` + old + ` ALLOW_CONNECTIONS true`)
	p.db.Reset()
}

// Postgres fails over to a replica that had not received the last commits, while workers run and have a
// purchase in the air. No connection outlives a failover, and the first one to the replica shows less than
// the workers know: before anything is claimed there, they hold, and one of them pauses. What was pending
// on the replica, and bought since, is not bought again; what is new waits; what is in the air is
// looked up. A failover that loses nothing, before, is not noticed.
func TestPostgresFailsOverAndLosesCommits(t *testing.T) {
	p := setupTrouble(t, pressonesim.Config{})
	p.env["LEASE_TTL"] = "1500ms"
	w := p.worker()
	p.publisher()
	p.completed(p.orders("before", 3)...)
	p.hangUp()
	p.completed(p.orders("failover", 3)...)
	require.Zero(t, p.count("SELECT losses FROM witness"))

	p.post(w, "gate/pause", `{"kind":"order","actor":"ann","reason":"a replica falls behind"}`, http.StatusOK)
	since := p.orders("since", 5)
	require.Eventually(t, func() bool { return p.count("SELECT count(*) FROM saga WHERE state = 'pending'") == 5 }, time.Minute, 20*time.Millisecond)
	replica := devstack.CopyPostgres(t, p.env["DATABASE_URL"])
	conn, err := pgx.Connect(t.Context(), replica)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "DELETE FROM gate_pause") // it is how the five were made to wait
	require.NoError(t, err)
	var beat int64
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT beat FROM witness").Scan(&beat))
	require.NoError(t, conn.Close(context.Background()))
	p.await(func() bool { return w.Ready() == nil })
	other := p.worker()
	p.post(w, "gate/resume", `{"kind":"order","actor":"ann","reason":"it has its five"}`, http.StatusOK)
	p.completed(since...)
	p.await(func() bool { return p.witnessed() > beat+2 && p.tally("SELECT count(*) FROM outbox") == 0 })
	p.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, Action: pressonesim.Slow, When: pressonesim.After, Delay: time.Second, Times: 1})
	p.publish(message.Order, order("in-the-air"))
	p.await(func() bool { return p.sim.SoldCount() == 12 })

	p.failOver(replica)
	p.await(func() bool { return p.tally("SELECT count(*) FROM gate_pause WHERE actor = 'esimflow'") == 2 })
	p.publish(message.Order, order("new"))
	p.await(func() bool {
		return w.Ready() == nil && other.Ready() == nil && p.tally("SELECT count(*) FROM saga WHERE request_id = 'new' AND state = 'pending'") == 1
	})
	require.Equal(t, 6, p.count("SELECT count(*) FROM saga WHERE state = 'pending'"), "the five, which were bought, and the new one")
	was := p.witnessed()
	p.await(func() bool { return p.witnessed() > was+4 }) // turns go by
	require.Equal(t, 12, p.sim.SoldCount())
	require.Empty(t, p.sim.Ledger().Doubles())
	require.Equal(t, 1, p.count("SELECT losses FROM witness"), "it is said once")
	require.Equal(t, 1, strings.Count(p.log.String(), "level=ERROR msg=\"Postgres has lost commits"))
}

func (b *bench) await(done func() bool) {
	b.t.Helper()
	require.Eventually(b.t, done, time.Minute, 20*time.Millisecond)
}

// exec changes the database behind everybody's back.
func (b *bench) exec(sql string) pgconn.CommandTag {
	b.t.Helper()
	tag, err := b.db.Exec(b.t.Context(), sql)
	require.NoError(b.t, err)
	return tag
}

// A worker that starts while NATS is away cannot know whether its Postgres has lost commits. It goes on with what
// was bought, and buys nothing, although nothing is paused; and when NATS is back, it does.
func TestAWorkerThatCannotAskSubmitsNothing(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	w, stop := b.brief()
	b.post(w, "gate/pause", `{"lane":"read","actor":"ann","reason":"lists are slow"}`, http.StatusOK)
	b.publish(message.Order, order("bought"))
	b.await(func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'polling'") == 1 })
	b.post(w, "gate/pause", `{"kind":"order","actor":"ann","reason":"prices"}`, http.StatusOK)
	b.publish(message.Order, order("waits"))
	b.await(func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'pending'") == 1 })
	stop()
	b.nats.Stop()

	w, err := app.NewWorker(t.Context(), b.config(config.Worker), b.logger())
	require.NoError(t, err)
	b.run(w.Run)
	b.await(func() bool { return strings.Contains(b.log.String(), "submitting=false") })
	b.await(func() bool { // it is logged a moment before
		problem := w.Ready()
		return problem != nil && strings.Contains(problem.Error(), "nothing is submitted before NATS has said")
	})
	b.post(w, "gate/resume", `{"kind":"order","actor":"ann","reason":"prices"}`, http.StatusOK)
	b.resumeReading(w)
	b.await(func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'notifying'") == 1 })
	require.Equal(t, 1, b.count("SELECT count(*) FROM saga WHERE state = 'pending'"))
	require.Equal(t, 1, b.sim.SoldCount())

	require.NoError(t, b.nats.Start())
	b.publisher()
	b.completed("bought", "waits")
	require.Equal(t, 2, b.sim.SoldCount())
}
