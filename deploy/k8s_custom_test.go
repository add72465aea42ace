package deploy_test

import (
	"os"
	"path/filepath"
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

// The parts of custom resources that the manifests use, as their projects define them. Decoding
// is strict: a field that is misspelt, or is not here, fails. TestCustomResources compares with
// the projects' own schemas, where there is a folder of them.

// custom is what all of them have.
type custom struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
}

// scaledObject is KEDA's.
type scaledObject struct {
	custom
	Spec struct {
		ScaleTargetRef struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Name       string `json:"name"`
		} `json:"scaleTargetRef"`
		MinReplicaCount int `json:"minReplicaCount"`
		MaxReplicaCount int `json:"maxReplicaCount"`
		PollingInterval int `json:"pollingInterval"`
		CooldownPeriod  int `json:"cooldownPeriod"`
		Fallback        struct {
			FailureThreshold int    `json:"failureThreshold"`
			Replicas         int    `json:"replicas"`
			Behavior         string `json:"behavior"`
		} `json:"fallback"`
		Advanced struct {
			HPA struct {
				Behavior map[string]struct {
					Stabilization int `json:"stabilizationWindowSeconds"`
					Policies      []struct {
						Type   string `json:"type"`
						Value  int    `json:"value"`
						Period int    `json:"periodSeconds"`
					} `json:"policies"`
				} `json:"behavior"`
			} `json:"horizontalPodAutoscalerConfig"`
		} `json:"advanced"`
		Triggers []struct {
			Type     string            `json:"type"`
			Name     string            `json:"name"`
			Metadata map[string]string `json:"metadata"`
		} `json:"triggers"`
	} `json:"spec"`
}

// podMonitor is the Prometheus Operator's.
type podMonitor struct {
	custom
	Spec struct {
		JobLabel                string               `json:"jobLabel"`
		Selector                metav1.LabelSelector `json:"selector"`
		ScrapeClassicHistograms bool                 `json:"scrapeClassicHistograms"`
		Endpoints               []struct {
			Port          string `json:"port"`
			Path          string `json:"path"`
			Scheme        string `json:"scheme"`
			Interval      string `json:"interval"`
			ScrapeTimeout string `json:"scrapeTimeout"`
		} `json:"podMetricsEndpoints"`
	} `json:"spec"`
}

