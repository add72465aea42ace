package bench

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Write prints the report for people, at most 100 columns wide.
func (r Report) Write(w io.Writer) error {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	c, f := r.Config, r.Median
	line("%s", c.title())
	line("%d cores, Postgres %s, %s", r.Machine.Cores, firstWord(r.Machine.Postgres), r.Machine.Go)
	for _, extra := range c.extras() {
		line("%s", extra)
	}
	line("")
	speeds := make([]string, 0, len(r.Runs))
	for _, run := range r.Runs {
		speeds = append(speeds, fmt.Sprintf("%.0f", run.SagasPerSecond))
	}
	line("speed         %.0f sagas/s in %.2f s, steady %.0f/s   (runs: %s)", f.SagasPerSecond, f.Seconds, f.SteadyRate, strings.Join(speeds, " "))
	if l := f.Latency; l != nil {
		line("latency       p50 %.1f  p90 %.1f  p99 %.1f  max %.1f ms   (published up to %.1f late)", l.P50, l.P90, l.P99, l.Max, l.Late)
	}
	line("per saga      %.3f commits  %.0f bytes of WAL  %.3f page images  %.3f fsyncs", f.Commits, f.WALBytes, f.PageImages, f.WALSyncs)
	line("PressOne      %.3f calls", f.ProviderCalls)
	for part := range slices.Chunk(slices.Sorted(maps.Keys(f.Calls)), 4) {
		line("              %s", listed(f.Calls, part...))
	}
	ours := f.CPU[workerProcess] + f.CPU[publisherProcess] + f.CPU[postgresProcess]
	others := f.CPU[natsProcess] + f.CPU[providerProcess] + f.CPU[benchProcess]
	line("CPU s/1,000   %s  together %.3f", listed(f.CPU, workerProcess, publisherProcess, postgresProcess), ours)
	line("              %s  sum of all %.3f", listed(f.CPU, natsProcess, providerProcess, benchProcess), ours+others)
	line("peak MiB      %s", named(scaled(f.PeakMemory, 1<<20), "%.0f"))
	line("start ms      %s", named(f.StartMillis, "%.0f"))
	line("elsewhere     %.2f cores by other programs, %.2f stolen%s", f.ForeignCores, f.StolenCores, noisy(f))
	line("")
	r.tables(&b)
	if c.Statements && len(r.Runs) > 0 {
		line("")
		r.statements(&b)
	}
	for _, run := range r.Runs {
		for _, wrong := range run.Wrong {
			line("WRONG: %s", wrong)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (c Config) title() string {
	mode := "backlog"
	if c.Rate > 0 {
		mode = fmt.Sprintf("%g a second", c.Rate)
	}
	return fmt.Sprintf("%d sagas, %s, provider %v, workers %d, in flight %d, median of %d", c.N, mode, c.Latency, c.Workers, c.InFlight, c.Runs)
}

// extras are what is out of the ordinary.
func (c Config) extras() []string {
	var extras []string
	add := func(format string, args ...any) { extras = append(extras, fmt.Sprintf(format, args...)) }
	if c.Preload+c.PreloadWaiting > 0 {
		add("beforehand: %d finished, %d waiting", c.Preload, c.PreloadWaiting)
	}
	if c.Topups > 0 {
		add("top-ups: %g of all", c.Topups)
	}
	if c.Snapshot {
		add("a snapshot is held open")
	}
	for _, pair := range c.Env {
		add("%s", pair)
	}
	return extras
}

// noise is how many cores of other work make a run worth little.
const noise = 0.15

func noisy(f Figures) string {
	if f.ForeignCores+f.StolenCores > noise {
		return "   NOISY: measure again"
	}
	return ""
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}

// named lists all values by name.
func named(values map[string]float64, format string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		parts = append(parts, name+" "+fmt.Sprintf(format, values[name]))
	}
	return strings.Join(parts, "  ")
}

// listed lists those that are named.
func listed(values map[string]float64, names ...string) string {
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s %.3f", name, values[name]))
	}
	return strings.Join(parts, "  ")
}

func scaled(values map[string]float64, by float64) map[string]float64 {
	all := map[string]float64{}
	for name, v := range values {
		all[name] = v / by
	}
	return all
}

func (r Report) tables(b *bytes.Buffer) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "rows a saga\tinserted\tupdated\tof them HOT\tdeleted\tscans in all\trows scanned\t")
	for _, name := range slices.Sorted(maps.Keys(r.Median.Tables)) {
		t, n := r.Median.Tables[name], float64(r.Config.N)
		_, _ = fmt.Fprintf(w, "%s\t%.3f\t%.3f\t%.3f\t%.3f\t%.0f\t%.3f\t\n", name, t.Inserted, t.Updated, t.HotUpdated, t.Deleted,
			t.SequentialScans*n, t.SequentialRows)
	}
	_ = w.Flush() // into memory
}

// statements prints those of the last run.
func (r Report) statements(b *bytes.Buffer) {
	last := r.Runs[len(r.Runs)-1]
	fmt.Fprintln(b, " total ms    calls   ms/call  rows/call  WAL/call  statement")
	for _, s := range last.Statements {
		text := strings.Join(strings.Fields(s.Text), " ")
		if runes := []rune(text); len(runes) > 47 {
			text = string(runes[:46]) + "…"
		}
		fmt.Fprintf(b, "%9.0f %8.0f %9.3f %10.1f %9.0f  %s\n", s.TotalMS, s.Calls, s.TotalMS/s.Calls, s.Rows/s.Calls, s.WALBytes/s.Calls, text)
	}
}
