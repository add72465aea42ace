package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Workflows run the project's own checks, with the Go that go.mod names, on actions that are pinned
// by commit, and with no more rights than they say.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(string(module))[1]
	paths, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.yml"))
	require.NoError(t, err)
	require.Len(t, paths, 2)
	for _, path := range paths {
		var workflow struct {
			Permissions map[string]string `yaml:"permissions"`
			Jobs        map[string]struct {
				Container string `yaml:"container"`
				Timeout   int    `yaml:"timeout-minutes"`
				Steps     []struct {
					Uses string `yaml:"uses"`
					Run  string `yaml:"run"`
					With struct {
						Depth int `yaml:"fetch-depth"`
					} `yaml:"with"`
				} `yaml:"steps"`
			} `yaml:"jobs"`
		}
		decode(t, path, &workflow)
		require.Equal(t, map[string]string{"contents": "read"}, workflow.Permissions, path)
		require.Equal(t, "golang:"+version+"-bookworm", workflow.Jobs["check"].Container, path)
		require.GreaterOrEqual(t, workflow.Jobs["check"].Steps[0].With.Depth, 2, "%s: TestVersions upgrades from the previous commit", path)
		checked := false
		for name, job := range workflow.Jobs {
			require.Positive(t, job.Timeout, name)
			for _, step := range job.Steps {
				if step.Uses != "" {
					require.Regexp(t, `^[a-z-]+/[a-z-]+@[0-9a-f]{40}$`, step.Uses, path)
				}
				require.NotContains(t, step.Run, "${{", "%s: what others choose is not run by a shell", path)
				checked = checked || strings.Contains(step.Run, ".ci/run")
			}
		}
		require.True(t, checked, path)
	}
}
