package deploy_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"esimflow/internal/devstack"
)

type rule struct {
	Record      string            `yaml:"record"`
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Keep        string            `yaml:"keep_firing_for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// load reads the rules' file.
func load(t *testing.T) (all []rule) {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	b, err := os.ReadFile(filepath.Join("prometheus", "esimflow.rules.yaml"))
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(b, &file))
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

func alerts(t *testing.T) []rule {
	t.Helper()
	return slices.DeleteFunc(load(t), func(r rule) bool { return r.Alert == "" })
}

// Whoever is woken is told what happened, how bad it is, and where to read on.
func TestAlerts(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, a := range alerts(t) {
		require.Regexp(t, `^Esimflow[A-Z]`, a.Alert)
		require.False(t, seen[a.Alert], a.Alert)
		seen[a.Alert] = true
		require.Contains(t, []string{"page", "ticket"}, a.Labels["severity"], a.Alert)
		require.NotEmpty(t, a.Annotations["summary"], a.Alert)
		require.NotContains(t, a.Annotations["summary"], "{{", "%s: a summary groups", a.Alert)
		require.Regexp(t, `\.$`, a.Annotations["description"], a.Alert)
		if asked := regexp.MustCompile(`\b(rate|increase|absent)\(`); !asked.MatchString(a.Expr) {
			require.NotEmpty(t, a.Keep, "%s: it ends for a moment when processes are replaced, and begins anew", a.Alert)
		}
		require.Equal(t, "docs/runbook.md#"+strings.ToLower(a.Alert), a.Annotations["runbook_url"])
	}
}

// Every alert has been seen to fire and to be silent, in the unit tests that promtool runs.
func TestAlertsHaveTests(t *testing.T) {
	t.Parallel()
	var file struct {
		Tests []struct {
			Name   string `yaml:"name"`
			Checks []struct {
				Expr    string           `yaml:"expr"`
				Samples []map[string]any `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		} `yaml:"tests"`
	}
	b, err := os.ReadFile(filepath.Join("prometheus", "esimflow.test.yaml"))
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(b, &file))
	fires, silent := map[string]bool{}, map[string]bool{}
	name := regexp.MustCompile(`alertname="(\w+)"`)
	for _, one := range file.Tests {
		require.Len(t, one.Checks, 1, one.Name)
		alert := name.FindStringSubmatch(one.Checks[0].Expr)
		require.NotNil(t, alert, one.Name)
		if len(one.Checks[0].Samples) > 0 {
			fires[alert[1]] = true
			require.Contains(t, one.Name, alert[1]+" fires")
		} else {
			silent[alert[1]] = true
			require.Contains(t, one.Name, alert[1]+" is silent: ")
		}
	}
	for _, a := range alerts(t) {
		require.True(t, fires[a.Alert], "no test has %s fire", a.Alert)
		require.True(t, silent[a.Alert], "no test has %s silent", a.Alert)
	}
	require.Len(t, fires, len(alerts(t)), "tests of alerts that there are not")
}

// golden is the contract: the names of metrics, and their labels. A histogram is also what
// its classic buckets are called.
func golden(t *testing.T) map[string][]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "internal", "app", "testdata", "metrics.golden"))
	require.NoError(t, err)
	names := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		names[fields[0]] = fields[2:]
		if fields[1] == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				names[fields[0]+suffix] = append([]string{"le"}, fields[2:]...)
			}
		}
	}
	for _, r := range load(t) {
		if r.Record != "" {
			names[r.Record] = nil
		}
	}
	return names
}

var (
	metricName = regexp.MustCompile(`\besimflow[_:][a-z0-9_:]+`)
	selector   = regexp.MustCompile(`\b(esimflow[_:][a-z0-9_:]+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`)
)

// Every metric, and every label that is asked for, in the dashboard, the rules and the
// runbook is one that the programs show.
func TestMetricsExist(t *testing.T) {
	t.Parallel()
	known := golden(t)
	texts := map[string]string{}
	for _, r := range load(t) {
		texts[r.Alert+r.Record] = r.Expr
	}
	for _, r := range rows() {
		for _, p := range r.panels {
			for _, q := range p.targets {
				texts[r.title+": "+p.title+" "+q.legend] = q.expr
			}
		}
	}
	runbook, err := os.ReadFile(filepath.Join("..", "docs", "runbook.md"))
	require.NoError(t, err)
	for _, span := range regexp.MustCompile("`esimflow[^`]*`").FindAllString(string(runbook), -1) {
		texts["docs/runbook.md "+span] = span
	}
	for where, text := range texts {
		for _, name := range metricName.FindAllString(text, -1) {
			require.Contains(t, known, name, where)
		}
		for _, s := range selector.FindAllStringSubmatch(text, -1) {
			for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
				require.Contains(t, known[s[1]], m[1], "%s asks %s for a label that it does not have", where, s[1])
			}
		}
	}
}

// Whoever reads a section at three in the morning finds in it what they need, in the same
// order as in all others.
func TestRunbook(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "docs", "runbook.md"))
	require.NoError(t, err)
	sections := strings.Split(string(b), "\n## ")[1:]
	var titles []string
	for _, s := range sections {
		title, text, _ := strings.Cut(s, "\n")
		titles = append(titles, title)
		at := 0
		for _, part := range []string{
			"**Meaning.** ", "**Who is hurt.** ", "**First three commands.**\n\n```\n", "**Causes, in order.** ", "**Safe.** ", "**Dangerous.** ", "**It is over when** ",
		} {
			i := strings.Index(text[at:], part)
			require.GreaterOrEqual(t, i, 0, "%s: %s is missing, or in another place", title, part)
			at += i + len(part)
		}
		_, commands, _ := strings.Cut(text, "```\n")
		commands, _, _ = strings.Cut(commands, "\n```")
		require.Len(t, strings.Split(commands, "\n"), 3, title)
	}
	var want []string
	for _, a := range alerts(t) {
		want = append(want, a.Alert)
	}
	require.Equal(t, want, titles, "a section for each alert, in the order of the rules")
}

// What the runbook has an operator ask Postgres is understood by it.
func TestRunbookStatements(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "docs", "runbook.md"))
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), devstack.Postgres(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	found := regexp.MustCompile(`(?m)^psql "\$DATABASE_URL" -c "(.*)"$`).FindAllStringSubmatch(string(b), -1)
	require.Greater(t, len(found), 8)
	for _, f := range found {
		_, err := conn.Prepare(t.Context(), "", f[1])
		require.NoError(t, err, f[1])
	}
}
