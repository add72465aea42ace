package main

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/migrations"
)

func TestMigrate(t *testing.T) {
	t.Parallel()
	url := devstack.Postgres(t)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), `DROP SCHEMA public CASCADE; CREATE SCHEMA public`)
	require.NoError(t, err)
	s := &stack{t: t, env: map[string]string{"DATABASE_URL": url}}
	latest := int(migrations.Latest())

	before := s.exits(exitOK, "migrate", "status")
	require.Contains(t, before.out, "pending")
	require.Contains(t, before.err, "run esimctl migrate up")

	require.Len(t, okJSON[[]migrations.Migration](s, "migrate", "up"), latest)
	again := s.exits(exitOK, "migrate", "up", "--json")
	require.Empty(t, fromJSON[[]migrations.Migration](t, again.out))
	require.Contains(t, again.err, "Nothing to do")

	all := okJSON[[]migrations.Migration](s, "migrate", "status")
	require.Len(t, all, latest)
	for _, m := range all {
		require.False(t, m.AppliedAt.IsZero(), m.Name)
	}
	require.NotContains(t, s.ok("migrate", "status"), "pending")
}

func TestMigrateSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	r := runIn(t, nil, "migrate", "up")
	require.Equal(t, exitUsage, r.code)
	require.Contains(t, r.err, "DATABASE_URL")
	require.Empty(t, r.out)
}
