package app_test

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

var outage = flag.Int("outage", 5000, "requests that wait while PressOne is away")

// doorman stands before PressOne and counts the submissions that come and those that are inside.
type doorman struct {
	mu       sync.Mutex
	posts    int
	era      int // how often it was begun to compare, or ended
	inside   int // that came in this era: those who have given up in an outage may linger
	answered int // since it was back
	crowd    string
}

// watch counts what goes through next. Of many workers each may have one call more than its share of the ramp.
func (d *doorman) watch(next http.Handler, workers int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || strings.HasSuffix(r.URL.Path, "/token") {
			next.ServeHTTP(w, r)
			return
		}
		d.mu.Lock()
		d.posts++
		d.inside++
		era := d.era
		if most := 2*d.answered + workers; d.inside > most && d.crowd == "" && d.answered >= 0 {
			d.crowd = fmt.Sprintf("%d submissions at once after %d were answered", d.inside, d.answered)
		}
		d.mu.Unlock()
		defer func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if era == d.era {
				d.inside--
			}
			if d.answered >= 0 {
				d.answered++
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// look returns how many submissions have come.
func (d *doorman) look() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.posts
}

// reckon begins to compare how many come at once with how many were answered; before and after nobody does.
func (d *doorman) reckon(on bool) (crowd string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.era++
	d.inside, d.answered = 0, -1
	if on {
		d.answered = 0
	}
	return d.crowd
}

// PressOne goes away, for what would be ten minutes if waits were not so short here, and five thousand orders arrive meanwhile.
// They wait. Nobody submits but those that were on their way, and one probe now and then; nobody else loses an attempt, though
// there are but two; nothing becomes a dead letter. When PressOne is back they do not all come at once: twice as many as were
// answered at the most. And each is bought once.
func TestOutage(t *testing.T) {
	for name, tt := range map[string]struct {
		n        int
		failures int // of the lane, to wait for
		fault    pressonesim.Fault
	}{
		"connections break":                   {*outage, 10, pressonesim.Fault{Action: pressonesim.Drop}},
		"a gateway answers in its place":      {300, 10, pressonesim.Fault{Action: pressonesim.Status, Status: http.StatusBadGateway}},
		"it says that it is not available":    {300, 10, pressonesim.Fault{Action: pressonesim.Status, Status: http.StatusServiceUnavailable, Code: 4033}},
		"it does not answer within the times": {100, 5, pressonesim.Fault{Action: pressonesim.Hang}},
	} {
		t.Run(name, func(t *testing.T) {
			const workers, room = 2, 32
			b := setup(t, pressonesim.Config{Knobs: pressonesim.Knobs{Latencies: map[pressonesim.Endpoint]time.Duration{pressonesim.Orders: 20 * time.Millisecond}}})
			door := &doorman{answered: -1}
			front := httptest.NewServer(door.watch(b.sim.Handler(), workers))
			t.Cleanup(front.Close)
			b.env["PRESSONE_BASE_URL"] = front.URL + "/customer/v2"
			b.env["MAX_IN_FLIGHT"], b.env["RETRY_MAX_ATTEMPTS"], b.env["LOG_LEVEL"] = fmt.Sprint(room), "2", "info"
			b.env["RETRY_INITIAL"], b.env["RETRY_MAX"], b.env["SUBMIT_TIMEOUT"], b.env["READ_TIMEOUT"] = "50ms", "1s", "6s", "2s"
			b.env["LEASE_TTL"] = "9s" // who stands still for longer than this, or than a submission may take, loses an attempt
			for range workers {
				b.worker()
			}
			b.publisher()
			b.completed(b.orders("before", 10)...)

			tt.fault.ID, tt.fault.When = "away", pressonesim.Before
			b.sim.Inject(tt.fault)
			before := door.look()
			b.flood("during", tt.n)
			require.Eventually(t, func() bool {
				return b.count("SELECT count(*) FROM saga") == tt.n+10 && b.failures("write") >= tt.failures &&
					b.count("SELECT count(*) FROM saga WHERE state = 'submitting'") == 0
			}, 3*time.Minute, 20*time.Millisecond, "probes fail, and the orders wait")
			onTheirWay := workers * (room + 5) // the first five to fail have made room for others
			came := door.look() - before       // the probing goes on meanwhile: what is to be less is looked at first
			probes := b.failures("write") - 1  // the first is no probe's
			tries := b.count("SELECT COALESCE(sum(tries), 0) FROM saga WHERE order_id IS NULL AND state <> 'submitting'")
			posts := door.look() - before
			t.Logf("%d submissions in the outage, %d of them probes", posts, probes)
			require.LessOrEqual(t, came, onTheirWay+probes+1)
			require.LessOrEqual(t, tries, posts-probes, "a probe costs nobody an attempt")
			require.Zero(t, b.count("SELECT count(*) FROM dead_letter"))
			require.Equal(t, 10, b.sim.SoldCount())

			require.Eventually(t, func() bool { // each has renewed its lease often enough to know that it shares the ramp
				return b.count("SELECT count(*) FROM worker WHERE expires_at - interval '9s' > (SELECT max(started_at) + interval '6s' FROM worker)") == workers
			}, time.Minute, 20*time.Millisecond)
			door.reckon(true)
			require.True(t, b.sim.ClearFault("away"))
			b.sold(tt.n + 10)
			b.soldOnce(tt.n + 10)
			require.Empty(t, door.reckon(false), "no stampede")
			for n := tt.n + 10; b.phase("write") != "open"; { // on a busy machine some of them are not answered in time
				require.Less(t, n, tt.n+3000, "the ramp ends")
				b.flood(fmt.Sprint("after-", n), 100)
				n += 100
				b.soldOnce(n)
			}
		})
	}
}

// sold waits until n sagas have completed, for as long as thousands may take on a busy machine.
func (b *bench) sold(n int) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		return b.tally("SELECT count(*) FROM saga WHERE state = 'completed'") >= n
	}, 10*time.Minute, 50*time.Millisecond, "%d sagas are to complete", n)
}

