package deploy_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"esimflow/internal/message"
)

// custom is a custom resource. What is in its spec is checked by TestCustomResources, against its
// project's own schema.
type custom struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              json.RawMessage `json:"spec"`
}

// What the tests look at in KEDA's specs, the Prometheus Operator's and CloudNativePG's.
type (
	scaledObject struct {
		ScaleTargetRef  struct{ Name string }
		MinReplicaCount int
		MaxReplicaCount int
		Fallback        struct{ Replicas int }
		Triggers        []struct {
			Type     string
			Metadata map[string]string
		}
	}
	podMonitor struct {
		Selector                metav1.LabelSelector
		ScrapeClassicHistograms bool
		PodMetricsEndpoints     []struct{ Port, Path string }
	}
	cnpgCluster struct {
		Instances             int
		ImageName             string
		EnableSuperuserAccess *bool
		Bootstrap             struct {
			InitDB struct {
				Owner string
				SQL   struct {
					ConfigMapRefs []struct{ Name, Key string }
				} `json:"postInitApplicationSQLRefs"`
			}
		}
		Managed struct {
			Roles []struct {
				Name           string
				Inherit        bool
				PasswordSecret struct{ Name string }
			}
		}
		PostgreSQL struct {
			Synchronous struct {
				Method         string
				Number         int
				DataDurability string
			}
			Parameters map[string]string
		}
	}
	cnpgScheduledBackup struct {
		Cluster struct{ Name string }
		Online  *bool
	}
)

// specsOf are the specs of a kind, by name.
func specsOf[S any](t *testing.T, all []manifest, kind string) map[string]S {
	t.Helper()
	found := map[string]S{}
	for _, o := range all {
		if c, ok := o.Value.(*custom); ok && o.Kind == kind {
			var spec S
			require.NoError(t, json.Unmarshal(c.Spec, &spec), o)
			found[o.Name] = spec
		}
	}
	return found
}

// specOf is one of them.
func specOf[S any](t *testing.T, all []manifest, kind, name string) S {
	t.Helper()
	found := specsOf[S](t, all, kind)
	require.Contains(t, found, name, kind)
	return found[name]
}

// everythingInProd is where all components are.
func everythingInProd(t *testing.T) []manifest {
	t.Helper()
	all, err := built()
	require.NoError(t, err)
	return all["prod"]
}

// renamed are NACK's fields that JetStream calls otherwise than by the same words.
var renamed = map[string]string{
	"discardPerSubject": "discard_new_per_subject", "maxMsgsPerSubject": "max_msgs_per_subject", "allowRollup": "allow_rollup_hdrs",
	"allowAtomicPublish": "allow_atomic", "allowMsgCounter": "allow_msg_counter", "duplicateWindow": "duplicate_window",
	"durableName": "durable_name", "replicas": "num_replicas", "headersOnly": "headers_only", "memStorage": "mem_storage",
}

// jetStream decodes a spec of NACK's as JetStream's own configuration, strictly, but for the fields that are
// taken out: they are NACK's alone, and have to be as given.
func jetStream(t *testing.T, spec map[string]any, into any, taken map[string]any) {
	t.Helper()
	for name, want := range taken {
		require.Equal(t, want, spec[name], name)
		delete(spec, name)
	}
	fields := map[string]any{}
	for name, value := range spec {
		if text, ok := value.(string); ok {
			if d, err := time.ParseDuration(text); err == nil {
				value = d
			}
		}
		snake, ok := renamed[name]
		if !ok {
			snake = strings.ToLower(regexp.MustCompile(`[A-Z]`).ReplaceAllString(name, "_$0"))
		}
		fields[snake] = value
	}
	text, err := json.Marshal(fields)
	require.NoError(t, err)
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	require.NoError(t, strict.Decode(into), string(text))
}

