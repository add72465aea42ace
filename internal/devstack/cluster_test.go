package devstack

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

func TestCachedCluster(t *testing.T) {
	t.Parallel()

	t.Run("is made once, however many ask for it at once", func(t *testing.T) {
		t.Parallel()
		cache, b, a := setup(t)
		dirs := make([]string, 3)
		var group errgroup.Group
		for i := range dirs {
			group.Go(func() (err error) {
				dirs[i], err = cachedCluster(t.Context(), cache, b, a)
				return err
			})
		}
		require.NoError(t, group.Wait())
		require.Equal(t, []string{dirs[0], dirs[0], dirs[0]}, dirs)

		before, err := os.Stat(filepath.Join(dirs[0], "PG_VERSION"))
		require.NoError(t, err)
		again, err := cachedCluster(t.Context(), cache, b, a)
		require.NoError(t, err)
		require.Equal(t, dirs[0], again)
		after, err := os.Stat(filepath.Join(again, "PG_VERSION"))
		require.NoError(t, err)
		require.True(t, os.SameFile(before, after))

		entries, err := os.ReadDir(cache)
		require.NoError(t, err)
		require.Len(t, entries, 2, "the cluster and its lock, nothing half made")
	})

	t.Run("leaves nothing behind when initdb does not work", func(t *testing.T) {
		t.Parallel()
		cache, b, a := setup(t)
		b.dir = fakeInstallation(t, "18.3")
		_, err := cachedCluster(t.Context(), cache, b, a)
		require.ErrorContains(t, err, "initdb")
		entries, err := os.ReadDir(cache)
		require.NoError(t, err)
		require.Len(t, entries, 1, "the lock")
	})
}

func TestCopyClusterCopiesBytesAndRefusesToOverwrite(t *testing.T) {
	t.Parallel()
	_, _, a := setup(t)
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.Mkdir(filepath.Join(src, "base"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(src, "base", "1"), []byte("page"), 0o600))

	require.NoError(t, copyCluster(src, dst, a))
	got, err := os.ReadFile(filepath.Join(dst, "base", "1"))
	require.NoError(t, err)
	require.Equal(t, "page", string(got))

	err = copyCluster(src, dst, a)
	require.ErrorIs(t, err, os.ErrExist)
}
