package app_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/config"
	"esimflow/internal/devstack"
	"esimflow/internal/message"
)

// signer is an account whose users log in by credentials: a token that it has signed, and a key.
type signer struct {
	t    *testing.T
	key  nkeys.KeyPair
	opts server.Options
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	operator, err := nkeys.CreateOperator()
	require.NoError(t, err)
	s := &signer{t: t}
	s.key, err = nkeys.CreateAccount()
	require.NoError(t, err)
	public, err := s.key.PublicKey()
	require.NoError(t, err)
	token, err := jwt.NewAccountClaims(public).Encode(operator)
	require.NoError(t, err)
	resolver := &server.MemAccResolver{}
	require.NoError(t, resolver.Store(public, token))
	trusted, err := operator.PublicKey()
	require.NoError(t, err)
	s.opts = server.Options{
		Host: "127.0.0.1", Port: steadyPort(t), NoLog: true, NoSigs: true,
		TrustedKeys: []string{trusted}, AccountResolver: resolver,
	}
	return s
}

// issue writes credentials of a new user and returns its name, which is its key.
func (s *signer) issue(path string) (name string) {
	s.t.Helper()
	user, err := nkeys.CreateUser()
	require.NoError(s.t, err)
	name, err = user.PublicKey()
	require.NoError(s.t, err)
	claims := jwt.NewUserClaims(name)
	claims.Sub.Allow.Add("_INBOX_publisher.>", message.OutboxHint)
	token, err := claims.Encode(s.key)
	require.NoError(s.t, err)
	seed, err := user.Seed()
	require.NoError(s.t, err)
	file, err := jwt.FormatUserConfig(token, seed)
	require.NoError(s.t, err)
	require.NoError(s.t, os.WriteFile(path, file, 0o600))
	return name
}

func (s *signer) start() *server.Server {
	s.t.Helper()
	opts := s.opts
	require.NoError(s.t, devstack.AwaitPort(opts.Port))
	srv, err := server.NewServer(&opts)
	require.NoError(s.t, err)
	srv.Start()
	s.t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	require.True(s.t, srv.ReadyForConnections(time.Minute))
	return srv
}

// users is who is connected.
func users(t *testing.T, srv *server.Server) []string {
	t.Helper()
	z, err := srv.Connz(&server.ConnzOptions{Username: true})
	require.NoError(t, err)
	var all []string
	for _, c := range z.Conns {
		all = append(all, c.AuthorizedUser)
	}
	return all
}

// A program logs in by credentials, keeps to its inbox, and takes new credentials from the same
// file when it connects again.
func TestCredentials(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	srv := s.start()
	creds := filepath.Join(t.TempDir(), "publisher.creds")
	first := s.issue(creds)
	b := &bench{t: t, log: &lockedBuffer{}, env: map[string]string{
		"DATABASE_URL": devstack.Postgres(t), "NATS_URL": srv.ClientURL(), "NATS_CREDS": creds, "TELEMETRY_ADDR": "127.0.0.1:0",
	}}
	p, err := app.NewPublisher(t.Context(), b.config(config.Publisher), b.logger())
	require.NoError(t, err)
	b.run(p.Run)
	require.Eventually(t, func() bool {
		status, _ := fetch(t, p.TelemetryAddr(), "/readyz")
		return status == http.StatusOK && slices.Equal(users(t, srv), []string{first})
	}, time.Minute, 20*time.Millisecond)

	second := s.issue(creds)
	srv.Shutdown()
	srv.WaitForShutdown()
	srv = s.start()
	require.Eventually(t, func() bool { return slices.Equal(users(t, srv), []string{second}) }, time.Minute, 20*time.Millisecond)
	require.Equal(t, map[string]float64{"publish": 0, "subscribe": 0}, denied(t, p.TelemetryAddr()))
	seed, err := os.ReadFile(creds)
	require.NoError(t, err)
	require.NotContains(t, b.log.String(), string(seed[len(seed)/2:len(seed)/2+20]))
}
