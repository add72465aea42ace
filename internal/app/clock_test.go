package app_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/pressonesim"
)

// postgresClock shadows Postgres's clock by functions that are found before its own. What a
// statement means by now() is decided when it is parsed, so that the search path has to be
// in force when the programs connect; a column's default was decided on when the table was
// made, and is made again.
const postgresClock = `
CREATE SCHEMA steppedclock;
CREATE TABLE steppedclock.skew (by interval NOT NULL);
INSERT INTO steppedclock.skew VALUES ('0');
CREATE FUNCTION steppedclock.now() RETURNS timestamptz LANGUAGE sql STABLE AS
    'SELECT pg_catalog.now() + by FROM steppedclock.skew';
CREATE FUNCTION steppedclock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    'SELECT pg_catalog.clock_timestamp() + by FROM steppedclock.skew';
DO $$
DECLARE c record;
BEGIN
    FOR c IN SELECT table_name, column_name FROM information_schema.columns
             WHERE table_schema = 'public' AND column_default = 'now()' LOOP
        EXECUTE format('ALTER TABLE public.%I ALTER COLUMN %I SET DEFAULT steppedclock.now()', c.table_name, c.column_name);
    END LOOP;
END $$`

// setupClock is setup with a Postgres whose clock the test sets.
func setupClock(t *testing.T, sim pressonesim.Config) *trouble {
	t.Helper()
	p := setupTrouble(t, sim)
	_, err := p.db.Exec(t.Context(), postgresClock)
	require.NoError(t, err)
	p.set("search_path", "steppedclock, pg_catalog, public")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.text("SELECT string_agg(concat_ws(' ', saga_id, version, at, event, due_at, seen), E'\n' ORDER BY saga_id, version) FROM saga_history"))
		}
	})
	p.env["LEASE_TTL"], p.env["RETRY_MAX_ATTEMPTS"] = "1500ms", "30"
	return p
}

// step sets Postgres's clock, to so much ahead of what it really is.
func (p *trouble) step(ahead time.Duration) {
	p.t.Helper()
	_, err := p.db.Exec(p.t.Context(), "UPDATE steppedclock.skew SET by = make_interval(secs => $1)", ahead.Seconds())
	require.NoError(p.t, err)
}

// Postgres's clock jumps ahead by an hour, as in a failover to a machine with another
// clock, while answers are lost; so what was to be waited for seems to have been. It jumps
// again before the next look, and back. PressOne lists what it sold after three seconds;
// nothing is bought twice, nothing waits for the hour, and nothing is given up. So it is
// whether two looks are needed or one.
func TestClockStepsWhileAnswersAreLost(t *testing.T) {
	for _, looks := range []string{"1", "2"} {
		t.Run(looks+" looks", func(t *testing.T) {
			p := setupClock(t, pressonesim.Config{Knobs: pressonesim.Knobs{ListLag: 3 * time.Second}})
			p.env["SETTLE_DELAY"], p.env["LIST_LAG"], p.env["ABSENCE_LOOKS"] = "3500ms", "3500ms", looks
			p.worker()
			p.worker()
			p.publisher()
			n := 0
			for i, ahead := range []time.Duration{time.Hour, 0, -3 * time.Second, 20 * time.Minute} {
				for _, endpoint := range []pressonesim.Endpoint{pressonesim.Orders, pressonesim.Topups} {
					p.sim.Inject(pressonesim.Fault{ID: string(endpoint), Endpoint: endpoint, Action: pressonesim.Drop, When: pressonesim.After, Times: 6})
				}
				const lost = "SELECT count(*) FROM saga_history WHERE event IN ('outcome_unknown', 'worker_lost')" // whoever is faster notes it
				before := p.count(lost)
				n += p.traffic("step"+string(rune('a'+i)), 12, 8)
				require.Eventually(t, func() bool { return p.count(lost) >= before+6 }, 60*time.Second, time.Millisecond)
				p.step(ahead)
				p.rest(time.Second) // long enough for a heartbeat, and for a look that is due
				p.step(ahead + 10*time.Minute)
			}
			p.step(0)
			p.soldOnce(n)
		})
	}
}

// Postgres's clock jumps ahead while a worker's POST is with PressOne, so that its lease
// has run out and it is taken over at once, though its POST has not settled: PressOne
// takes nearly SETTLE_DELAY to apply and list it. One look has to be enough.
func TestClockStepsDuringAPost(t *testing.T) {
	p := setupClock(t, pressonesim.Config{})
	p.env["SETTLE_DELAY"], p.env["ABSENCE_LOOKS"] = "2500ms", "1"
	p.sim.Inject(pressonesim.Fault{
		Endpoint: pressonesim.Orders, Action: pressonesim.Slow, Detached: true, Delay: 2 * time.Second, Times: 10,
	})
	victim := p.process(app.WorkerProgram)
	n := len(p.orders("post", 10))
	require.Eventually(t, func() bool { return p.sim.Requests(pressonesim.Orders) >= 10 }, 60*time.Second, time.Millisecond)
	require.NoError(t, victim.Process.Signal(syscall.SIGSTOP)) // it hears nothing of it
	p.worker()
	p.publisher()
	p.step(time.Hour)
	p.soldOnce(n)
	require.Never(t, func() bool { return p.sim.SoldCount() > n }, 3*time.Second, 50*time.Millisecond, "what was under way has settled")
}

// A worker dies and Postgres's clock jumps back by an hour, so that the dead worker's lease
// seems to run for an hour yet, the dead publisher's too, and what waits seems to have to
// wait for an hour.
func TestClockStepsBack(t *testing.T) {
	p := setupClock(t, pressonesim.Config{})
	p.env["LEASE_TTL"] = "1s" // the next one waits for ten of them
	p.step(time.Hour)
	p.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, Action: pressonesim.Hang, When: pressonesim.After, Times: 5})
	p.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, Action: pressonesim.Status, Status: 503, Code: 4033, Times: 5})
	victim, publisher := p.process(app.WorkerProgram), p.process(app.PublisherProgram)
	n := p.traffic("back", 30, 10)
	require.Eventually(t, func() bool { return p.sim.SoldCount() >= 15 }, time.Minute, time.Millisecond)
	require.NoError(t, victim.Process.Kill())
	require.NoError(t, publisher.Process.Kill())
	_, _ = victim.Wait(), publisher.Wait()
	p.step(0)
	p.worker()
	p.publisher()
	p.soldOnce(n)
}
