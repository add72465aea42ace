package deploy_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fenced  = regexp.MustCompile("(?s)```.*?```")
)

// Whoever follows a link in one of the project's pages arrives: the file is there, and the heading is in it.
func TestLinksLead(t *testing.T) {
	t.Parallel()
	links := 0
	require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && (e.Name() == "node_modules" || e.Name() == ".git") {
			return filepath.SkipDir
		}
		if err != nil || !strings.HasSuffix(path, ".md") {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(page(t, path), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			links++
			there := path
			if target != "" {
				there = filepath.Join(filepath.Dir(path), target)
				_, err := os.Stat(there)
				require.NoError(t, err, "%s: %s", path, m[1])
			}
			if anchor != "" {
				require.Contains(t, anchors(t, there), anchor, "%s: %s", path, m[1])
			}
		}
		return nil
	}))
	require.Greater(t, links, 100)
}

// page is a page without what is in fences.
func page(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return fenced.ReplaceAllString(string(b), "")
}

// anchors are the headings of a page as links name them.
func anchors(t *testing.T, path string) (all []string) {
	t.Helper()
	for _, h := range heading.FindAllStringSubmatch(page(t, path), -1) {
		slug := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(h[1]), "")
		all = append(all, strings.ReplaceAll(slug, " ", "-"))
	}
	return all
}

// Whoever looks for a test or a file of Go that a page names finds it. In a page, the beginning of a
// test's name is enough, as it is for `go test -run`.
func TestPagesNameWhatThereIs(t *testing.T) {
	t.Parallel()
	var pages, tests, files []string
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err == nil && e.IsDir() && (e.Name() == "node_modules" || e.Name() == ".git"):
			return filepath.SkipDir
		case err != nil || e.IsDir():
			return err
		case strings.HasSuffix(path, ".md"):
			pages = append(pages, path)
		case strings.HasSuffix(path, ".go"):
			files = append(files, filepath.ToSlash(path))
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(path)
		for _, m := range declared.FindAllStringSubmatch(string(b), -1) {
			tests = append(tests, m[1])
		}
		return err
	}))
	names := 0
	for _, path := range pages {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`).FindAllString(string(b), -1) {
			names++
			require.True(t, slices.ContainsFunc(tests, func(s string) bool { return strings.HasPrefix(s, name) }), "%s names %s", path, name)
		}
		for _, m := range regexp.MustCompile("`([a-z][a-z0-9_/]*\\.go)`").FindAllStringSubmatch(string(b), -1) {
			names++
			require.True(t, slices.ContainsFunc(files, func(s string) bool { return strings.HasSuffix(s, "/"+m[1]) }), "%s names %s", path, m[1])
		}
	}
	require.Greater(t, names, 80)
}
