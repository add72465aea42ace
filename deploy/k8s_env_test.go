package deploy_test

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"esimflow/internal/config"
)

// environment is what a container gets, from its config maps and its own list.
func environment(t *testing.T, all []manifest, c corev1.Container) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, from := range c.EnvFrom {
		require.NotNil(t, from.ConfigMapRef, "%s: a secret in the environment", c.Name)
		maps.Copy(env, one[corev1.ConfigMap](t, all, from.ConfigMapRef.Name).Data)
	}
	for _, e := range c.Env {
		require.Nil(t, e.ValueFrom, "%s: %s is a file, or written here", c.Name, e.Name)
		require.NotContains(t, env, e.Name, "%s: set twice", c.Name)
		env[e.Name] = e.Value
	}
	return env
}

// secretsOf names the secrets that a pod mounts.
func secretsOf(spec corev1.PodSpec) (names []string) {
	for _, v := range spec.Volumes {
		if v.Secret != nil {
			names = append(names, v.Secret.SecretName)
		}
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				names = append(names, s.Secret.Name)
			}
		}
	}
	return names
}

// files maps the path of each file that is mounted into a container to the key of its secret.
func files(t *testing.T, spec corev1.PodSpec, c corev1.Container) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, m := range c.VolumeMounts {
		i := slices.IndexFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		require.GreaterOrEqual(t, i, 0, "%s mounts %s, which there is not", c.Name, m.Name)
		v := spec.Volumes[i]
		var items []corev1.KeyToPath
		switch {
		case v.Secret != nil:
			require.Equal(t, int32(0o440), *v.Secret.DefaultMode, v.Name)
			items = v.Secret.Items
		case v.Projected != nil:
			require.Equal(t, int32(0o440), *v.Projected.DefaultMode, v.Name)
			for _, s := range v.Projected.Sources {
				require.NotNil(t, s.Secret, v.Name)
				require.NotEmpty(t, s.Secret.Items, "%s: only what is asked for", v.Name)
				items = append(items, s.Secret.Items...)
			}
		default:
			continue
		}
		require.True(t, m.ReadOnly, "%s: %s", c.Name, m.Name)
		for _, item := range items {
			found[path.Join(m.MountPath, item.Path)] = item.Key
		}
	}
	return found
}

// needOf is what each of our commands loads its configuration for.
func needOf(t *testing.T, c corev1.Container) (need config.Need, loads bool) {
	t.Helper()
	switch {
	case c.Command[0] == "/usr/local/bin/worker":
		return config.Worker, true
	case c.Command[0] == "/usr/local/bin/publisher":
		return config.Publisher, true
	case c.Command[1] == "migrate":
		return config.Migrate, true
	case c.Command[1] == "streams":
		return config.Streams, true
	case c.Command[1] == "sim":
		return "", false
	}
	require.Fail(t, "unknown command", c.Command)
	return "", false
}

// sample is a right content for each key of a secret.
var sample = map[string]string{
	"url": "postgres://esimflow:secret@postgres:5432/esimflow?sslmode=disable", "client-id": "id", "client-secret": "secret",
	"keys": "ZGV2LWRldi1kZXYtZGV2LWRldi1kZXYtZGV2LWRldi0=", "token": "a token of 16 or more",
	"servers": "tls://worker:secret@nats-0:4222,tls://worker:secret@nats-1:4222", "ca.crt": "certificate", "tls.crt": "certificate", "tls.key": "key",
}

// loaded is the configuration that a container starts with: with its environment, and with files
// where its secrets are mounted.
func loaded(t *testing.T, all []manifest, spec corev1.PodSpec, c corev1.Container) config.Config {
	t.Helper()
	need, _ := needOf(t, c)
	root := t.TempDir()
	mounted := files(t, spec, c)
	for name, key := range mounted {
		require.Contains(t, sample, key)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(sample[key]+"\n"), 0o600))
	}
	env := environment(t, all, c)
	cfg, err := config.Load(func(name string) string {
		if _, isFile := mounted[env[name]]; isFile {
			return filepath.Join(root, env[name])
		}
		return env[name]
	}, need)
	require.NoError(t, err, c.Name)
	return cfg
}

// Each of our containers starts: its configuration is complete and right. Every name in it is one
// that the programs know, whatever may be a file is one, and every file is mounted from a secret.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	known := map[string]config.Variable{}
	for _, v := range config.Variables() {
		known[v.Name] = v
		if v.File {
			known[v.Name+"_FILE"] = v
		}
	}
	foreign := map[string]config.Foreign{}
	for _, v := range slices.Concat(config.Tracing(), config.Runtime()) {
		foreign[v.Name] = v
	}
	forEachOverlay(t, func(t *testing.T, overlay string, all []manifest) {
		t.Helper()
		for _, w := range workloads(all) {
			if !w.ours() {
				continue
			}
			for _, c := range w.containers() {
				require.Contains(t, []string{"/usr/local/bin/worker", "/usr/local/bin/publisher", "/usr/local/bin/esimctl"}, c.Command[0])
				mounted := files(t, w.pod.Spec, c)
				used := map[string]bool{}
				for name, value := range environment(t, all, c) {
					if v, ok := foreign[name]; ok {
						require.False(t, v.Secret, "%s: %s is a secret, and cannot be a file", w, name)
						continue
					}
					require.Contains(t, known, name, w)
					require.False(t, known[name].Secret && name == known[name].Name && name != "NATS_URL", "%s: %s is a secret", w, name)
					if strings.HasPrefix(value, "/etc/") {
						require.Contains(t, mounted, value, "%s: %s is not mounted", w, name)
						used[value] = true
					}
				}
				for file := range mounted {
					// The address of Postgres names it.
					require.True(t, used[file] || file == "/etc/postgres/ca.crt", "%s: nobody reads %s", w, file)
				}
				if _, loads := needOf(t, c); loads {
					cfg := loaded(t, all, w.pod.Spec, c)
					if overlay == "prod" && !cfg.NATSURL.IsZero() {
						require.Equal(t, 3, cfg.NATSReplicas, w)
						require.NotEmpty(t, cfg.NATSCert, w)
						require.NotEmpty(t, cfg.NATSCA, w)
					}
				}
			}
		}
	})
}

// No overlay brings a secret but that of the throw-away namespace, where it opens a simulator.
func TestNoSecretsInProduction(t *testing.T) {
	t.Parallel()
	forEachOverlay(t, func(t *testing.T, overlay string, all []manifest) {
		t.Helper()
		if overlay == "prod" {
			require.Empty(t, of[corev1.Secret](all))
			return
		}
		for _, w := range workloads(all) {
			for _, name := range secretsOf(w.pod.Spec) {
				one[corev1.Secret](t, all, name)
			}
		}
	})
}
