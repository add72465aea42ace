package devstack

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"esimflow/migrations"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestPostgres(t *testing.T) {
	t.Parallel()

	t.Run("gives every caller a database of its own", func(t *testing.T) {
		t.Parallel()
		one, two := connect(t, Postgres(t)), connect(t, Postgres(t))
		execute(t, one, `CREATE TABLE mark (n integer)`)
		require.True(t, hasTable(t, one, "mark"))
		require.False(t, hasTable(t, two, "mark"))
	})

	t.Run("gives a migrated database", func(t *testing.T) {
		t.Parallel()
		version, err := migrations.Current(t.Context(), connect(t, Postgres(t)))
		require.NoError(t, err)
		require.Equal(t, migrations.Latest(), version)
	})

	t.Run("drops the database when the test ends, connected or not", func(t *testing.T) {
		t.Parallel()
		var url string
		var left *pgx.Conn
		t.Run("the test", func(t *testing.T) {
			url = Postgres(t)
			var err error
			left, err = pgx.Connect(t.Context(), url)
			require.NoError(t, err)
		})
		require.Error(t, left.Ping(t.Context()))
		_, err := pgx.Connect(t.Context(), url)
		require.ErrorContains(t, err, "does not exist")
	})

	t.Run("keeps what it acknowledged, though it does not sync", func(t *testing.T) {
		t.Parallel()
		conn := connect(t, Postgres(t))
		require.Equal(t, "off", setting(t, conn, "fsync"))
		require.Equal(t, "on", setting(t, conn, "synchronous_commit"))
	})
}

func TestPrivatePostgres(t *testing.T) {
	t.Parallel()
	s := PrivatePostgres(t)
	conn := connect(t, s.URL())
	execute(t, conn, `CREATE TABLE mark (n integer)`)
	url := s.URL()

	require.NoError(t, s.StopImmediate())
	require.NoError(t, s.StopImmediate(), "a second stop does nothing")
	require.Error(t, conn.Ping(t.Context()))
	_, err := pgx.Connect(t.Context(), url)
	require.Error(t, err)

	require.NoError(t, s.Start(t.Context()))
	require.NoError(t, s.Start(t.Context()), "a second start does nothing")
	require.Equal(t, url, s.URL())
	again := connect(t, url)
	require.True(t, hasTable(t, again, "mark"))
	require.True(t, hasTable(t, again, "saga"), "it is migrated")
}

func TestStartPostgres(t *testing.T) {
	t.Parallel()

	t.Run("keeps its data where it is told to, and syncs it", func(t *testing.T) {
		t.Parallel()
		var log bytes.Buffer
		cfg := PostgresConfig{Dir: filepath.Join(publicDir(t), "state"), Durable: true, Log: &log}

		s, err := StartPostgres(t.Context(), cfg)
		require.NoError(t, err)
		conn := connect(t, s.URL())
		for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
			require.Equal(t, "on", setting(t, conn, name), name)
		}
		execute(t, conn, `CREATE TABLE mark (n integer)`)
		require.NoError(t, s.Stop())
		require.NoError(t, s.Stop(), "a second stop does nothing")
		require.Contains(t, log.String(), "database system is shut down", "it was stopped orderly")

		s, err = StartPostgres(t.Context(), cfg)
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Stop()) }()
		require.True(t, hasTable(t, connect(t, s.URL()), "mark"))
	})

	t.Run("leaves nothing when nothing was to be kept", func(t *testing.T) {
		t.Parallel()
		s, err := StartPostgres(t.Context(), PostgresConfig{})
		require.NoError(t, err)
		require.DirExists(t, s.home)
		require.NoError(t, s.Stop())
		require.NoDirExists(t, s.home)
	})

	t.Run("says what Postgres said when it does not start", func(t *testing.T) {
		t.Parallel()
		cfg := PostgresConfig{Dir: publicDir(t)}
		s, err := StartPostgres(t.Context(), cfg)
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Stop()) }()

		_, err = StartPostgres(t.Context(), cfg)
		require.ErrorContains(t, err, "postmaster.pid")
	})

	t.Run("can be reached through a directory that is its account's alone", func(t *testing.T) {
		t.Parallel()
		s := PrivatePostgres(t)
		info, err := os.Stat(s.home)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
		require.Empty(t, setting(t, connect(t, s.URL()), "listen_addresses"))
	})
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // the server may be gone
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func hasTable(t *testing.T, conn *pgx.Conn, name string) (exists bool) {
	t.Helper()
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT to_regclass($1) IS NOT NULL`, name).Scan(&exists))
	return exists
}

func setting(t *testing.T, conn *pgx.Conn, name string) (value string) {
	t.Helper()
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT current_setting($1)`, name).Scan(&value))
	return value
}
