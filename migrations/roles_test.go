package migrations_test

import (
	"net/url"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/migrations"
)

var rolesFile = filepath.Join("..", "deploy", "postgres", "roles.sql")

var plain = url.Values{"sslmode": {"disable"}}

func login(t *testing.T, s *devstack.PostgresServer, role string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.RoleURL(role, "127.0.0.1", plain))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

// try runs a statement and takes it back.
func try(t *testing.T, conn *pgx.Conn, sql string) error {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), sql)
	require.NoError(t, tx.Rollback(t.Context()))
	return err
}

func may(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		require.NoError(t, try(t, conn, sql), sql)
	}
}

// mayNot requires that each is refused for want of a privilege, and for nothing else.
func mayNot(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		var pg *pgconn.PgError
		err := try(t, conn, sql)
		require.ErrorAs(t, err, &pg, sql)
		require.Equal(t, "42501", pg.Code, "%s: %v", sql, err)
	}
}

const aSaga = `INSERT INTO saga (id, kind, request_id, state, deadline_at, reference, fingerprint, package_id, quantity, requested_at)
	VALUES ('00000000-0000-7000-8000-000000000001', 'order', 'r', 'pending', now(), 'ref', 'f', 'p', 1, now())`

const ofASaga = `INSERT INTO saga_history (saga_id, version, event, to_state, attempt)
	VALUES ('00000000-0000-7000-8000-000000000001', 1, 'accepted', 'pending', 0)`

// Each role logs in with its password and tries what it is for, and what it must not do.
func TestRoles(t *testing.T) {
	s := devstack.PostgresWithRoles(t, rolesFile, devstack.PostgresConfig{})

	t.Run("nobody logs in as the owner, and nobody without a password", func(t *testing.T) {
		_, err := pgx.Connect(t.Context(), s.RoleURL("esimflow_owner", "127.0.0.1", plain))
		require.Error(t, err)
		u, err := url.Parse(s.RoleURL("esimflow_app", "127.0.0.1", plain))
		require.NoError(t, err)
		u.User = url.UserPassword("esimflow_app", "guess")
		_, err = pgx.Connect(t.Context(), u.String())
		require.ErrorContains(t, err, "password authentication failed")
	})

	t.Run("the owner owns everything", func(t *testing.T) {
		conn, err := pgx.Connect(t.Context(), s.URL())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(t.Context()) })
		require.Empty(t, strangers(t, conn))
	})

	t.Run("the migrator is nothing before it becomes the owner", func(t *testing.T) {
		conn := login(t, s, "esimflow_migrator")
		mayNot(t, conn, `SELECT FROM public.saga`, `CREATE TABLE public.mine ()`, `CREATE ROLE mine`, `SET ROLE esimflow_app`, `SET ROLE postgres`)
		may(t, conn, `SET ROLE esimflow_owner; CREATE TABLE mine ()`)
		applied, err := migrations.Up(t.Context(), s.RoleURL("esimflow_migrator", "127.0.0.1", plain))
		require.NoError(t, err)
		require.Empty(t, applied)
	})

	t.Run("the app changes rows and no schema", func(t *testing.T) {
		conn := login(t, s, "esimflow_app")
		may(t, conn, aSaga, `UPDATE saga SET version = 2`, `DELETE FROM saga`, `DELETE FROM outbox`, `DELETE FROM saga_answer`,
			`INSERT INTO gate_pause (what, name, actor, reason) VALUES ('lane', 'write', 'ann', 'x')`,
			`UPDATE provider_token SET version = 1`, `UPDATE retention SET removed_before = now()`, `SELECT * FROM goose_db_version`,
			`UPDATE witness SET beat = beat + 1`)
		mayNot(t, conn, `CREATE TABLE mine ()`, `CREATE TEMP TABLE mine ()`, `CREATE SCHEMA mine`, `ALTER TABLE saga ADD COLUMN mine int`,
			`DROP TABLE saga`, `CREATE INDEX ON saga (updated_at)`, `TRUNCATE saga`, `TRUNCATE outbox`, `ALTER TABLE reveal DISABLE TRIGGER ALL`,
			`CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'`, `SET ROLE esimflow_owner`, `SET ROLE esimflow_migrator`,
			`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)`, `DELETE FROM goose_db_version`,
			`DELETE FROM provider_token`, `INSERT INTO provider_gate (lane) VALUES ('read')`, `DELETE FROM retention`,
			`DELETE FROM witness`, `INSERT INTO witness (one) VALUES (true)`,
			`SELECT grant_to_roles()`, `SELECT FROM redacted.saga`)
	})

	t.Run("the app only adds to what is a trail", func(t *testing.T) {
		conn := login(t, s, "esimflow_app")
		may(t, conn, ofASaga, `SELECT * FROM saga_history`, `SELECT * FROM gate_trail`, `SELECT * FROM reveal`,
			`INSERT INTO gate_trail (action, what, name, actor, reason) VALUES ('pause', 'lane', 'write', 'ann', 'x')`,
			`INSERT INTO reveal (id, saga_id, request_id, iccids, actor, reason) VALUES (gen_random_uuid(), gen_random_uuid(), 'r', '{}', 'ann', 'x')`)
		for _, table := range []string{"saga_history", "gate_trail", "reveal"} {
			mayNot(t, conn, `UPDATE `+table+` SET actor = 'eve'`, `DELETE FROM `+table, `TRUNCATE `+table)
		}
	})

	t.Run("history leaves with its saga only", func(t *testing.T) {
		conn := login(t, s, "esimflow_app")
		tx, err := conn.Begin(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { _ = tx.Rollback(t.Context()) })
		left := func(sql string) (n int) {
			_, err := tx.Exec(t.Context(), sql)
			require.NoError(t, err)
			require.NoError(t, tx.QueryRow(t.Context(), `SELECT count(*) FROM saga_history`).Scan(&n))
			return n
		}
		const remove = `SELECT remove_history(ARRAY['00000000-0000-7000-8000-000000000001']::uuid[])`
		left(aSaga)
		require.Equal(t, 1, left(ofASaga))
		require.Equal(t, 1, left(remove), "its saga is there")
		left(`DELETE FROM saga`)
		require.Zero(t, left(remove))
	})

	t.Run("whoever looks sees views without codes", func(t *testing.T) {
		conn := login(t, s, "esimflow_readonly")
		may(t, conn, `SELECT * FROM saga`, `SELECT * FROM saga_history`, `SELECT * FROM dead_letter`, `SELECT * FROM reveal`, `SELECT id, beat, losses, lost_at FROM witness`)
		mayNot(t, conn, `SELECT FROM public.saga`, `SELECT data FROM public.saga_purchase`, `SELECT body FROM public.saga_answer`,
			`SELECT body FROM public.outbox`, `SELECT ciphertext FROM public.provider_token`, `SELECT body FROM public.saga_request`,
			`SELECT public.remove_history('{}')`, `SET ROLE esimflow_app`,
			`SET LOCAL transaction_read_only = off; CREATE TABLE redacted.mine ()`)
		for _, write := range []string{`UPDATE saga SET version = 2`, `DELETE FROM outbox`} {
			mayNot(t, conn, write, `SET LOCAL transaction_read_only = off; `+write)
		}
	})
}

