package app_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/devstack"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

var overload = flag.Int("overload", 5000, "requests that are published at once")

// overloaded is programs that are given far more than PressOne lets them buy.
type overloaded struct {
	*bench
	n     int // published
	limit int // requests a second that PressOne answers
}

func setupOverload(t *testing.T) *overloaded {
	t.Helper()
	const limit = 20
	b := setup(t, pressonesim.Config{Knobs: pressonesim.Knobs{AccountLimit: pressonesim.Limit{Requests: limit, Window: time.Second}}})
	maps.Copy(b.env, patient)
	b.env["PRESSONE_RATE"], b.env["LOG_LEVEL"] = strconv.Itoa(limit), "info"
	b.env["LEASE_TTL"] = "15s" // a killed worker's is waited for. When one that lives runs out, what is in flight goes behind all that waits
	b.env["POLL_MAX"], b.env["RETRY_MAX"] = "5s", "5s"
	return &overloaded{bench: b, limit: limit}
}

// flood publishes n orders as fast as JetStream takes them.
func (o *overloaded) flood(n int) {
	o.t.Helper()
	start := time.Now()
	for i := range n {
		body := []byte(order(fmt.Sprintf("o-%d", i)))
		_, err := o.js.PublishAsync(message.RequestSubject(message.Order), body)
		for errors.Is(err, jetstream.ErrTooManyStalledMsgs) { // it is behind with its acks
			_, err = o.js.PublishAsync(message.RequestSubject(message.Order), body)
		}
		require.NoError(o.t, err)
	}
	select {
	case <-o.js.PublishAsyncComplete():
	case <-time.After(2 * time.Minute):
		o.t.Fatal("JetStream does not take the requests")
	}
	o.n += n
	o.t.Logf("%d requests were published in %.1fs", n, time.Since(start).Seconds())
}

// running is a worker as a process of its own, watched from outside.
type running struct {
	o         *overloaded
	cmd       *exec.Cmd
	telemetry string // address
}

var telemetryAddr = regexp.MustCompile(`msg="worker started".* telemetry=(\S+)`)

// start starts a worker and waits until it is ready.
func (o *overloaded) start() *running {
	o.t.Helper()
	begun, started := time.Now(), len(telemetryAddr.FindAllString(o.log.String(), -1))
	r := &running{o: o, cmd: o.process(app.WorkerProgram)}
	require.Eventually(o.t, func() bool {
		all := telemetryAddr.FindAllStringSubmatch(o.log.String(), -1)
		if len(all) <= started {
			return false
		}
		r.telemetry = all[len(all)-1][1]
		return r.ready()
	}, time.Minute, 5*time.Millisecond, "worker is not ready")
	o.t.Logf("a worker is ready after %.2fs, with %d sagas open", time.Since(begun).Seconds(), o.open())
	return r
}

func (r *running) ready() bool {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+r.telemetry+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// memory is what the process occupies and has occupied at most, and its Go heap, in MiB.
func (r *running) memory() (rss, peak, heap float64) {
	r.o.t.Helper()
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	require.NoError(r.o.t, err)
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			rss = kib / 1024
		case "VmHWM:":
			peak = kib / 1024
		}
	}
	for line := range strings.Lines(r.o.fetch("http://" + r.telemetry + "/metrics")) {
		if value, ok := strings.CutPrefix(line, "go_memstats_heap_inuse_bytes "); ok {
			bytes, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			require.NoError(r.o.t, err)
			heap = bytes / (1 << 20)
		}
	}
	return rss, peak, heap
}

func (r *running) show(when string) (peak float64) {
	r.o.t.Helper()
	rss, peak, heap := r.memory()
	r.o.t.Logf("%-28s RSS %4.0f MiB, at most %4.0f MiB, heap %4.0f MiB; %d wait in the stream, %d sagas open, %d bought",
		when, rss, peak, heap, r.o.waiting(), r.o.open(), r.o.sim.SoldCount())
	return peak
}

// waiting is how many requests are in the stream and not yet sagas.
func (o *overloaded) waiting() int {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), unhurried)
	defer cancel()
	consumer, err := o.js.Consumer(ctx, message.RequestsStream, message.Consumer(message.Order))
	require.NoError(o.t, err)
	info := consumer.CachedInfo()
	return int(info.NumPending) + info.NumAckPending
}

func (o *overloaded) open() int {
	return o.tally("SELECT count(*) FROM saga WHERE state NOT IN ('completed', 'dead_lettered', 'discarded')")
}

// drained waits until every request has become a saga.
func (o *overloaded) drained(watch *running) {
	o.t.Helper()
	start := time.Now()
	half := false
	require.Eventually(o.t, func() bool {
		left := o.waiting()
		if watch != nil && !half && left < o.n/2 {
			half = true
			watch.show("half of it taken in")
		}
		return left == 0
	}, 10*time.Minute, 20*time.Millisecond, "the stream is to be drained")
	took := time.Since(start).Seconds()
	o.t.Logf("the stream was drained in %.1fs, %.0f requests a second", took, float64(o.n)/took)
	require.Equal(o.t, o.n, o.count("SELECT count(*) FROM saga"), "nothing is dropped")
}

// flows waits until more has been bought and announced.
func (o *overloaded) flows(more int) {
	o.t.Helper()
	before := o.count("SELECT count(*) FROM saga WHERE state = 'completed'")
	start, sold := time.Now(), o.sim.SoldCount()
	require.Eventually(o.t, func() bool {
		return o.tally("SELECT count(*) FROM saga WHERE state = 'completed'") >= before+more
	}, 2*time.Minute, 20*time.Millisecond, "results are announced")
	bought := o.sim.SoldCount() - sold
	took := time.Since(start) // and not before: more is bought all the time
	o.t.Logf("%.1f orders a second were bought", float64(bought)/took.Seconds())
	require.LessOrEqual(o.t, bought, int(float64(o.limit)*(took.Seconds()+2)), "PressOne's limit")
}