// NACK keeps the streams that the programs expect, field by field, with nothing left to its
// defaults, and removes none of them together with its object.
func TestNACKStreamsAreTheContracts(t *testing.T) {
	t.Parallel()
	specs := specsOf[map[string]any](t, everythingInProd(t), "Stream")
	want := message.Streams(3)
	require.Len(t, specs, len(want))
	for _, s := range want {
		name := strings.ReplaceAll(strings.ToLower(s.Name), "_", "-")
		require.Contains(t, specs, name)
		spec := specs[name]
		require.Len(t, spec, 31, "every field that has a default")
		var has jetstream.StreamConfig
		jetStream(t, spec, &has, map[string]any{
			"preventDelete": true, "preventUpdate": false, "maxAge": "", "subjectDeleteMarkerTtl": "", "persistMode": "default",
		})
		// Nothing and -1 are both no limit.
		for _, n := range []*int64{&s.MaxMsgs, &s.MaxBytes} {
			*n = unlimited(*n)
		}
		s.MaxConsumers = unlimited(s.MaxConsumers)
		s.MaxMsgSize = unlimited(s.MaxMsgSize)
		require.Equal(t, s, has, name)
	}
}

// NACK keeps the consumers that the programs expect: explicit acknowledgement, redelivery without
// end, pulled. Removing one would have everything delivered again.
func TestNACKConsumersAreTheContracts(t *testing.T) {
	t.Parallel()
	specs := specsOf[map[string]any](t, everythingInProd(t), "Consumer")
	require.Len(t, specs, len(message.Consumers()))
	for _, c := range message.Consumers() {
		require.Contains(t, specs, c.Durable)
		require.Len(t, specs[c.Durable], 16, "every field that has a default")
		var has jetstream.ConsumerConfig
		jetStream(t, specs[c.Durable], &has, map[string]any{
			"streamName": message.RequestsStream, "preventDelete": true, "preventUpdate": false, "flowControl": false, "pauseUntil": "",
		})
		require.Equal(t, c, has)
	}
}

func unlimited[T ~int | ~int32 | ~int64](n T) T {
	if n == 0 {
		return -1
	}
	return n
}

// The streams' Job looks and changes nothing where NACK looks after them.
func TestStreamsAreVerifiedBesideNACK(t *testing.T) {
	t.Parallel()
	for _, w := range workloads(everythingInProd(t)) {
		for _, c := range w.containers() {
			require.False(t, slices.Contains(c.Command, "apply"), w)
		}
	}
}

// KEDA scales workers between a few and never to none, by what waits for intake and by what is
// due; how many there are is not said in two places.
func TestScaling(t *testing.T) {
	t.Parallel()
	all := everythingInProd(t)
	spec := specOf[scaledObject](t, all, "ScaledObject", "esimflow-worker")
	require.Equal(t, "esimflow-worker", spec.ScaleTargetRef.Name)
	require.GreaterOrEqual(t, spec.MinReplicaCount, 2)
	require.LessOrEqual(t, spec.MaxReplicaCount, 8, "PressOne's limit is the bottleneck")
	require.GreaterOrEqual(t, spec.Fallback.Replicas, spec.MinReplicaCount)
	var consumers []string
	metrics := golden(t)
	for _, trigger := range spec.Triggers {
		switch trigger.Type {
		case "nats-jetstream":
			require.Equal(t, message.RequestsStream, trigger.Metadata["stream"])
			require.Contains(t, trigger.Metadata["natsServerMonitoringEndpoint"], ":8222")
			consumers = append(consumers, trigger.Metadata["consumer"])
		case "prometheus":
			name := metricName.FindString(trigger.Metadata["query"])
			require.Equal(t, "max("+name+")", trigger.Metadata["query"], "every worker shows the same")
			require.Equal(t, "false", trigger.Metadata["ignoreNullValues"], "no answer is not a zero")
			require.Contains(t, metrics, name)
		default:
			require.Fail(t, "unknown trigger", trigger.Type)
		}
	}
	var want []string
	for _, c := range message.Consumers() {
		want = append(want, c.Durable)
	}
	require.ElementsMatch(t, want, consumers)
	require.Len(t, spec.Triggers, len(want)+1)
}