// What a migration creates later needs no grants: the app works with it, whoever looks does not
// see it, and the owner owns it.
func TestLaterTables(t *testing.T) {
	s := devstack.PostgresWithRoles(t, rolesFile, devstack.PostgresConfig{})
	migrator := login(t, s, "esimflow_migrator")
	_, err := migrator.Exec(t.Context(), `
		SET ROLE esimflow_owner;
		CREATE TABLE later (id bigint GENERATED BY DEFAULT AS IDENTITY, n serial, secret text);
		CREATE VIEW redacted.later AS SELECT id FROM later`)
	require.NoError(t, err)
	app, reader := login(t, s, "esimflow_app"), login(t, s, "esimflow_readonly")
	may(t, app, `INSERT INTO later (secret) VALUES ('x')`, `UPDATE later SET n = 2`, `DELETE FROM later`)
	mayNot(t, app, `TRUNCATE later`, `ALTER TABLE later ADD COLUMN m int`)
	may(t, reader, `SELECT * FROM later`)
	mayNot(t, reader, `SELECT * FROM public.later`)
}

// A database that somebody else has made and migrated is taken over by making the roles, and
// making them again changes nothing.
func TestRolesComeLater(t *testing.T) {
	s := devstack.PrivatePostgres(t)
	admin, err := pgx.Connect(t.Context(), s.URL())
	require.NoError(t, err)
	t.Cleanup(func() { _ = admin.Close(t.Context()) })
	require.NotEmpty(t, strangers(t, admin))
	_, err = admin.Exec(t.Context(), `CREATE EXTENSION pg_stat_statements`) // an administrator's, and stays so
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, s.MakeRoles(t.Context(), rolesFile))
		require.Subset(t, []string{"pg_stat_statements", "pg_stat_statements_info", "pg_stat_statements_reset"}, strangers(t, admin))
		for role, c := range map[string]struct{ may, mayNot []string }{
			"esimflow_app": {
				[]string{
					`SELECT body FROM saga_answer`, `UPDATE digest_key SET key = 'x'`, `SELECT * FROM saga_erased`,
					`SELECT erase_saga(gen_random_uuid(), '', '', NULL, gen_random_uuid(), 'ann', 'x')`, `SELECT erase_remains('nobody', gen_random_uuid(), 'ann', 'x')`,
					`INSERT INTO privacy_action (id, action, saga_id, actor, reason) VALUES (gen_random_uuid(), 'export', gen_random_uuid(), 'ann', 'x')`,
					`INSERT INTO action (id, actor, role, how, what) VALUES (gen_random_uuid(), 'ann', 'operator', 'cli', 'x')`,
					`INSERT INTO action_result (action_id, result) VALUES (gen_random_uuid(), 'done')`,
				},
				[]string{
					`DELETE FROM saga_history`, `DELETE FROM saga_erased`, `DELETE FROM digest_key`, `UPDATE privacy_action SET actor = 'eve'`,
					`UPDATE action SET actor = 'eve'`, `DELETE FROM action_result`, `SELECT blank_actions('x', 'y', '{}', '{}')`,
				},
			},
			"esimflow_readonly": {[]string{`SELECT at FROM redacted.saga_answer`}, []string{`SELECT body FROM public.saga_answer`}},
		} {
			_, err := admin.Exec(t.Context(), `SET SESSION AUTHORIZATION `+role)
			require.NoError(t, err)
			may(t, admin, c.may...)
			mayNot(t, admin, c.mayNot...)
			_, err = admin.Exec(t.Context(), `RESET SESSION AUTHORIZATION`)
			require.NoError(t, err)
		}
	}
}