// oldestFirst compares the requests that were bought with those that came first: they are
// the same, but for what so many workers take at a time, and what PressOne has refused for
// the moment.
func (o *overloaded) oldestFirst(workers int) {
	o.t.Helper()
	bought := o.count("SELECT count(*) FROM saga WHERE order_id IS NOT NULL")
	latest := o.count("SELECT max(sequence) FROM saga_request r JOIN saga s ON s.id = r.saga_id WHERE s.order_id IS NOT NULL")
	first := o.count("SELECT COALESCE(min(sequence), 0) FROM saga_request r JOIN saga s ON s.id = r.saga_id WHERE s.order_id IS NULL")
	o.t.Logf("%d are bought; the latest of them is request %d, and the first that is not is request %d", bought, latest, first)
	most := 2 * 256 * workers // MAX_IN_FLIGHT
	require.LessOrEqual(o.t, latest-bought, most, "the oldest go first")
	require.GreaterOrEqual(o.t, first, bought-most, "nobody is left behind")
}

// settled compares with PressOne's books once nobody works any more.
func (o *overloaded) settled() {
	o.t.Helper()
	require.Empty(o.t, o.sim.Ledger().Doubles())
	require.Equal(o.t, o.n, o.count("SELECT count(*) FROM saga")+o.waiting(), "nothing is dropped")
	require.Zero(o.t, o.count("SELECT count(*) FROM dead_letter"))
	known := o.count("SELECT count(*) FROM saga WHERE order_id IS NOT NULL")
	asked := o.count("SELECT count(*) FROM saga WHERE state = 'unknown'") // whose answer took too long
	require.GreaterOrEqual(o.t, o.sim.SoldCount(), known)
	require.LessOrEqual(o.t, o.sim.SoldCount(), known+asked)
}

// Far more requests than PressOne lets anybody buy arrive at once. The worker takes them
// all in, as rows; its memory does not grow with them; the oldest are bought first, as
// fast as PressOne allows; SIGTERM is obeyed; and a worker that was killed is back in no
// time.
func TestOverload(t *testing.T) {
	o := setupOverload(t)
	o.publisher()
	w := o.start()
	idle := w.show("idle")
	o.flood(*overload)
	o.drained(w)
	w.show("all of it taken in")
	o.flows(20)
	peak := w.show("for a while")
	require.Less(t, peak, idle+200, "MiB: memory does not grow with what waits")
	o.oldestFirst(1)

	start := time.Now()
	o.stop(w.cmd)
	t.Logf("SIGTERM was obeyed in %.2fs", time.Since(start).Seconds())
	require.Less(t, time.Since(start), 40*time.Second) // SUBMIT_TIMEOUT, and a margin, on a busy machine
	o.settled()
	require.Zero(t, o.count("SELECT count(*) FROM saga WHERE worker IS NOT NULL"), "all is given back")
	require.Zero(t, o.count("SELECT count(*) FROM worker WHERE expires_at > now()")) // one that ran out was replaced

	w = o.start()
	o.flows(10)
	require.Eventually(t, func() bool {
		return o.tally("SELECT count(*) FROM saga s WHERE worker IS NOT NULL AND NOT EXISTS (SELECT FROM worker WHERE id = s.worker)") == 0
	}, time.Minute, 20*time.Millisecond, "nothing stays with who is gone")
	require.NoError(t, w.cmd.Process.Kill())
	_ = w.cmd.Wait()
	w = o.start()
	o.flows(10)
	require.Eventually(t, func() bool { // what it had sent is taken over when its lease has run out, and looked for
		return o.tally(`SELECT count(*) FROM saga WHERE state = 'unknown' OR worker <> (SELECT id FROM worker ORDER BY id DESC LIMIT 1)`) == 0
	}, 3*time.Minute, 20*time.Millisecond)
	w.show("after being killed")
	o.stop(w.cmd)
	o.settled()
}

// The same with two workers, which share the rate and the requests.
func TestOverloadOfTwo(t *testing.T) {
	o := setupOverload(t)
	o.publisher()
	first, second := o.start(), o.start()
	o.flood(*overload)
	o.drained(first)
	o.flows(20)
	first.show("the first worker")
	second.show("the second worker")
	o.oldestFirst(2)
	o.stop(first.cmd, second.cmd)
	o.settled()
}

// The requests arrive while Postgres is away: they wait in the stream.
func TestOverloadWithoutPostgres(t *testing.T) {
	o := setupOverload(t)
	pg := devstack.PrivatePostgres(t)
	o.env["DATABASE_URL"] = pg.URL()
	o.trouble() // the test reads that one
	o.publisher()
	w := o.start()
	require.NoError(t, pg.StopImmediate())
	require.Eventually(t, func() bool { return !w.ready() }, 60*time.Second, 10*time.Millisecond)
	o.flood(*overload)
	require.Eventually(t, func() bool { return o.waiting() == *overload }, time.Minute, 20*time.Millisecond) // a consumer counts a little later
	peak := w.show("without Postgres")
	require.NoError(t, pg.Start(t.Context()))
	o.drained(w)
	o.flows(20)
	require.Less(t, w.show("with Postgres again"), peak+200)
	o.oldestFirst(1)
	o.stop(w.cmd)
	o.settled()
}