// flood publishes n orders as fast as JetStream takes them.
func (b *bench) flood(prefix string, n int) {
	b.t.Helper()
	for i := range n {
		_, err := b.js.PublishAsync(message.RequestSubject(message.Order), []byte(order(fmt.Sprintf("%s-%d", prefix, i))))
		require.NoError(b.t, err)
		if i%1000 == 999 || i == n-1 {
			select {
			case <-b.js.PublishAsyncComplete():
			case <-time.After(time.Minute):
				b.t.Fatal("JetStream does not take the requests")
			}
		}
	}
}

func (b *bench) failures(lane string) int {
	b.t.Helper()
	return b.count("SELECT failures FROM provider_gate WHERE lane = '" + lane + "'")
}

func (b *bench) phase(lane string) (phase string) {
	b.t.Helper()
	require.NoError(b.t, b.db.QueryRow(b.t.Context(), "SELECT phase FROM provider_gate WHERE lane = $1", lane).Scan(&phase))
	return phase
}

// PressOne's tokens cannot be had: the one in use runs out while orders arrive. Nothing can be called, so nothing is tried: no intent,
// no attempt. When tokens are there again, everything is bought.
func TestOutageOfTheTokens(t *testing.T) {
	b := setup(t, pressonesim.Config{Knobs: pressonesim.Knobs{
		ExpiresIn: 2, Limits: map[pressonesim.Endpoint]pressonesim.Limit{pressonesim.Token: {}},
	}})
	const room = 16
	maps.Copy(b.env, patient)
	b.env["LEASE_TTL"] = "12s"
	b.env["RETRY_INITIAL"], b.env["RETRY_MAX"], b.env["RETRY_MAX_ATTEMPTS"], b.env["MAX_IN_FLIGHT"] = "50ms", "500ms", "2", fmt.Sprint(room)
	b.worker()
	b.publisher()
	b.completed(b.orders("before", 3)...)
	b.sim.Inject(pressonesim.Fault{ID: "tokens", Endpoint: pressonesim.Token, Action: pressonesim.Status, Status: http.StatusBadGateway})
	require.Eventually(t, func() bool {
		return b.count("SELECT count(*) FROM provider_token WHERE expires_at < now()") == 1
	}, 60*time.Second, 20*time.Millisecond, "the token runs out")
	const n = 200
	b.flood("during", n)
	require.Eventually(t, func() bool {
		return b.count("SELECT count(*) FROM saga") == n+3 && b.failures("token") > 5
	}, time.Minute, 20*time.Millisecond)
	require.LessOrEqual(t, b.count("SELECT COALESCE(sum(attempts), 0) FROM saga WHERE order_id IS NULL"), room, "only those who found out")
	require.Zero(t, b.count("SELECT COALESCE(sum(tries), 0) FROM saga WHERE order_id IS NULL AND state <> 'submitting'"))
	require.True(t, b.sim.ClearFault("tokens"))
	b.soldOnce(n + 3)
}
