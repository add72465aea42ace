package deploy_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// overlays are the folders of k8s/overlays.
var overlays = []string{"dev", "prod"}

// manifest is one resource of an overlay, as it would be applied.
type manifest struct {
	Version, Kind, Name string
	JSON                []byte
	Value               any // strictly decoded, a pointer to a type of Kubernetes, or to a custom
}

// String is how messages call it.
func (o manifest) String() string { return o.Kind + "/" + o.Name }

// kinds are the types of all that the overlays hold. What is not here is not decoded, and fails.
var kinds = map[string]func() any{
	"apps/v1 Deployment":                      func() any { return &appsv1.Deployment{} },
	"batch/v1 Job":                            func() any { return &batchv1.Job{} },
	"v1 ConfigMap":                            func() any { return &corev1.ConfigMap{} },
	"v1 Secret":                               func() any { return &corev1.Secret{} },
	"v1 Service":                              func() any { return &corev1.Service{} },
	"v1 ServiceAccount":                       func() any { return &corev1.ServiceAccount{} },
	"networking.k8s.io/v1 NetworkPolicy":      func() any { return &networkingv1.NetworkPolicy{} },
	"policy/v1 PodDisruptionBudget":           func() any { return &policyv1.PodDisruptionBudget{} },
	"keda.sh/v1alpha1 ScaledObject":           func() any { return &custom{} },
	"monitoring.coreos.com/v1 PodMonitor":     func() any { return &custom{} },
	"monitoring.coreos.com/v1 PrometheusRule": func() any { return &custom{} },
	"jetstream.nats.io/v1beta2 Stream":        func() any { return &custom{} },
	"jetstream.nats.io/v1beta2 Consumer":      func() any { return &custom{} },
	"postgresql.cnpg.io/v1 Cluster":           func() any { return &custom{} },
	"postgresql.cnpg.io/v1 ScheduledBackup":   func() any { return &custom{} },
}

// built has every overlay, once: kustomize keeps its schemas in one place for all.
var built = sync.OnceValues(func() (map[string][]manifest, error) {
	all := map[string][]manifest{}
	for _, name := range overlays {
		objects, err := kustomize(filepath.Join("k8s", "overlays", name))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[name] = objects
	}
	return all, withEach(all)
})

// components are the folders of k8s/components.
var components = []string{"cnpg", "keda", "monitoring", "nack", "tracing"}

// withEach adds base with each component alone, as "base and NAME", and base by itself.
func withEach(all map[string][]manifest) error {
	dir, err := os.MkdirTemp("", "esimflow-kustomize-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	here, err := filepath.Abs("k8s")
	if err != nil {
		return err
	}
	to, err := filepath.Rel(dir, here) // kustomize wants it relative
	if err != nil {
		return err
	}
	for _, name := range append([]string{""}, components...) {
		text, as := "resources: ["+filepath.Join(to, "base")+"]\n", "base"
		if name != "" {
			text, as = text+"components: ["+filepath.Join(to, "components", name)+"]\n", "base and "+name
		}
		if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
			return err
		}
		if all[as], err = kustomize(dir); err != nil {
			return fmt.Errorf("%s: %w", as, err)
		}
	}
	return nil
}

// kustomize builds a folder as `kubectl kustomize` does, and decodes what comes out, strictly.
func kustomize(dir string) ([]manifest, error) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, err
	}
	var all []manifest
	for _, r := range resources.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			return nil, err
		}
		o := manifest{Version: r.GetApiVersion(), Kind: r.GetKind(), Name: r.GetName()}
		if o.JSON, err = yaml.YAMLToJSONStrict(text); err != nil {
			return nil, fmt.Errorf("%s: %w", o, err)
		}
		kind, known := kinds[o.Version+" "+o.Kind]
		if !known {
			return nil, fmt.Errorf("%s: no type for %s", o, o.Version)
		}
		o.Value = kind()
		faults, err := kjson.UnmarshalStrict(o.JSON, o.Value)
		if err = errors.Join(append(faults, err)...); err != nil {
			return nil, fmt.Errorf("%s: %w", o, err)
		}
		all = append(all, o)
	}
	return all, nil
}

// forEachOverlay runs a test of what each overlay makes.
func forEachOverlay(t *testing.T, test func(t *testing.T, overlay string, all []manifest)) {
	t.Helper()
	everything, err := built()
	require.NoError(t, err)
	for _, name := range overlays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, name, everything[name])
		})
	}
}

// of lists the objects of a type.
func of[T any](all []manifest) (found []*T) {
	for _, o := range all {
		if v, ok := o.Value.(*T); ok {
			found = append(found, v)
		}
	}
	return found
}

// one returns the object of a type with that name.
func one[T any](t *testing.T, all []manifest, name string) *T {
	t.Helper()
	for _, o := range all {
		if v, ok := o.Value.(*T); ok && o.Name == name {
			return v
		}
	}
	require.Fail(t, "missing", "no %T named %s", *new(T), name)
	return nil
}

