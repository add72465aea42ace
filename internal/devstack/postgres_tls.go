package devstack

import (
	"errors"
	"os"
	"path/filepath"
)

func (s *PostgresServer) certFile() string { return filepath.Join(s.home, "server.crt") }
func (s *PostgresServer) keyFile() string  { return filepath.Join(s.home, "server.key") }

// copyTLS gives the certificate and its key to the server's account: it refuses a key that
// others may read, or own.
func (s *PostgresServer) copyTLS() error {
	var errs []error
	for from, to := range map[string]string{s.cfg.TLSCert: s.certFile(), s.cfg.TLSKey: s.keyFile()} {
		b, err := os.ReadFile(from)
		errs = append(errs, err, os.WriteFile(to, b, 0o600), s.account.own(to))
	}
	return errors.Join(errs...)
}

func (s *PostgresServer) tlsSettings() []string {
	if s.cfg.TLSCert == "" {
		return nil
	}
	return []string{"ssl=on", "ssl_cert_file=" + s.certFile(), "ssl_key_file=" + s.keyFile()}
}
