package app_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

var prometheusFlag = flag.Bool("prometheus", false, "evaluate the dashboard and the rules in a real Prometheus, which has to be on PATH with promtool")

const installPrometheus = "install Prometheus, on Debian by: apt-get install --no-install-recommends prometheus"

// lookUpProgram finds one of Prometheus's programs.
func lookUpProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	require.NoError(t, err, "%s is not on PATH, and -prometheus needs it: %s", name, installPrometheus)
	return path
}

// query is what a panel or a rule asks for.
type watchedQuery struct {
	where, expr string
	noData      bool // an empty result is good news
}

// panelQueries reads the dashboard as Grafana gets it.
func panelQueries(t *testing.T) (all []watchedQuery) {
	t.Helper()
	var board struct {
		Panels []struct {
			Type, Title, Description string
			Targets                  []struct{ Expr string }
		}
	}
	b, err := os.ReadFile(filepath.Join(root, "deploy", "grafana", "esimflow.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &board))
	row := ""
	for _, p := range board.Panels {
		if p.Type == "row" {
			row = p.Title
		}
		for _, target := range p.Targets {
			all = append(all, watchedQuery{
				where: row + ": " + p.Title, noData: strings.HasSuffix(p.Description, "Empty is good."),
				expr: strings.ReplaceAll(target.Expr, "$__rate_interval", "10m"),
			})
		}
	}
	require.Greater(t, len(all), 50)
	return all
}

// ruleQueries are the names of the recording rules, and the series that alerts look at: an
// alert that looks at nothing is silent for ever. That an alert itself is empty is good.
func ruleQueries(t *testing.T) (all []watchedQuery) {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []struct{ Record, Alert, Expr string }
		}
	}
	b, err := os.ReadFile(rulesFile(t))
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(b, &file))
	series := regexp.MustCompile(`\besimflow[_:][a-z0-9_:]+(\{[^}]*\})?`)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Record != "" {
				all = append(all, watchedQuery{where: r.Record, expr: r.Record})
				continue
			}
			all = append(all, watchedQuery{where: r.Alert, expr: r.Expr, noData: true})
			for _, s := range series.FindAllString(r.Expr, -1) {
				all = append(all, watchedQuery{where: r.Alert, expr: s})
			}
		}
	}
	require.Greater(t, len(all), 40)
	return all
}

func rulesFile(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, "deploy", "prometheus", "esimflow.rules.yaml"))
	require.NoError(t, err)
	return path
}

const durationMetric = "esimflow_saga_duration_seconds"

// Whatever a panel or an alert looks at is there after a run in which most of what can happen
// has happened. With -prometheus, as CI runs it, a real Prometheus scrapes that run and
// answers each panel's query and each rule's: none fails, and none is empty but where that
// is good news. Once with classic histograms and once with native ones. And promtool runs the
// rules' own tests.
func TestDashboardAndRulesHaveData(t *testing.T) {
	b := eventful(t)
	v := watch(b)
	if !*prometheusFlag {
		v.troubles()
		v.haveSeries(append(panelQueries(t), ruleQueries(t)...))
		return
	}
	promtool(t)
	classic, native := startPrometheus(v), startPrometheus(v, "--enable-feature=native-histograms")
	v.troubles()
	const buckets = durationMetric + "_bucket"
	v.await(func() bool { return classic.query(watchedQuery{expr: buckets}) > 0 }) // a scrape that takes too long shows nothing
	v.await(func() bool { return native.query(watchedQuery{expr: durationMetric}) > 0 })
	require.Zero(t, native.query(watchedQuery{expr: buckets}), "with native histograms, a classic dashboard goes blank")
	for name, p := range map[string]*prometheusServer{"classic": classic, "native": native} {
		p.healthy()
		for _, q := range append(panelQueries(t), ruleQueries(t)...) {
			require.Eventually(t, func() bool {
				n := p.query(q)
				return n > 0 || q.noData
			}, time.Minute, 250*time.Millisecond, "%s histograms: %s is empty: %s", name, q.where, q.expr)
		}
	}
}

