package deploy_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"esimflow/internal/app"
)

// Every pod is let into a namespace that enforces the profile `restricted`, by the checks that
// Kubernetes itself makes.
func TestPodsAreRestricted(t *testing.T) {
	t.Parallel()
	checks, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	require.NoError(t, err)
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	forEachOverlay(t, func(t *testing.T, _ string, all []manifest) {
		t.Helper()
		for _, w := range workloads(all) {
			for _, result := range checks.EvaluatePod(restricted, &w.pod.ObjectMeta, &w.pod.Spec) {
				require.True(t, result.Allowed, "%s: %s: %s", w, result.ForbiddenReason, result.ForbiddenDetail)
			}
		}
	})
}

// Beyond the profile: nothing can be written but volumes, nobody has a token of the account or
// other services' addresses, and our own image runs as its own user.
func TestPodsHaveNothingToSpare(t *testing.T) {
	t.Parallel()
	forEachOverlay(t, func(t *testing.T, _ string, all []manifest) {
		t.Helper()
		require.Equal(t, new(bool), one[corev1.ServiceAccount](t, all, "esimflow").AutomountServiceAccountToken)
		for _, w := range workloads(all) {
			spec := w.pod.Spec
			require.Equal(t, new(bool), spec.AutomountServiceAccountToken, w)
			require.Equal(t, new(bool), spec.EnableServiceLinks, w)
			require.NotNil(t, spec.SecurityContext.RunAsUser, w)
			if w.ours() {
				require.Equal(t, int64(65532), *spec.SecurityContext.RunAsUser, w)
				require.Equal(t, "esimflow", spec.ServiceAccountName, w)
			}
			for _, c := range w.containers() {
				require.NotNil(t, c.SecurityContext, "%s %s", w, c.Name)
				require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, "%s %s", w, c.Name)
				require.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop, "%s %s", w, c.Name)
				require.Empty(t, c.SecurityContext.Capabilities.Add, "%s %s", w, c.Name)
			}
		}
	})
}

// Every container says what it needs, has a limit to its memory and none to its processors, and
// Go's collector knows the limit before the kernel does.
func TestResources(t *testing.T) {
	t.Parallel()
	forEachOverlay(t, func(t *testing.T, _ string, all []manifest) {
		t.Helper()
		for _, w := range workloads(all) {
			for _, c := range w.containers() {
				limit, limited := c.Resources.Limits[corev1.ResourceMemory]
				require.True(t, limited, "%s %s", w, c.Name)
				require.NotContains(t, c.Resources.Limits, corev1.ResourceCPU, "%s %s", w, c.Name)
				require.Contains(t, c.Resources.Requests, corev1.ResourceCPU, "%s %s", w, c.Name)
				require.Contains(t, c.Resources.Requests, corev1.ResourceMemory, "%s %s", w, c.Name)
				for _, e := range c.Env {
					if e.Name == "GOMEMLIMIT" {
						soft := resource.MustParse(strings.TrimSuffix(e.Value, "B"))
						require.Less(t, soft.Value(), limit.Value()*95/100, "%s %s", w, c.Name)
						require.Greater(t, soft.Value(), limit.Value()*80/100, "%s %s", w, c.Name)
					}
				}
			}
		}
	})
}

// Alive is asked of /healthz, ready of /readyz, both where TELEMETRY_ADDR says; liveness is
// slower to give up than readiness.
func TestProbes(t *testing.T) {
	t.Parallel()
	forEachOverlay(t, func(t *testing.T, _ string, all []manifest) {
		t.Helper()
		for _, d := range of[appsv1.Deployment](all) {
			c := d.Spec.Template.Spec.Containers[0]
			for _, c := range (workload{pod: d.Spec.Template}).containers() {
				require.NotNil(t, c.LivenessProbe, "%s %s", d.Name, c.Name)
				require.NotNil(t, c.ReadinessProbe, "%s %s", d.Name, c.Name)
			}
			if d.Spec.Template.Labels["app.kubernetes.io/part-of"] != "esimflow" {
				continue
			}
			_, port, _ := strings.Cut(environment(t, all, c)["TELEMETRY_ADDR"], ":")
			require.Contains(t, c.Ports, corev1.ContainerPort{Name: "telemetry", ContainerPort: number(t, port)})
			for path, probe := range map[string]*corev1.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
				require.Equal(t, &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("telemetry")}, probe.HTTPGet, d.Name)
			}
			require.GreaterOrEqual(t, c.LivenessProbe.PeriodSeconds*c.LivenessProbe.FailureThreshold, int32(60), d.Name)
			require.LessOrEqual(t, c.ReadinessProbe.PeriodSeconds*c.ReadinessProbe.FailureThreshold, int32(15), d.Name)
			if d.Name == "esimflow-worker" {
				_, port, _ := strings.Cut(environment(t, all, c)["HTTP_ADDR"], ":")
				require.Contains(t, c.Ports, corev1.ContainerPort{Name: "http", ContainerPort: number(t, port)})
			}
		}
	})
}

func number(t *testing.T, s string) int32 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 32)
	require.NoError(t, err)
	return int32(n)
}

