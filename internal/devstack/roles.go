package devstack

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"esimflow/migrations"
)

// RolePassword is the password of every role of a server with roles.
const RolePassword = "canary-password-of-a-role"

// roles that log in.
var roles = []string{"esimflow_migrator", "esimflow_app", "esimflow_readonly"}

// PostgresWithRoles returns a server of tb's own whose roles are made by rolesFile, whom it
// knows by their passwords, and whose schema the migrator has made. Connect with
// [PostgresServer.RoleURL]. It is gone when tb ends.
func PostgresWithRoles(tb testing.TB, rolesFile string, cfg PostgresConfig) *PostgresServer {
	tb.Helper()
	s := StartWithRoles(tb, rolesFile, cfg)
	query := url.Values{"sslmode": {"disable"}}
	if cfg.TLSCert != "" {
		query.Set("sslmode", "require")
	}
	if _, err := migrations.Up(tb.Context(), s.RoleURL("esimflow_migrator", "127.0.0.1", query)); err != nil {
		tb.Fatal(err)
	}
	return s
}

// StartWithRoles is [PostgresWithRoles] without a schema.
func StartWithRoles(tb testing.TB, rolesFile string, cfg PostgresConfig) *PostgresServer {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	cfg.Loopback = true
	s, err := StartPostgres(ctx, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Stop(); err != nil {
			tb.Error(err)
		}
	})
	if err := s.MakeRoles(ctx, rolesFile); err != nil {
		tb.Fatal(err)
	}
	return s
}

// MakeRoles runs rolesFile as the superuser, in the database `esimflow`, and gives the roles
// that log in their password.
func (s *PostgresServer) MakeRoles(ctx context.Context, rolesFile string) error {
	sql, err := os.ReadFile(rolesFile)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.URL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, string(sql)); err != nil {
		return fmt.Errorf("devstack: %s: %w", rolesFile, err)
	}
	for _, role := range roles {
		if _, err := conn.Exec(ctx, `ALTER ROLE `+role+` PASSWORD '`+RolePassword+`'`); err != nil {
			return fmt.Errorf("devstack: %w", err)
		}
	}
	return nil
}

// RoleURL is the connection string of a role over TCP, at a host that is this machine.
func (s *PostgresServer) RoleURL(role, host string, query url.Values) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, RolePassword), Host: net.JoinHostPort(host, s.port),
		Path: "/" + database, RawQuery: query.Encode(),
	}
	return u.String()
}
