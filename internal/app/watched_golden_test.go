package app_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"esimflow/internal/pressonesim"
)

// metric is what dashboards and alerts rely on.
type metric struct {
	name, kind, help string
	labels           []string
	values           map[string][]string // by label
	programs         []string
}

// contract is what both programs show when nothing has happened yet. All of it is there then.
func (v *watched) contract() []metric {
	v.t.Helper()
	var all []metric
	for name, f := range v.scrape() {
		if !strings.HasPrefix(name, "esimflow_") {
			continue
		}
		m := metric{name: name, kind: strings.ToLower(f.GetType().String()), help: f.GetHelp(), values: map[string][]string{}}
		for _, one := range f.Metric {
			for _, l := range one.Label {
				if l.GetName() == "program" {
					m.programs = with(m.programs, l.GetValue())
				}
				switch {
				case name == "esimflow_build_info" && l.GetName() != "program":
					m.values[l.GetName()] = []string{"…"}
				case name == "esimflow_build_info", l.GetName() != "program": // only there it is its own
					m.values[l.GetName()] = with(m.values[l.GetName()], l.GetValue())
				}
			}
		}
		for label := range m.values {
			m.labels = with(m.labels, label)
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b metric) int { return cmp.Compare(a.name, b.name) })
	return all
}

// with adds s to a sorted set.
func with(set []string, s string) []string {
	if i, ok := slices.BinarySearch(set, s); !ok {
		return slices.Insert(set, i, s)
	}
	return set
}

// Name, type, labels and their values are a contract: dashboards and alerts are written
// against them. -update rewrites the list and docs/metrics.md.
func TestMetricsContract(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	maps.Copy(b.env, patient) // nothing is to happen
	v := watch(b)
	all := v.contract()
	var list strings.Builder
	for _, m := range all {
		fmt.Fprintf(&list, "%s %s", m.name, m.kind)
		for _, label := range m.labels {
			fmt.Fprintf(&list, " %s", label)
		}
		list.WriteString("\n")
	}
	compareGolden(t, filepath.Join("testdata", "metrics.golden"), list.String())
	compareGolden(t, filepath.Join(root, "docs", "metrics.md"), metricsPage(all))
	v.bothHistograms()
}

func compareGolden(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, string(got), "run go test ./internal/app -run TestMetricsContract -update")
}

func metricsPage(all []metric) string {
	var b strings.Builder
	b.WriteString(`# Metrics

Generated from what the programs show; do not edit.

Both programs serve their metrics at ` + "`TELEMETRY_ADDR`" + ` under ` + "`/metrics`" + `, beside ` + "`go_*`, `process_*` and `promhttp_*`" + `.

- **Counters and histograms** are each process's own: add them up. They count what the process knows to be committed; a process that is
  killed between a commit and its count leaves one out. Series are there at zero from the start, but for answers of PressOne's that nobody has documented.
- **Gauges that are read from Postgres or JetStream** are the same in every process: take the ` + "`max`" + `, not the ` + "`sum`" + `. They are read in the background
  every 15 seconds, or less often if it takes long (` + "`esimflow_collector_age_seconds`" + ` tells when last), so a scrape waits for nobody. What was never
  read is not shown. Ages grow on while Postgres is away.
- **Histograms** have classic and native buckets. A scraper that takes native ones stores no ` + "`_bucket`" + ` series unless it is told to (` + "`scrape_classic_histograms`" + `, in a
  PodMonitor ` + "`scrapeClassicHistograms: true`" + `); the dashboard and the rules ask for either.
- **Labels** are closed sets: no order, eSIM, package, customer or text is ever in one. Codes and currencies that nobody expects are ` + "`other`" + `.

| metric | type | labels | shown by | meaning |
|---|---|---|---|---|
`)
	values := map[string][]string{}
	for _, m := range all {
		var labels []string
		for _, label := range m.labels {
			labels = append(labels, "`"+label+"`")
			for _, v := range m.values[label] {
				values[label] = with(values[label], v)
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", m.name, m.kind, strings.Join(labels, ", "), strings.Join(m.programs, ", "), m.help)
	}
	b.WriteString("\n## Labels\n\n| label | values |\n|---|---|\n")
	var names []string
	for label := range values {
		names = with(names, label)
	}
	for _, label := range names {
		var quoted []string
		for _, v := range values[label] {
			if v == "" {
				quoted = append(quoted, "(none)")
			} else {
				quoted = append(quoted, "`"+v+"`")
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", label, strings.Join(quoted, ", "))
	}
	return b.String()
}

// bothHistograms checks that each histogram of ours has classic and native buckets.
func (v *watched) bothHistograms() {
	v.t.Helper()
	found := 0
	for _, addr := range []string{v.worker.TelemetryAddr(), v.publisher.TelemetryAddr()} {
		req, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, "http://"+addr+"/metrics", http.NoBody)
		require.NoError(v.t, err)
		format := expfmt.NewFormat(expfmt.TypeProtoDelim)
		req.Header.Set("Accept", string(format))
		res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		require.NoError(v.t, err)
		defer res.Body.Close()
		for decoder := expfmt.NewDecoder(res.Body, format); ; {
			var f dto.MetricFamily
			if err := decoder.Decode(&f); errors.Is(err, io.EOF) {
				break
			} else {
				require.NoError(v.t, err)
			}
			if f.GetType() != dto.MetricType_HISTOGRAM || !strings.HasPrefix(f.GetName(), "esimflow_") {
				continue
			}
			found++
			for _, m := range f.Metric {
				require.NotEmpty(v.t, m.Histogram.Bucket, f.GetName())
				require.NotNil(v.t, m.Histogram.Schema, "%s has no native buckets", f.GetName())
			}
		}
	}
	require.Greater(v.t, found, 6)
}
