package bench

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestQuantile(t *testing.T) {
	t.Parallel()
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	for q, want := range map[float64]float64{0: 1, 0.001: 1, 0.5: 50, 0.9: 90, 0.99: 99, 0.995: 100, 1: 100} {
		require.InDelta(t, want, quantile(hundred, q), 0, "%g", q)
	}
	require.InDelta(t, 7, quantile([]float64{7}, 0.5), 0)
	require.InDelta(t, 2, quantile([]float64{1, 2, 3}, 0.5), 0)
}

func TestMedian(t *testing.T) {
	t.Parallel()
	values := []float64{9, 1, 5}
	require.InDelta(t, 5, median(values), 0)
	require.Equal(t, []float64{9, 1, 5}, values, "they are still in the order of the runs")
	require.InDelta(t, 3, median([]float64{5, 1}), 0)
}

// The median is taken figure by figure, however deep it is.
func TestMedianOf(t *testing.T) {
	t.Parallel()
	run := func(speed, p50, cpu, rows float64) Figures {
		return Figures{
			SagasPerSecond: speed, Latency: &Latency{P50: p50}, CPU: map[string]float64{"worker": cpu},
			Tables: map[string]Table{"saga": {Inserted: 1, Updated: rows}},
		}
	}
	f, err := medianOf([]Figures{run(3, 10, 0.1, 5), run(1, 30, 0.2, 4), run(2, 20, 0.3, 9)})
	require.NoError(t, err)
	require.Equal(t, run(2, 20, 0.2, 5), f)

	f, err = medianOf([]Figures{{Tables: map[string]Table{"outbox": {Deleted: 1}}}, {Tables: map[string]Table{"lease": {Updated: 2}}}})
	require.NoError(t, err)
	require.Equal(t, map[string]Table{"outbox": {Deleted: 1}, "lease": {Updated: 2}}, f.Tables)
}

// A program may call itself anything, and the line in /proc quotes it.
func TestParseStat(t *testing.T) {
	t.Parallel()
	s, err := parseStat("4242 (a) b (c) S 17 4242 4242 0 -1 4194560 100 200 0 0 150 50 1000 25 20 0 1 0 99 1 2\n")
	require.NoError(t, err)
	require.Equal(t, 17, s.parent)
	require.InDelta(t, 2.0, s.own, 1e-9)
	require.InDelta(t, 10.25, s.children, 1e-9)
	for _, text := range []string{"", "1 (x)", "1 (x) S 1 2 3", "1 (x) S one 2 3 4 5 6 7 8 9 10 11 12 13 14 15"} {
		_, err := parseStat(text)
		require.Error(t, err, text)
	}
}

func TestParsePeak(t *testing.T) {
	t.Parallel()
	peak, err := parsePeak("Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t    12 kB\nVmRSS:\t  11 kB\n")
	require.NoError(t, err)
	require.InDelta(t, 12*1024, peak, 0)
	_, err = parsePeak("Name:\tx\n")
	require.Error(t, err)
}

func TestParseMachine(t *testing.T) {
	t.Parallel()
	m, err := parseMachine("cpu  100 1 200 9999 50 3 4 25 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
	require.NoError(t, err)
	require.InDelta(t, 3.08, m.busy, 1e-9)
	require.InDelta(t, 0.25, m.stole, 1e-9)
	_, err = parseMachine("intr 1 2 3\n")
	require.Error(t, err)
}

// What is read of this very process makes sense.
func TestProc(t *testing.T) {
	t.Parallel()
	s, err := readStat(os.Getpid())
	require.NoError(t, err)
	require.Equal(t, os.Getppid(), s.parent)
	own, err := cpuOf(os.Getpid())
	require.NoError(t, err)
	family, err := cpuOfFamily(os.Getpid())
	require.NoError(t, err)
	require.GreaterOrEqual(t, family, own)
	peak, err := peakMemory(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, peak, 1e6)
	m, err := readMachine()
	require.NoError(t, err)
	require.Greater(t, m.busy, own)
}

// Top-ups are spread evenly, each on an eSIM of its own.
func TestRequests(t *testing.T) {
	t.Parallel()
	b := batch{prefix: "run-", n: 1000, cfg: Config{Topups: 0.3}}
	esims, ids := map[string]bool{}, map[string]bool{}
	for i := range b.n {
		m := b.request(i)
		text := string(m.Data)
		require.Contains(t, text, b.id(i))
		ids[b.id(i)] = true
		if m.Subject == "esim.request.order" {
			continue
		}
		_, rest, _ := strings.Cut(text, `"iccid":"`)
		number, _, _ := strings.Cut(rest, `"`)
		require.Len(t, number, 20)
		require.False(t, esims[number], number)
		esims[number] = true
	}
	require.Len(t, ids, b.n)
	require.Len(t, esims, b.cfg.topups(b.n))
	require.Len(t, esims, 300)
}

// Results are told apart: ours and others', first ones and repeated ones, good and bad.
func TestResults(t *testing.T) {
	t.Parallel()
	b := batch{prefix: "run-", n: 3}
	at := time.Unix(1000, 0)
	event := func(seconds int, outcome, subject string) arrival {
		return arrival{
			at: at.Add(time.Duration(seconds) * time.Second), subject: "esim.event.order." + outcome,
			body: fmt.Appendf(nil, `{"subject":%q,"data":{"code":"11","reason":"no credit"}}`, subject),
		}
	}
	o := &observer{events: []arrival{
		event(1, "completed", b.id(2)), event(2, "completed", b.id(2)), event(3, "failed", b.id(0)),
		event(4, "completed", "run-000000003"), event(5, "completed", "other-1"), event(6, "completed", b.id(1)),
	}}
	r := o.read(b)
	require.Equal(t, 2, r.distinct)
	require.Equal(t, 1, r.again)
	require.Equal(t, 1, r.failed)
	require.Equal(t, 2, r.foreign)
	require.Contains(t, r.example, "no credit")
	require.Equal(t, []time.Time{{}, at.Add(6 * time.Second), at.Add(time.Second)}, r.arrived)
	require.Len(t, r.ordered, 6)

	l := latencies([]time.Time{at, at, at}, r.arrived, time.Millisecond)
	require.Equal(t, &Latency{P50: 1000, P90: 6000, P99: 6000, Max: 6000, Late: 1}, l)
	require.Nil(t, latencies([]time.Time{at}, []time.Time{{}}, 0))
}

// A database says of itself what was preloaded, and anything else says nothing.
func TestPreloadComment(t *testing.T) {
	t.Parallel()
	p := preload{finished: 1_000_000, waiting: 7, until: time.Date(2026, 11, 25, 1, 2, 3, 0, time.UTC)}
	again, ok := parsePreload(p.comment())
	require.True(t, ok)
	require.Equal(t, p, again)
	for _, text := range []string{"", "a comment", "esimflow bench: 1 finished, 2 waiting, until tomorrow"} {
		_, ok := parsePreload(text)
		require.False(t, ok, text)
	}
}

// On a machine that is slow beyond reason the report still fits a terminal.
func TestTheSlowestReportFits(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	slow := Figures{SagasPerSecond: 99_999, Seconds: 9999, SteadyRate: 99_999, Latency: &Latency{99_999.9, 99_999.9, 99_999.9, 99_999.9, 9_999.9}}
	require.NoError(t, Report{Config: Config{N: 1, Rate: 1}, Runs: []Run{{Figures: slow}}, Median: slow}.Write(&text))
	for line := range strings.Lines(text.String()) {
		require.LessOrEqual(t, utf8.RuneCountInString(line), 101, line)
	}
}