// Prometheus scrapes workers and publishers where they serve, and keeps classic histograms.
func TestScraping(t *testing.T) {
	t.Parallel()
	all := everythingInProd(t)
	spec := specOf[podMonitor](t, all, "PodMonitor", "esimflow")
	require.True(t, spec.ScrapeClassicHistograms)
	require.Len(t, spec.PodMetricsEndpoints, 1)
	require.Equal(t, "/metrics", spec.PodMetricsEndpoints[0].Path)
	for _, w := range workloads(all) {
		scraped := selects(t, &spec.Selector, w.pod.Labels)
		require.Equal(t, w.Kind == "Deployment", scraped, w)
		if scraped {
			require.True(t, slices.ContainsFunc(w.pod.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool {
				return p.Name == spec.PodMetricsEndpoints[0].Port
			}), w)
		}
	}
}

// The operator's rules are the rules, and the dashboard is the dashboard.
func TestRulesAndDashboardAreTheSame(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile(filepath.Join("prometheus", "esimflow.rules.yaml"))
	require.NoError(t, err)
	path := filepath.Join("k8s", "components", "monitoring", "rules.yaml")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(rulesManifest(string(source))), 0o600))
	}
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, rulesManifest(string(source)), string(kept), "run go test ./deploy -update")
	var made struct{ Spec any }
	require.NoError(t, yaml.Unmarshal(kept, &made))
	var rules any
	require.NoError(t, yaml.Unmarshal(source, &rules))
	require.Equal(t, rules, made.Spec)

	dashboard, err := os.ReadFile(filepath.Join("grafana", "esimflow.json"))
	require.NoError(t, err)
	config := one[corev1.ConfigMap](t, everythingInProd(t), "esimflow-dashboard")
	require.Equal(t, string(dashboard), config.Data["esimflow.json"])
	require.Equal(t, "1", config.Labels["grafana_dashboard"])
}

// rulesManifest is the rules' file as an object of the Prometheus Operator.
func rulesManifest(source string) string {
	var b strings.Builder
	b.WriteString("# Made from deploy/prometheus/esimflow.rules.yaml by `go test ./deploy -update`; change it there.\n")
	b.WriteString("apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: esimflow\n  labels:\n")
	b.WriteString("    app.kubernetes.io/name: esimflow\n    app.kubernetes.io/part-of: esimflow\nspec:\n")
	_, groups, _ := strings.Cut(source, "\ngroups:\n")
	for line := range strings.Lines("groups:\n" + groups) {
		if strings.TrimSpace(line) != "" {
			b.WriteString("  ")
		}
		b.WriteString(line)
	}
	return b.String()
}

// A commit that Postgres has answered is on two machines: an intent that is forgotten is an
// order bought twice.
func TestPostgresLosesNothing(t *testing.T) {
	t.Parallel()
	all := everythingInProd(t)
	spec := specOf[cnpgCluster](t, all, "Cluster", "esimflow-postgres")
	require.Equal(t, 3, spec.Instances)
	require.Equal(t, "any", spec.PostgreSQL.Synchronous.Method)
	require.GreaterOrEqual(t, spec.PostgreSQL.Synchronous.Number, 1)
	require.Equal(t, "required", spec.PostgreSQL.Synchronous.DataDurability)
	require.Equal(t, "on", spec.PostgreSQL.Parameters["synchronous_commit"])
	require.NotContains(t, spec.PostgreSQL.Parameters, "fsync")
	require.Equal(t, new(bool), spec.EnableSuperuserAccess)
	roles, err := os.ReadFile(filepath.Join("postgres", "roles.sql"))
	require.NoError(t, err)
	source := spec.Bootstrap.InitDB.SQL.ConfigMapRefs[0]
	require.Equal(t, string(roles), one[corev1.ConfigMap](t, all, source.Name).Data[source.Key])
	for _, role := range spec.Managed.Roles {
		require.Contains(t, string(roles), "ALTER ROLE "+role.Name+" LOGIN")
		require.Equal(t, !role.Inherit, strings.Contains(string(roles), "ALTER ROLE "+role.Name+" LOGIN NOINHERIT"), role.Name)
	}
	require.Contains(t, string(roles), "ALTER ROLE "+spec.Bootstrap.InitDB.Owner+" NOLOGIN")
	backup := specOf[cnpgScheduledBackup](t, all, "ScheduledBackup", "esimflow-postgres")
	require.Equal(t, "esimflow-postgres", backup.Cluster.Name)
	require.Equal(t, new(bool), backup.Online, "a snapshot taken online is of no use without the WAL")
}
