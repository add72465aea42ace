package devstack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// LoopbackURL is the connection string of `esimflow` over TCP, as a server elsewhere is
// reached; empty without [PostgresConfig].Loopback. It holds a password that is made anew
// whenever a server is started, for everybody on this machine can connect.
func (s *PostgresServer) LoopbackURL() string {
	if !s.cfg.Loopback {
		return ""
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, s.password), Host: net.JoinHostPort("127.0.0.1", s.port),
		Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// loopbackAccess is pg_hba.conf where Postgres listens on TCP: the socket's directory is
// the guard of the socket, a password that of the port.
const loopbackAccess = `local all all trust
host all all 127.0.0.1/32 scram-sha-256
`

func (s *PostgresServer) accessFile() string { return filepath.Join(s.home, "pg_hba.conf") }

// prepareLoopback chooses the port and the password.
func (s *PostgresServer) prepareLoopback() error {
	if !s.cfg.Loopback {
		return nil
	}
	port, err := FreePort()
	if err != nil {
		return fmt.Errorf("devstack: %w", err)
	}
	s.port, s.password = strconv.Itoa(port), rand.Text()
	access := loopbackAccess
	if s.cfg.TLSCert != "" {
		access = strings.Replace(access, "host ", "hostssl ", 1)
		err = s.copyTLS()
	}
	err = errors.Join(err, os.WriteFile(s.accessFile(), []byte(access), 0o600))
	if err = errors.Join(err, s.account.own(s.accessFile())); err != nil {
		return fmt.Errorf("devstack: %w", err)
	}
	return nil
}

func (s *PostgresServer) loopbackSettings() []string {
	if !s.cfg.Loopback {
		return nil
	}
	return []string{"listen_addresses=127.0.0.1", "hba_file=" + s.accessFile()}
}

func (s *PostgresServer) setPassword(ctx context.Context) error {
	if !s.cfg.Loopback {
		return nil
	}
	err := s.admin(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `ALTER ROLE `+superuser+` PASSWORD '`+s.password+`'`) // letters and digits
		return err
	})
	if err != nil {
		return fmt.Errorf("devstack: setting the password: %w", err)
	}
	return nil
}