// Whether the roles are made before the tables or after them, the app and whoever looks may do the same, on every table and function.
func TestRolesMayTheSameWheneverTheyCome(t *testing.T) {
	before := devstack.PostgresWithRoles(t, rolesFile, devstack.PostgresConfig{})
	after := devstack.PrivatePostgres(t)
	require.NoError(t, after.MakeRoles(t.Context(), rolesFile))
	granted := func(s *devstack.PostgresServer) []string {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), s.URL())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(t.Context()) })
		rows, err := conn.Query(t.Context(), `
			SELECT format('%s may %s on %s', grantee::regrole, privilege_type, name)
			FROM (
			    SELECT oid::regclass::text AS name, (aclexplode(relacl)).* FROM pg_class
			    WHERE relnamespace IN ('public'::regnamespace, 'redacted'::regnamespace) AND relkind IN ('r', 'v')
			    UNION ALL
			    SELECT oid::regprocedure::text, (aclexplode(proacl)).* FROM pg_proc
			    WHERE pronamespace IN ('public'::regnamespace, 'redacted'::regnamespace)
			) AS acl
			WHERE grantee IN (SELECT oid FROM pg_roles WHERE rolname IN ('esimflow_app', 'esimflow_readonly'))
			ORDER BY 1`)
		require.NoError(t, err)
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return all
	}
	require.NotEmpty(t, granted(before))
	require.Equal(t, granted(before), granted(after))
}

// Only the migrator migrates a database with roles; the app is told so.
func TestTheAppCannotMigrate(t *testing.T) {
	s := devstack.StartWithRoles(t, rolesFile, devstack.PostgresConfig{})
	_, err := migrations.Up(t.Context(), s.RoleURL("esimflow_app", "127.0.0.1", plain))
	require.ErrorContains(t, err, "migrated as esimflow_migrator")
	require.NotContains(t, err.Error(), devstack.RolePassword)
}

// What the views show is a list of columns, and nothing that is secret is on it.
func TestViewsShowNoSecrets(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), devstack.Postgres(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	rows, err := conn.Query(t.Context(), `
		SELECT table_name || '.' || column_name FROM information_schema.columns
		WHERE table_schema = 'redacted' AND (data_type IN ('bytea', 'json', 'jsonb') OR column_name ~ 'body|header|data|cipher|finger|secret|token')`)
	require.NoError(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Empty(t, all)

	_, err = conn.Exec(t.Context(), `
		INSERT INTO saga (id, kind, request_id, state, deadline_at, reference, fingerprint, package_id, quantity, requested_at, iccid)
		VALUES (gen_random_uuid(), 'topup', 'r', 'pending', now(), 'ref', 'f', 'p', 1, now(), '8934990000000001234')`)
	require.NoError(t, err)
	var shown string
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT iccid FROM redacted.saga`).Scan(&shown))
	require.Equal(t, "…1234", shown)
}

// strangers lists what in the database does not belong to the owner.
func strangers(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `
		SELECT c.relname::text FROM pg_class c WHERE c.relnamespace IN ('public'::regnamespace, 'redacted'::regnamespace)
			AND pg_get_userbyid(c.relowner) <> 'esimflow_owner'
		UNION ALL
		SELECT p.proname::text FROM pg_proc p WHERE p.pronamespace IN ('public'::regnamespace, 'redacted'::regnamespace)
			AND pg_get_userbyid(p.proowner) <> 'esimflow_owner'
		UNION ALL
		SELECT nspname::text FROM pg_namespace WHERE nspname = 'redacted' AND pg_get_userbyid(nspowner) <> 'esimflow_owner'`)
	require.NoError(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return all
}
