package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// at goes down into objects, by the names of members, and lists, by index, and returns the T
// that is there.
func at[T any](t *testing.T, v any, path ...any) T {
	t.Helper()
	for _, step := range path {
		switch step := step.(type) {
		case string:
			member, ok := at[map[string]any](t, v)[step]
			require.True(t, ok, "there is no %s (%v)", step, path)
			v = member
		case int:
			list := at[[]any](t, v)
			require.Greater(t, len(list), step, "%v", path)
			v = list[step]
		}
	}
	found, ok := v.(T)
	require.True(t, ok, "%v is a %T", path, v)
	return found
}

type object = map[string]any
