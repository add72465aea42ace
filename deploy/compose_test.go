package deploy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"esimflow/internal/app"
	"esimflow/internal/config"
)

// compose loads the project as `docker compose` does: against its schema, merged, with paths
// made absolute.
func compose(t *testing.T) *types.Project {
	t.Helper()
	dir, err := filepath.Abs("compose")
	require.NoError(t, err)
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: dir, ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "compose.yaml")}},
	}, func(o *loader.Options) { o.SetProjectName("esimflow", true) })
	require.NoError(t, err)
	return project
}

// environmentOf is what a service gets.
func environmentOf(s types.ServiceConfig) map[string]string {
	env := map[string]string{}
	for name, value := range s.Environment {
		env[name] = *value
	}
	return env
}

// The services are configured as the programs want it, with names that they know, stop in time,
// and are reached from this machine alone.
func TestComposeServices(t *testing.T) {
	t.Parallel()
	project := compose(t)
	needs := map[string]config.Need{
		"worker": config.Worker, "publisher": config.Publisher, "migrate": config.Migrate, "streams": config.Streams,
	}
	var known []string
	for _, v := range config.Variables() {
		known = append(known, v.Name)
	}
	for name, need := range needs {
		env := environmentOf(project.Services[name])
		for variable := range env {
			require.Contains(t, known, variable, name)
		}
		cfg, err := config.Load(func(n string) string { return env[n] }, need)
		require.NoError(t, err, name)
		if program := app.Program(name); need == config.Worker || need == config.Publisher {
			grace := time.Duration(*project.Services[name].StopGracePeriod)
			require.Greater(t, grace, app.StopBudget(program, cfg), name)
		}
	}
	image := project.Services["worker"].Image
	require.Equal(t, "service:worker", project.Services["simulator"].NetworkMode)
	for name, s := range project.Services {
		require.NotContains(t, s.Image, "latest", name)
		for _, p := range s.Ports {
			require.Equal(t, "127.0.0.1", p.HostIP, name)
		}
		if s.Image == image {
			require.True(t, s.ReadOnly, name)
			require.Equal(t, []string{"ALL"}, s.CapDrop, name)
			require.Contains(t, []string{"/usr/local/bin/worker", "/usr/local/bin/publisher", "/usr/local/bin/esimctl"}, s.Entrypoint[0])
		}
		if s.Build != nil {
			_, err := os.Stat(filepath.Join(s.Build.Context, "Dockerfile"))
			require.NoError(t, err)
		}
	}
}

// What is mounted is there: our rules and our dashboard, and not copies of them.
func TestComposeFiles(t *testing.T) {
	t.Parallel()
	here, err := filepath.Abs(".")
	require.NoError(t, err)
	mounted := map[string]string{}
	for name, s := range compose(t).Services {
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			info, err := os.Stat(v.Source)
			require.NoError(t, err)
			require.False(t, info.IsDir(), v.Source)
			require.True(t, v.ReadOnly, v.Source)
			mounted[name+" "+v.Target] = v.Source
		}
	}
	require.Equal(t, filepath.Join(here, "prometheus", "esimflow.rules.yaml"), mounted["prometheus /etc/prometheus/esimflow.rules.yaml"])
	require.Equal(t, filepath.Join(here, "grafana", "esimflow.json"), mounted["grafana /var/lib/grafana/dashboards/esimflow.json"])

	var providers struct {
		Providers []struct {
			Options struct {
				Path string `yaml:"path"`
			} `yaml:"options"`
		} `yaml:"providers"`
	}
	decode(t, mounted["grafana /etc/grafana/provisioning/dashboards/esimflow.yaml"], &providers)
	require.Equal(t, "/var/lib/grafana/dashboards", providers.Providers[0].Options.Path)
}

// Prometheus scrapes the worker and the publisher where they serve, and Grafana asks Prometheus.
func TestComposeAddresses(t *testing.T) {
	t.Parallel()
	project := compose(t)
	var prometheus struct {
		RuleFiles []string `yaml:"rule_files"`
		Scrape    []struct {
			Job     string `yaml:"job_name"`
			Statics []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	decode(t, filepath.Join("compose", "prometheus.yml"), &prometheus)
	require.Equal(t, []string{"/etc/prometheus/esimflow.rules.yaml"}, prometheus.RuleFiles)
	var scraped []string
	for _, s := range prometheus.Scrape {
		host, port, _ := strings.Cut(s.Statics[0].Targets[0], ":")
		require.Equal(t, ":"+port, environmentOf(project.Services[host])["TELEMETRY_ADDR"])
		scraped = append(scraped, host)
	}
	slices.Sort(scraped)
	require.Equal(t, []string{"publisher", "worker"}, scraped)

	var sources struct {
		Sources []struct {
			Type string `yaml:"type"`
			URL  string `yaml:"url"`
		} `yaml:"datasources"`
	}
	decode(t, filepath.Join("compose", "grafana", "datasources.yaml"), &sources)
	require.Equal(t, "prometheus", sources.Sources[0].Type)
	require.Equal(t, "http://prometheus:9090", sources.Sources[0].URL)
	require.Contains(t, project.Services, "prometheus")
}

// decode reads a file of YAML.
func decode(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(b, into))
}