// Nobody is killed before they could have stopped by themselves, with the configuration that
// they have, and with a margin.
func TestNobodyIsKilledWhileStopping(t *testing.T) {
	t.Parallel()
	const margin = 10 * time.Second
	forEachOverlay(t, func(t *testing.T, _ string, all []manifest) {
		t.Helper()
		for name, program := range map[string]app.Program{
			"esimflow-worker": app.WorkerProgram, "esimflow-publisher": app.PublisherProgram,
		} {
			spec := one[appsv1.Deployment](t, all, name).Spec.Template.Spec
			cfg := loaded(t, all, spec, spec.Containers[0])
			grace := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second
			require.GreaterOrEqual(t, grace, app.StopBudget(program, cfg)+margin, name)
		}
	})
}

// A rollout and a drain never leave too few: a new pod is ready before an old one goes, one goes
// at a time, what is not ready is in nobody's way, and zones share.
func TestThereAreAlwaysEnough(t *testing.T) {
	t.Parallel()
	forEachOverlay(t, func(t *testing.T, overlay string, all []manifest) {
		t.Helper()
		for _, name := range []string{"esimflow-worker", "esimflow-publisher"} {
			d := one[appsv1.Deployment](t, all, name).Spec
			require.Equal(t, appsv1.RollingUpdateDeploymentStrategyType, d.Strategy.Type)
			require.Equal(t, intstr.FromInt32(0), *d.Strategy.RollingUpdate.MaxUnavailable, name)
			require.Equal(t, intstr.FromInt32(1), *d.Strategy.RollingUpdate.MaxSurge, name)
			budget := one[policyv1.PodDisruptionBudget](t, all, name).Spec
			require.Equal(t, intstr.FromInt32(1), *budget.MaxUnavailable, name)
			require.Equal(t, policyv1.AlwaysAllow, *budget.UnhealthyPodEvictionPolicy, name)
			spread := d.Template.Spec.TopologySpreadConstraints[0]
			require.Equal(t, corev1.LabelTopologyZone, spread.TopologyKey, name)
			if overlay == "prod" {
				require.Equal(t, corev1.DoNotSchedule, spread.WhenUnsatisfiable, name)
				if _, scaled := specsOf[scaledObject](t, all, "ScaledObject")[name]; scaled {
					require.Nil(t, d.Replicas, "%s: KEDA says how many", name)
				} else {
					require.GreaterOrEqual(t, *d.Replicas, int32(2), name)
				}
			}
		}
	})
}

// The schema has a Job of its own, with a role of its own, that gives up on a wrong configuration
// at once and on anything else after a few tries.
func TestMigrationJob(t *testing.T) {
	t.Parallel()
	forEachOverlay(t, func(t *testing.T, _ string, all []manifest) {
		t.Helper()
		job := one[batchv1.Job](t, all, "esimflow-migrate").Spec
		require.Equal(t, []string{"/usr/local/bin/esimctl", "migrate", "up"}, job.Template.Spec.Containers[0].Command)
		require.Equal(t, corev1.RestartPolicyNever, job.Template.Spec.RestartPolicy)
		rule := job.PodFailurePolicy.Rules[0]
		require.Equal(t, batchv1.PodFailurePolicyActionFailJob, rule.Action)
		require.Equal(t, []int32{2}, rule.OnExitCodes.Values)
		require.Equal(t, job.Template.Spec.Containers[0].Name, *rule.OnExitCodes.ContainerName)
		mounted := secretsOf(job.Template.Spec)
		require.True(t, slices.ContainsFunc(mounted, func(s string) bool { return strings.HasPrefix(s, "esimflow-migrator") }))
		worker := secretsOf(one[appsv1.Deployment](t, all, "esimflow-worker").Spec.Template.Spec)
		require.False(t, slices.ContainsFunc(worker, func(s string) bool { return strings.HasPrefix(s, "esimflow-migrator") }))
	})
}

var digested = regexp.MustCompile(`^[a-z0-9.-]+(:[0-9]+)?/[a-z0-9./-]+@sha256:[0-9a-f]{64}$`)

// In production an image is its digest, and all of ours are the same one. Everywhere else it has
// a version that is not `latest`.
func TestImages(t *testing.T) {
	t.Parallel()
	postgres := specOf[cnpgCluster](t, everythingInProd(t), "Cluster", "esimflow-postgres").ImageName
	require.Regexp(t, `^[a-z0-9.-]+/[a-z0-9./-]+:[0-9.]+@sha256:[0-9a-f]{64}$`, postgres, "the operator reads the version from the tag")
	forEachOverlay(t, func(t *testing.T, overlay string, all []manifest) {
		t.Helper()
		ours := map[string]bool{}
		for _, w := range workloads(all) {
			for _, c := range w.containers() {
				if overlay == "prod" {
					require.Regexp(t, digested, c.Image, w)
				} else {
					require.Regexp(t, `^[a-z]+:[a-z0-9.-]+$`, c.Image, w)
					require.NotContains(t, c.Image, "latest", w)
				}
				if w.ours() {
					ours[c.Image] = true
				}
			}
		}
		require.Len(t, ours, 1)
	})
}
