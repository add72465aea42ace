package devstack

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// CopyPostgres returns the connection string of a consistent copy of a database that
// [Postgres] has returned: a backup of this moment. Whoever is connected to the original is
// disconnected first, and may come back. The copy is dropped when tb ends.
func CopyPostgres(tb testing.TB, original string) string {
	tb.Helper()
	s, err := sharedServer()
	if err != nil {
		tb.Fatal(err)
	}
	u, err := url.Parse(original)
	if err != nil {
		tb.Fatalf("devstack: copying a database: %v", err)
	}
	from, name := strings.TrimPrefix(u.Path, "/"), fmt.Sprintf("test_%d", clones.Add(1))
	err = s.admin(tb.Context(), func(conn *pgx.Conn) error {
		for _, sql := range []string{
			`ALTER DATABASE ` + from + ` ALLOW_CONNECTIONS false`,
			`SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '` + from + `'`,
			`CREATE DATABASE ` + name + ` TEMPLATE ` + from,
			`ALTER DATABASE ` + from + ` ALLOW_CONNECTIONS true`,
		} {
			if err := whenFree(tb.Context(), conn, sql); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatalf("devstack: copying a database: %v", err)
	}
	tb.Cleanup(func() { s.drop(tb, name) })
	return s.urlOf(name)
}
