package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Whoever follows docs/deploy.md finds the files that it names, makes every secret that production
// mounts, with its keys, and waits for Jobs that there are; kubectl finds what it and the runbook ask for.
func TestDeployDocument(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join(root, "docs", "deploy.md"))
	require.NoError(t, err)
	document := string(b)
	paths := regexp.MustCompile(`\bdeploy/[a-z0-9/._-]*[a-z0-9]`).FindAllString(document, -1)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		_, err := os.Stat(filepath.Join(root, path))
		require.NoError(t, err)
	}
	for _, name := range components {
		require.Contains(t, document, "| `"+name+"` |")
	}
	all := everythingInProd(t)
	for _, w := range workloads(all) {
		for _, v := range w.pod.Spec.Volumes {
			var sources []corev1.SecretProjection
			if v.Projected != nil {
				for _, s := range v.Projected.Sources {
					sources = append(sources, *s.Secret)
				}
			}
			for _, s := range sources {
				row := regexp.MustCompile("(?m)^\\|.*`" + s.Name + "`.*$").FindString(document)
				require.NotEmpty(t, row, "%s is not in docs/deploy.md", s.Name)
				for _, item := range s.Items {
					require.Contains(t, row, "`"+item.Key+"`", s.Name)
				}
			}
		}
	}
	for _, role := range specOf[cnpgCluster](t, all, "Cluster", "esimflow-postgres").Managed.Roles {
		require.Contains(t, document, "`"+role.PasswordSecret.Name+"`")
	}
	for _, name := range []string{"deploy.md", "runbook.md"} {
		b, err := os.ReadFile(filepath.Join(root, "docs", name))
		require.NoError(t, err)
		chosen := regexp.MustCompile(` -l (?:'([^']+)'|(\S+))`).FindAllStringSubmatch(string(b), -1)
		require.NotEmpty(t, chosen)
		for _, m := range chosen {
			selector, err := labels.Parse(m[1] + m[2])
			require.NoError(t, err)
			require.True(t, slices.ContainsFunc(workloads(all), func(w workload) bool {
				return selector.Matches(labels.Set(w.pod.Labels))
			}), "%s: nothing has %s", name, selector)
		}
		for _, m := range regexp.MustCompile(`(deployment|service)/([a-z-]+)`).FindAllStringSubmatch(string(b), -1) {
			require.True(t, slices.ContainsFunc(all, func(o manifest) bool {
				return strings.EqualFold(o.Kind, m[1]) && o.Name == m[2]
			}), "%s: there is no %s", name, m[0])
		}
	}
	for _, job := range regexp.MustCompile(`job/([a-z-]+)`).FindAllStringSubmatch(document, -1) {
		one[batchv1.Job](t, all, job[1])
	}
}
