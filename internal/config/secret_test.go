package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSecretsDoNotPrint tries every way that a value usually gets out by.
func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	const password = "hunter2"
	database, err := parseDatabaseURL("postgres://app:" + password + "@db:5432/esim?sslmode=disable&sslpassword=" + password)
	require.NoError(t, err)
	nats, err := parseNATSURL("nats://app:" + password + "@one:4222, " + password + "@two:4222")
	require.NoError(t, err)
	values := map[string]any{
		"secret":   NewSecret(password),
		"database": database,
		"NATS":     nats,
		"config":   Config{DatabaseURL: database, NATSURL: nats, OpsToken: NewSecret(password), EncryptionKeys: []Secret{NewSecret(password)}},
	}
	for name, value := range values {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
				for _, form := range []any{value, &value, []any{value}, struct{ Field any }{value}} {
					out := fmt.Sprintf(verb, form)
					require.NotContains(t, out, password, verb)
					require.NotContains(t, out, fmt.Sprintf("%x", password), verb)
				}
			}
			out, err := json.Marshal(value)
			require.NoError(t, err)
			require.NotContains(t, string(out), password)

			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).InfoContext(t.Context(), "message", "value", value)
			slog.New(slog.NewJSONHandler(&log, nil)).InfoContext(t.Context(), "message", "value", value)
			require.NotContains(t, log.String(), password)
			require.NotEmpty(t, log.String())
		})
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	require.Equal(t, "hunter2", NewSecret("hunter2").Reveal())
	require.Equal(t, "[redacted]", NewSecret("hunter2").String())
	require.Empty(t, Secret{}.String(), "that there is none may be seen")
	require.True(t, Secret{}.IsZero())
	require.False(t, NewSecret("x").IsZero())
}

func TestURLsShowWhereTheyLead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		parse func(string) (URL, error)
		give  string
		want  string
	}{
		{"a database", parseDatabaseURL, "postgres://app:pw@db:6432/esim?sslmode=disable", "postgres://db:6432/esim"},
		{"a database in pairs", parseDatabaseURL, "host=db port=5432 user=app password=pw dbname=esim sslmode=disable", "postgres://db:5432/esim"},
		{"a database on a socket", parseDatabaseURL, "postgres://app@/esim?host=%2Frun%2Fpg", "postgres:///esim?host=%2Frun%2Fpg"},
		{"a NATS server", parseNATSURL, "nats://user:pw@n1:4222", "nats://n1:4222"},
		{"NATS servers with tokens", parseNATSURL, "tls://token@n1:4222,n2:4222", "tls://n1:4222,nats://n2:4222"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u, err := tt.parse(tt.give)
			require.NoError(t, err)
			require.Equal(t, tt.want, u.String())
			require.Equal(t, tt.give, u.Reveal())
			require.False(t, u.IsZero())
		})
	}
}