// haveSeries checks that each metric that the queries name is shown with that name.
func (v *watched) haveSeries(all []watchedQuery) {
	v.t.Helper()
	shown := map[string]bool{}
	for name, f := range v.scrape() {
		if len(f.Metric) > 0 {
			for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
				shown[name+suffix] = true
			}
		}
	}
	name := regexp.MustCompile(`\b(?:esimflow|process)_[a-z0-9_]+`)
	for _, q := range all {
		for _, n := range name.FindAllString(q.expr, -1) {
			require.True(v.t, shown[n], "%s: %s is not shown", q.where, n)
		}
	}
}

// prometheusServer is a Prometheus that scrapes both programs every two seconds.
type prometheusServer struct {
	t   *testing.T
	url string
}

const prometheusConfig = `
global: {scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: esimflow
    static_configs: [{targets: [%q, %q]}]
`

// startPrometheus starts one with its own storage, until the end of the test.
func startPrometheus(v *watched, options ...string) *prometheusServer {
	v.t.Helper()
	path := lookUpProgram(v.t, "prometheus")
	dir := v.t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(prometheusConfig, rulesFile(v.t), v.worker.TelemetryAddr(), v.publisher.TelemetryAddr())
	require.NoError(v.t, os.WriteFile(config, []byte(text), 0o600))
	addr := steadyAddr(v.t)
	var out lockedBuffer
	//nolint:gosec // our own options
	cmd := exec.CommandContext(v.t.Context(), path, append([]string{
		"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + addr, "--log.level=warn",
	}, options...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	require.NoError(v.t, cmd.Start())
	v.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if v.t.Failed() {
			v.t.Log(out.String())
		}
	})
	p := &prometheusServer{t: v.t, url: "http://" + addr}
	require.Eventually(v.t, func() bool { _, err := p.get("/-/ready", nil); return err == nil }, time.Minute, 50*time.Millisecond, "Prometheus")
	require.Eventually(v.t, func() bool { return p.query(watchedQuery{expr: `count(up == 1) == 2`}) == 1 }, time.Minute, 100*time.Millisecond, "both are scraped")
	return p
}

func (p *prometheusServer) get(path string, values url.Values) ([]byte, error) {
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.url+path+"?"+values.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %d: %s", res.StatusCode, body)
	}
	return body, err
}

// query evaluates q now, and returns how many series there are with a value.
func (p *prometheusServer) query(q watchedQuery) (n int) {
	p.t.Helper()
	body, err := p.get("/api/v1/query", url.Values{"query": {q.expr}})
	require.NoError(p.t, err, "%s: %s", q.where, q.expr)
	var answer struct {
		Data struct {
			ResultType string
			Result     []struct {
				Value     []any
				Histogram []any
			}
		}
		Warnings []string
	}
	require.NoError(p.t, json.Unmarshal(body, &answer))
	require.Empty(p.t, answer.Warnings, "%s: %s", q.where, q.expr)
	require.Equal(p.t, "vector", answer.Data.ResultType)
	for _, r := range answer.Data.Result {
		if len(r.Histogram) > 0 {
			n++
			continue
		}
		text, _ := r.Value[1].(string)
		if f, err := strconv.ParseFloat(text, 64); err == nil && f == f { // NaN is no value
			n++
		}
	}
	return n
}

// healthy waits until every rule has been evaluated, and none has failed.
func (p *prometheusServer) healthy() {
	p.t.Helper()
	type rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	require.Eventually(p.t, func() bool {
		body, err := p.get("/api/v1/rules", nil)
		require.NoError(p.t, err)
		var answer rules
		require.NoError(p.t, json.Unmarshal(body, &answer))
		n := 0
		for _, g := range answer.Data.Groups {
			for _, r := range g.Rules {
				require.Empty(p.t, r.LastError, r.Name)
				if r.Health != "ok" {
					return false
				}
				n++
			}
		}
		return n > 20
	}, time.Minute, 250*time.Millisecond, "the rules are evaluated")
}

// promtool checks that it has nothing to say about the rules, and that each alert fires where
// it should and is silent where it should be.
func promtool(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"check", "rules", "--lint=all", "--lint-fatal", "esimflow.rules.yaml"}, {"test", "rules", "esimflow.test.yaml"},
	} {
		cmd := exec.CommandContext(t.Context(), lookUpProgram(t, "promtool"), args...) //nolint:gosec // our own arguments
		cmd.Dir = filepath.Dir(rulesFile(t))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "promtool %s\n%s", strings.Join(args, " "), bytes.TrimSpace(out))
	}
}
