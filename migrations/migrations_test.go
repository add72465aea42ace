package migrations_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/migrations"
)

func TestMigrations(t *testing.T) {
	url := devstack.Postgres(t) // migrated
	t.Run("are all applied, and once", func(t *testing.T) {
		applied, err := migrations.Up(t.Context(), url)
		require.NoError(t, err)
		require.Empty(t, applied)
		all, err := migrations.Status(t.Context(), url)
		require.NoError(t, err)
		require.Len(t, all, int(migrations.Latest()))
		for _, m := range all {
			require.False(t, m.AppliedAt.IsZero(), m.Name)
		}
	})
	t.Run("take a URL that is meant for the worker", func(t *testing.T) {
		_, err := migrations.Status(t.Context(), url+"&pool_max_conns=4")
		require.NoError(t, err)
	})
	t.Run("say at which version the schema is, also when there is none", func(t *testing.T) {
		conn, err := pgx.Connect(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(t.Context()) })
		v, err := migrations.Current(t.Context(), conn)
		require.NoError(t, err)
		require.Equal(t, migrations.Latest(), v)
		_, err = conn.Exec(t.Context(), "DROP TABLE goose_db_version")
		require.NoError(t, err)
		v, err = migrations.Current(t.Context(), conn)
		require.NoError(t, err)
		require.Zero(t, v)
	})
	t.Run("keep passwords out of errors", func(t *testing.T) {
		_, err := migrations.Up(t.Context(), "postgres://u:canary@/%zz")
		require.ErrorContains(t, err, "cannot be read")
		require.NotContains(t, err.Error(), "canary")
	})
}