// prometheusRule is the Prometheus Operator's.
type prometheusRule struct {
	custom
	Spec struct {
		Groups []struct {
			Name  string `json:"name"`
			Rules []struct {
				Record      string            `json:"record"`
				Alert       string            `json:"alert"`
				Expr        string            `json:"expr"`
				For         string            `json:"for"`
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"rules"`
		} `json:"groups"`
	} `json:"spec"`
}

// nackStream is NACK's. Pointers tell what is written from what is left to NACK.
type nackStream struct {
	custom
	Spec struct {
		Name                   string   `json:"name"`
		Description            string   `json:"description"`
		Subjects               []string `json:"subjects"`
		Storage                string   `json:"storage"`
		Retention              string   `json:"retention"`
		Discard                string   `json:"discard"`
		DiscardPerSubject      *bool    `json:"discardPerSubject"`
		Replicas               int      `json:"replicas"`
		DuplicateWindow        string   `json:"duplicateWindow"`
		MaxAge                 *string  `json:"maxAge"`
		MaxBytes               int64    `json:"maxBytes"`
		MaxConsumers           int      `json:"maxConsumers"`
		MaxMsgSize             int32    `json:"maxMsgSize"`
		MaxMsgs                int64    `json:"maxMsgs"`
		MaxMsgsPerSubject      *int64   `json:"maxMsgsPerSubject"`
		NoAck                  *bool    `json:"noAck"`
		Sealed                 *bool    `json:"sealed"`
		DenyDelete             *bool    `json:"denyDelete"`
		DenyPurge              *bool    `json:"denyPurge"`
		AllowRollup            *bool    `json:"allowRollup"`
		AllowDirect            *bool    `json:"allowDirect"`
		MirrorDirect           *bool    `json:"mirrorDirect"`
		AllowMsgTTL            *bool    `json:"allowMsgTtl"`
		AllowMsgCounter        *bool    `json:"allowMsgCounter"`
		AllowAtomicPublish     *bool    `json:"allowAtomicPublish"`
		AllowMsgSchedules      *bool    `json:"allowMsgSchedules"`
		SubjectDeleteMarkerTTL *string  `json:"subjectDeleteMarkerTtl"`
		PersistMode            string   `json:"persistMode"`
		Compression            string   `json:"compression"`
		PreventDelete          bool     `json:"preventDelete"`
		PreventUpdate          *bool    `json:"preventUpdate"`
	} `json:"spec"`
}

// nackConsumer is NACK's.
type nackConsumer struct {
	custom
	Spec struct {
		StreamName    string  `json:"streamName"`
		DurableName   string  `json:"durableName"`
		FilterSubject string  `json:"filterSubject"`
		DeliverPolicy string  `json:"deliverPolicy"`
		ReplayPolicy  string  `json:"replayPolicy"`
		AckPolicy     string  `json:"ackPolicy"`
		AckWait       string  `json:"ackWait"`
		MaxDeliver    int     `json:"maxDeliver"`
		MaxAckPending int     `json:"maxAckPending"`
		FlowControl   *bool   `json:"flowControl"`
		HeadersOnly   *bool   `json:"headersOnly"`
		MemStorage    *bool   `json:"memStorage"`
		Replicas      *int    `json:"replicas"`
		PauseUntil    *string `json:"pauseUntil"`
		PreventDelete bool    `json:"preventDelete"`
		PreventUpdate *bool   `json:"preventUpdate"`
	} `json:"spec"`
}

// cnpgCluster is CloudNativePG's.
type cnpgCluster struct {
	custom
	Spec struct {
		Description           string `json:"description"`
		Instances             int    `json:"instances"`
		ImageName             string `json:"imageName"`
		PrimaryUpdateStrategy string `json:"primaryUpdateStrategy"`
		PrimaryUpdateMethod   string `json:"primaryUpdateMethod"`
		EnableSuperuserAccess *bool  `json:"enableSuperuserAccess"`
		EnablePDB             bool   `json:"enablePDB"`
		Bootstrap             struct {
			InitDB struct {
				Database      string `json:"database"`
				Owner         string `json:"owner"`
				Encoding      string `json:"encoding"`
				DataChecksums bool   `json:"dataChecksums"`
				SQL           struct {
					ConfigMaps []struct {
						Name string `json:"name"`
						Key  string `json:"key"`
					} `json:"configMapRefs"`
				} `json:"postInitApplicationSQLRefs"`
			} `json:"initdb"`
		} `json:"bootstrap"`
		Managed struct {
			Roles []struct {
				Name            string   `json:"name"`
				Comment         string   `json:"comment"`
				Ensure          string   `json:"ensure"`
				Login           bool     `json:"login"`
				Inherit         bool     `json:"inherit"`
				InRoles         []string `json:"inRoles"`
				ConnectionLimit int      `json:"connectionLimit"`
				PasswordSecret  struct {
					Name string `json:"name"`
				} `json:"passwordSecret"`
			} `json:"roles"`
		} `json:"managed"`
		PostgreSQL struct {
			Synchronous struct {
				Method         string `json:"method"`
				Number         int    `json:"number"`
				DataDurability string `json:"dataDurability"`
				FailoverQuorum bool   `json:"failoverQuorum"`
			} `json:"synchronous"`
			Parameters map[string]string `json:"parameters"`
		} `json:"postgresql"`
		Storage    volumeSize                  `json:"storage"`
		WALStorage volumeSize                  `json:"walStorage"`
		Resources  corev1.ResourceRequirements `json:"resources"`
		Affinity   struct {
			Enable      bool   `json:"enablePodAntiAffinity"`
			Type        string `json:"podAntiAffinityType"`
			TopologyKey string `json:"topologyKey"`
		} `json:"affinity"`
		Backup struct {
			Target         string    `json:"target"`
			VolumeSnapshot *struct{} `json:"volumeSnapshot"`
		} `json:"backup"`
	} `json:"spec"`
}

// volumeSize is a volume's, which is given for sizes alone.
type volumeSize struct {
	Size string `json:"size"`
}

// cnpgScheduledBackup is CloudNativePG's.
type cnpgScheduledBackup struct {
	custom
	Spec struct {
		Cluster struct {
			Name string `json:"name"`
		} `json:"cluster"`
		Schedule             string `json:"schedule"`
		Method               string `json:"method"`
		Online               *bool  `json:"online"`
		Target               string `json:"target"`
		BackupOwnerReference string `json:"backupOwnerReference"`
		Immediate            bool   `json:"immediate"`
		Suspend              bool   `json:"suspend"`
	} `json:"spec"`
}

// everythingInProd is where all components are.
func everythingInProd(t *testing.T) []manifest {
	t.Helper()
	all, err := built()
	require.NoError(t, err)
	return all["prod"]
}

// NACK keeps the streams that the programs expect, field by field, with nothing left to its
// defaults, and removes none of them together with its object.
func TestNACKStreamsAreTheContracts(t *testing.T) {
	t.Parallel()
	all := everythingInProd(t)
	want := message.Streams(3)
	require.Len(t, of[nackStream](all), len(want))
	off := new(bool)
	for i, s := range want {
		got := one[nackStream](t, all, strings.ReplaceAll(strings.ToLower(s.Name), "_", "-")).Spec
		require.True(t, got.PreventDelete, s.Name)
		require.Equal(t, off, got.PreventUpdate, s.Name)
		require.Equal(t, new(string), got.MaxAge, s.Name)
		require.Equal(t, new(string), got.SubjectDeleteMarkerTTL, s.Name)
		window, err := time.ParseDuration(got.DuplicateWindow)
		require.NoError(t, err)
		has := jetstream.StreamConfig{
			Name: got.Name, Description: got.Description, Subjects: got.Subjects, Replicas: got.Replicas, Duplicates: window,
			DiscardNewPerSubject: *got.DiscardPerSubject, MaxMsgsPerSubject: *got.MaxMsgsPerSubject,
			NoAck: *got.NoAck, Sealed: *got.Sealed, DenyDelete: *got.DenyDelete, DenyPurge: *got.DenyPurge,
			AllowRollup: *got.AllowRollup, AllowDirect: *got.AllowDirect, MirrorDirect: *got.MirrorDirect, AllowMsgTTL: *got.AllowMsgTTL,
			AllowMsgCounter: *got.AllowMsgCounter, AllowAtomicPublish: *got.AllowAtomicPublish, AllowMsgSchedules: *got.AllowMsgSchedules,
			MaxMsgs: got.MaxMsgs, MaxBytes: got.MaxBytes, MaxConsumers: got.MaxConsumers, MaxMsgSize: got.MaxMsgSize,
		}
		require.NoError(t, has.Storage.UnmarshalJSON(quoted(got.Storage)))
		require.NoError(t, has.Retention.UnmarshalJSON(quoted(got.Retention)))
		require.NoError(t, has.Discard.UnmarshalJSON(quoted(got.Discard)))
		require.NoError(t, has.Compression.UnmarshalJSON(quoted(got.Compression)))
		require.Equal(t, "default", got.PersistMode)
		// Nothing and -1 are both no limit.
		for _, n := range []*int64{&s.MaxMsgs, &s.MaxBytes} {
			*n = unlimited(*n)
		}
		s.MaxConsumers = unlimited(s.MaxConsumers)
		s.MaxMsgSize = unlimited(s.MaxMsgSize)
		require.Equal(t, s, has, "%d", i)
	}
}

// NACK keeps the consumers that the programs expect: explicit acknowledgement, redelivery without
// end, pulled.
func TestNACKConsumersAreTheContracts(t *testing.T) {
	t.Parallel()
	all := everythingInProd(t)
	require.Len(t, of[nackConsumer](all), len(message.Consumers()))
	for _, c := range message.Consumers() {
		got := one[nackConsumer](t, all, c.Durable).Spec
		require.Equal(t, message.RequestsStream, got.StreamName)
		require.True(t, got.PreventDelete, "everything would be delivered again")
		require.Equal(t, new(bool), got.PreventUpdate)
		require.Equal(t, new(bool), got.FlowControl)
		require.Equal(t, new(string), got.PauseUntil)
		wait, err := time.ParseDuration(got.AckWait)
		require.NoError(t, err)
		has := jetstream.ConsumerConfig{
			Durable: got.DurableName, FilterSubject: got.FilterSubject, AckWait: wait, MaxDeliver: got.MaxDeliver,
			MaxAckPending: got.MaxAckPending, HeadersOnly: *got.HeadersOnly, MemoryStorage: *got.MemStorage, Replicas: *got.Replicas,
		}
		require.NoError(t, has.DeliverPolicy.UnmarshalJSON(quoted(got.DeliverPolicy)))
		require.NoError(t, has.AckPolicy.UnmarshalJSON(quoted(got.AckPolicy)))
		require.NoError(t, has.ReplayPolicy.UnmarshalJSON(quoted(got.ReplayPolicy)))
		require.Equal(t, c, has)
	}
}

func quoted(s string) []byte { return []byte(`"` + s + `"`) }

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
	spec := one[scaledObject](t, all, "esimflow-worker").Spec
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
	spec := one[podMonitor](t, all, "esimflow").Spec
	require.True(t, spec.ScrapeClassicHistograms)
	require.Len(t, spec.Endpoints, 1)
	require.Equal(t, "/metrics", spec.Endpoints[0].Path)
	for _, w := range workloads(all) {
		scraped := selects(t, &spec.Selector, w.pod.Labels)
		require.Equal(t, w.Kind == "Deployment", scraped, w)
		if scraped {
			require.True(t, slices.ContainsFunc(w.pod.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool {
				return p.Name == spec.Endpoints[0].Port
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
	var made struct {
		Spec struct {
			Groups []any `json:"groups"`
		} `json:"spec"`
	}
	var rules struct {
		Groups []any `json:"groups"`
	}
	require.NoError(t, yaml.Unmarshal(kept, &made))
	require.NoError(t, yaml.Unmarshal(source, &rules))
	require.Equal(t, rules.Groups, made.Spec.Groups)

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
	spec := one[cnpgCluster](t, all, "esimflow-postgres").Spec
	require.Equal(t, 3, spec.Instances)
	require.Equal(t, "any", spec.PostgreSQL.Synchronous.Method)
	require.GreaterOrEqual(t, spec.PostgreSQL.Synchronous.Number, 1)
	require.Equal(t, "required", spec.PostgreSQL.Synchronous.DataDurability)
	require.Equal(t, "on", spec.PostgreSQL.Parameters["synchronous_commit"])
	require.NotContains(t, spec.PostgreSQL.Parameters, "fsync")
	require.Equal(t, new(bool), spec.EnableSuperuserAccess)
	roles, err := os.ReadFile(filepath.Join("postgres", "roles.sql"))
	require.NoError(t, err)
	source := spec.Bootstrap.InitDB.SQL.ConfigMaps[0]
	require.Equal(t, string(roles), one[corev1.ConfigMap](t, all, source.Name).Data[source.Key])
	for _, role := range spec.Managed.Roles {
		require.Contains(t, string(roles), "ALTER ROLE "+role.Name+" LOGIN")
		require.Equal(t, !role.Inherit, strings.Contains(string(roles), "ALTER ROLE "+role.Name+" LOGIN NOINHERIT"), role.Name)
	}
	require.Contains(t, string(roles), "ALTER ROLE "+spec.Bootstrap.InitDB.Owner+" NOLOGIN")
	backup := one[cnpgScheduledBackup](t, all, "esimflow-postgres").Spec
	require.Equal(t, "esimflow-postgres", backup.Cluster.Name)
	require.Equal(t, new(bool), backup.Online, "a snapshot taken online is of no use without the WAL")
}
