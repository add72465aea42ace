package deploy_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = ".."

// dockerfile is the instructions of the Dockerfile, one a line, without comments.
func dockerfile(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	require.NoError(t, err)
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(string(b), "")
	text = regexp.MustCompile(`\s*\\\n\s*`).ReplaceAllString(text, " ")
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// instructions are those that begin with the word, without it.
func instructions(lines []string, word string) (found []string) {
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, word+" "); ok {
			found = append(found, rest)
		}
	}
	return found
}

// The image is built with the Go that go.mod names, from files that there are and that the build
// may see, and ends up on a base without a shell as a user without rights.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	lines := dockerfile(t)
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(string(module))
	from := instructions(lines, "FROM")
	require.Len(t, from, 2)
	require.Contains(t, from[0], "golang:"+version[1]+"-")
	require.Regexp(t, `^gcr\.io/distroless/static-debian\d+:nonroot`, from[1])
	require.Equal(t, []string{"65532:65532"}, instructions(lines, "USER"))
	require.Equal(t, []string{`["/usr/local/bin/worker"]`}, instructions(lines, "ENTRYPOINT"))
	require.Equal(t, []string{"8080 9464"}, instructions(lines, "EXPOSE"))

	ignored, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	require.NoError(t, err)
	require.Contains(t, string(ignored), "\n*\n", "what is not listed is not seen")
	for _, c := range instructions(lines, "COPY") {
		fields := strings.Fields(c)
		if strings.HasPrefix(fields[0], "--from") {
			continue
		}
		for _, source := range fields[:len(fields)-1] {
			_, err := os.Stat(filepath.Join(root, source))
			require.NoError(t, err)
			require.Contains(t, string(ignored), "\n!"+source+"\n")
		}
	}
	for name := range strings.Lines(string(ignored)) {
		if kept, ok := strings.CutPrefix(strings.TrimSpace(name), "!"); ok {
			_, err := os.Stat(filepath.Join(root, kept))
			require.NoError(t, err)
		}
	}
}

// buildArguments is how the Dockerfile builds, with a version and a revision.
func buildArguments(t *testing.T) []string {
	t.Helper()
	var command string
	for _, run := range instructions(dockerfile(t), "RUN") {
		if _, rest, ok := strings.Cut(run, "go build "); ok {
			command = rest
		}
	}
	command = strings.NewReplacer("$VERSION", "v1.2.3", "$REVISION", "0123abc").Replace(command)
	require.NotContains(t, command, "$")
	parts := regexp.MustCompile(`"([^"]*)"|(\S+)`).FindAllStringSubmatch(command, -1)
	var arguments []string
	for _, p := range parts {
		arguments = append(arguments, p[1]+p[2])
	}
	return arguments
}

// Whoever builds the image from the same source, wherever the source lies, gets the same programs,
// byte for byte; and the programs say which version they are.
func TestBuildsAreReproducible(t *testing.T) {
	t.Parallel()
	arguments := buildArguments(t)
	require.Contains(t, arguments, "-trimpath")
	digests := func(source string) map[string]string {
		out := t.TempDir() + string(filepath.Separator)
		var replaced []string
		for _, a := range arguments {
			replaced = append(replaced, strings.Replace(a, "/out/", out, 1))
		}
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"build"}, replaced...)...)
		cmd.Dir = source
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH, "GOFLAGS=-mod=readonly")
		text, err := cmd.CombinedOutput()
		require.NoError(t, err, string(text))
		found := map[string]string{}
		for _, name := range []string{"worker", "publisher", "esimctl"} {
			b, err := os.ReadFile(filepath.Join(out, name))
			require.NoError(t, err)
			sum := sha256.Sum256(b)
			found[name] = hex.EncodeToString(sum[:])
		}
		text, err = exec.CommandContext(t.Context(), filepath.Join(out, "esimctl"), "version").CombinedOutput()
		require.NoError(t, err, string(text))
		require.Contains(t, string(text), "esimflow v1.2.3\nrevision 0123abc\n")
		return found
	}
	here, err := filepath.Abs(root)
	require.NoError(t, err)
	// Elsewhere there is only what the image is built from.
	elsewhere := filepath.Join(t.TempDir(), "somewhere", "else")
	require.NoError(t, os.MkdirAll(elsewhere, 0o750))
	for _, c := range instructions(dockerfile(t), "COPY") {
		fields := strings.Fields(c)
		if strings.HasPrefix(fields[0], "--from") {
			continue
		}
		for _, source := range fields[:len(fields)-1] {
			copied, err := exec.CommandContext(t.Context(), "cp", "-r", filepath.Join(here, source), elsewhere).CombinedOutput()
			require.NoError(t, err, string(copied))
		}
	}
	require.Equal(t, digests(here), digests(elsewhere))
}
