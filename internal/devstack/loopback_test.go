package devstack

import (
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// TestLoopback: a server that listens on TCP wants the password there, and takes settings.
func TestLoopback(t *testing.T) {
	t.Parallel()
	s, err := StartPostgres(t.Context(), PostgresConfig{Loopback: true, Settings: []string{"max_wal_size=3GB"}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })

	for _, address := range []string{s.URL(), s.LoopbackURL()} {
		conn, err := pgx.Connect(t.Context(), address)
		require.NoError(t, err)
		require.Equal(t, "3GB", setting(t, conn, "max_wal_size"))
		require.NoError(t, conn.Close(t.Context()))
	}

	stranger, err := url.Parse(s.LoopbackURL())
	require.NoError(t, err)
	stranger.User = url.UserPassword(superuser, "a guess")
	_, err = pgx.Connect(t.Context(), stranger.String())
	require.ErrorContains(t, err, "password authentication failed")
}