// workload is what makes pods.
type workload struct {
	manifest
	pod corev1.PodTemplateSpec
}

func workloads(all []manifest) (found []workload) {
	for _, o := range all {
		switch v := o.Value.(type) {
		case *appsv1.Deployment:
			found = append(found, workload{o, v.Spec.Template})
		case *batchv1.Job:
			found = append(found, workload{o, v.Spec.Template})
		}
	}
	return found
}

// containers are all of the pod's.
func (w workload) containers() []corev1.Container {
	return slices.Concat(w.pod.Spec.InitContainers, w.pod.Spec.Containers)
}

// ours says whether the pod runs this project's image.
func (w workload) ours() bool { return w.pod.Labels["app.kubernetes.io/part-of"] == "esimflow" }

// Each overlay builds, everything in it is of a known type and has no field that is not one of
// that type, nothing is there twice, and nothing chooses its namespace: whoever applies it does.
func TestOverlaysBuild(t *testing.T) {
	t.Parallel()
	forEachOverlay(t, func(t *testing.T, _ string, all []manifest) {
		t.Helper()
		seen := map[string]bool{}
		for _, o := range all {
			key := o.Version + " " + o.String()
			require.False(t, seen[key], key)
			seen[key] = true
			var meta struct {
				Metadata struct {
					Namespace string            `json:"namespace"`
					Labels    map[string]string `json:"labels"`
				} `json:"metadata"`
			}
			require.NoError(t, kjson.UnmarshalCaseSensitivePreserveInts(o.JSON, &meta))
			require.Empty(t, meta.Metadata.Namespace, o)
			require.False(t, bytes.Contains(o.JSON, []byte("TODO")), o)
		}
		for _, name := range []string{"esimflow-worker", "esimflow-publisher"} {
			one[appsv1.Deployment](t, all, name)
			one[policyv1.PodDisruptionBudget](t, all, name)
		}
		one[batchv1.Job](t, all, "esimflow-migrate")
		one[corev1.Service](t, all, "esimflow-worker")
		one[corev1.ServiceAccount](t, all, "esimflow")
	})
}

// Base needs no other project's definitions, and each component builds with base alone, and brings
// those of one project at the most.
func TestComponentsAreOptional(t *testing.T) {
	t.Parallel()
	groups := map[string]string{"cnpg": "postgresql.cnpg.io", "keda": "keda.sh", "monitoring": "monitoring.coreos.com", "nack": "jetstream.nats.io"}
	everything, err := built()
	require.NoError(t, err)
	folders, err := filepath.Glob(filepath.Join("k8s", "components", "*"))
	require.NoError(t, err)
	require.Len(t, folders, len(components))
	for _, name := range append([]string{""}, components...) {
		as := strings.TrimSuffix("base and "+name, " and ")
		found := map[string]bool{}
		for _, o := range everything[as] {
			if _, ok := o.Value.(*custom); ok {
				group, _, _ := strings.Cut(o.Version, "/")
				found[group] = true
			}
		}
		if want, ok := groups[name]; ok {
			require.Equal(t, map[string]bool{want: true}, found, as)
		} else {
			require.Empty(t, found, as)
		}
		require.Len(t, of[appsv1.Deployment](everything[as]), 2, as)
	}
}

// What is chosen by labels is there: services, budgets, spreads and policies find pods, and each
// deployment finds its own and no other's.
func TestSelectorsFindPods(t *testing.T) {
	t.Parallel()
	forEachOverlay(t, func(t *testing.T, _ string, all []manifest) {
		t.Helper()
		found := func(want map[string]string) (names []string) {
			for _, w := range workloads(all) {
				if matches(want, w.pod.Labels) {
					names = append(names, w.Name)
				}
			}
			return names
		}
		for _, d := range of[appsv1.Deployment](all) {
			require.Equal(t, []string{d.Name}, found(d.Spec.Selector.MatchLabels))
			for _, s := range d.Spec.Template.Spec.TopologySpreadConstraints {
				require.Equal(t, []string{d.Name}, found(s.LabelSelector.MatchLabels))
			}
		}
		for _, s := range of[corev1.Service](all) {
			require.Equal(t, []string{s.Name}, found(s.Spec.Selector))
			pod := one[appsv1.Deployment](t, all, s.Name).Spec.Template.Spec
			for _, p := range s.Spec.Ports {
				require.True(t, slices.ContainsFunc(pod.Containers[0].Ports, func(c corev1.ContainerPort) bool {
					return c.Name == p.TargetPort.StrVal
				}), "%s: no port %s", s.Name, p.TargetPort.StrVal)
			}
		}
		for _, p := range of[policyv1.PodDisruptionBudget](all) {
			require.Equal(t, []string{p.Name}, found(p.Spec.Selector.MatchLabels))
		}
	})
}

// matches reports whether labels has all of want.
func matches(want, labels map[string]string) bool {
	for k, v := range want {
		if labels[k] != v {
			return false
		}
	}
	return len(want) > 0
}
