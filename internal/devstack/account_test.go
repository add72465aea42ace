package devstack

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCheckReach judges as an account that owns none of the directories.
func TestCheckReach(t *testing.T) {
	t.Parallel()
	stranger := account{name: "stranger", uid: 54321, gid: 54321, switched: true}
	open := publicDir(t)
	inner := filepath.Join(open, "closed", "inner")
	require.NoError(t, os.MkdirAll(inner, 0o755))
	require.NoError(t, stranger.checkReach(inner))

	closed := filepath.Dir(inner)
	require.NoError(t, os.Chmod(closed, 0o700))
	err := stranger.checkReach(inner)
	require.ErrorContains(t, err, "user stranger")
	require.ErrorContains(t, err, "cannot enter "+closed)

	own := account{name: "me"}
	require.NoError(t, own.checkReach(inner), "who has not switched reaches what the process reaches")
}

func TestServerAccountIsNeverRoot(t *testing.T) {
	t.Parallel()
	a, err := serverAccount()
	require.NoError(t, err)
	require.NotZero(t, a.uid)
	require.Equal(t, os.Geteuid() == 0, a.switched)
}
