package app_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/config"
	"esimflow/internal/devstack"
	"esimflow/internal/pressonesim"
	"esimflow/migrations"
)

var rolesFile = filepath.Join(root, "deploy", "postgres", "roles.sql")

// plain is how a role connects without TLS.
var plain = url.Values{"sslmode": {"disable"}}

// verified is how it connects with: the server has to be whom the address names.
func verified(ca *devstack.Authority) url.Values {
	return url.Values{"sslmode": {"verify-full"}, "sslrootcert": {ca.File}}
}

// setupAsApp is setup with a Postgres that has roles: the programs log in as esimflow_app, the
// test looks as the superuser.
func setupAsApp(t *testing.T, sim pressonesim.Config) *bench {
	t.Helper()
	t.Parallel()
	ns := devstack.NATS(t)
	s := devstack.PostgresWithRoles(t, rolesFile, devstack.PostgresConfig{})
	b := setupAt(t, sim, ns.URL(), 1, s.RoleURL("esimflow_app", "127.0.0.1", plain), s.URL())
	b.nats = ns
	return b
}

// The main job with everything locked: each program has its user of NATS and a certificate, and
// the worker and the publisher change Postgres as esimflow_app, over TLS that verifies the
// server. Operators pause, resume and ask for an audit. Nothing is denied anywhere.
func TestTheMainJobWithLeastPrivilege(t *testing.T) {
	t.Parallel()
	ca := devstack.NewAuthority(t)
	cert, key := ca.Issue(devstack.Leaf{Name: "postgres", Hosts: []string{"localhost"}})
	pg := devstack.PostgresWithRoles(t, rolesFile, devstack.PostgresConfig{TLSCert: cert, TLSKey: key})
	b := setupSecuredOn(t, pg.RoleURL("esimflow_app", "localhost", verified(ca)), pg.URL())
	w := b.worker()
	b.publisher()
	ready(t, w)
	b.mainJob(w)
	b.post(w, "gate/pause", `{"kind":"topup","actor":"ann","reason":"x"}`, http.StatusOK)
	b.post(w, "gate/resume", `{"kind":"topup","actor":"ann","reason":"x"}`, http.StatusOK)
	b.post(w, "audits", `{"actor":"ann"}`, http.StatusOK)
	require.Eventually(t, func() bool {
		return b.count("SELECT count(*) FROM audit_run WHERE state = 'done' AND requested_by = 'ann'") == 1
	}, time.Minute, 50*time.Millisecond)
	require.Positive(t, b.count(`SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE s.ssl AND a.usename = 'esimflow_app'`))
	require.Zero(t, b.count(`SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE NOT s.ssl AND a.usename = 'esimflow_app'`))
	for _, never := range []string{"permission denied", "NATS denies", "SQLSTATE 42501", devstack.RolePassword} {
		require.NotContains(t, b.log.String(), never)
	}
}

// A Postgres that is not who it should be is not talked to: not by whoever migrates, and not by
// a worker, which says why and waits.
func TestPostgresIsVerified(t *testing.T) {
	trusted := devstack.NewAuthority(t)
	good := devstack.Leaf{Name: "postgres", Hosts: []string{"localhost"}}
	for name, c := range map[string]struct {
		leaf   devstack.Leaf
		issuer *devstack.Authority
		host   string
		want   string
	}{
		"the right host":       {leaf: good, issuer: trusted, host: "localhost"},
		"another host":         {leaf: devstack.Leaf{Name: "postgres", Hosts: []string{"db.example.com"}}, issuer: trusted, host: "localhost", want: "certificate is valid for db.example.com, not localhost"},
		"an address":           {leaf: good, issuer: trusted, host: "127.0.0.1", want: "doesn't contain any IP SANs"},
		"an unknown authority": {leaf: good, issuer: devstack.NewAuthority(t), host: "localhost", want: "certificate signed by unknown authority"},
		"one that has expired": {leaf: devstack.Leaf{Name: "postgres", Hosts: good.Hosts, Expired: true}, issuer: trusted, host: "localhost", want: "certificate has expired"},
	} {
		cert, key := c.issuer.Issue(c.leaf)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := devstack.StartWithRoles(t, rolesFile, devstack.PostgresConfig{TLSCert: cert, TLSKey: key})
			_, err := migrations.Up(t.Context(), s.RoleURL("esimflow_migrator", c.host, verified(trusted)))
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), devstack.RolePassword)

			b := &bench{t: t, log: &lockedBuffer{}, env: map[string]string{
				"DATABASE_URL": s.RoleURL("esimflow_app", c.host, verified(trusted)), "NATS_URL": "nats://127.0.0.1:1",
				"TELEMETRY_ADDR": "127.0.0.1:0",
			}}
			p, err := app.NewPublisher(t.Context(), b.config(config.Publisher), b.logger())
			require.NoError(t, err)
			b.run(p.Run)
			require.Eventually(t, func() bool {
				status, body := fetch(t, p.TelemetryAddr(), "/readyz")
				return status == http.StatusServiceUnavailable && strings.Contains(body, c.want)
			}, time.Minute, 20*time.Millisecond, "it says why")
			b.says(c.want)
			require.NotContains(t, b.log.String(), devstack.RolePassword)
		})
	}
}
