package config

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// worker is the least that a worker starts with.
func worker() map[string]string {
	return map[string]string{
		"DATABASE_URL":           "postgres://app:pw@db/esim",
		"NATS_URL":               "nats://nats:4222",
		"PRESSONE_BASE_URL":      "https://api.example.com/customer/v2",
		"PRESSONE_CLIENT_ID":     "id",
		"PRESSONE_CLIENT_SECRET": "secret",
	}
}

func load(vars map[string]string, need Need) (Config, error) {
	return Load(func(name string) string { return vars[name] }, need)
}

func with(extra map[string]string) map[string]string {
	vars := worker()
	maps.Copy(vars, extra)
	return vars
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	got, err := load(worker(), Worker)
	require.NoError(t, err)
	want := Config{
		DatabaseURL:          URL{"postgres://app:pw@db/esim", "postgres://db:5432/esim"},
		NATSURL:              URL{"nats://nats:4222", "nats://nats:4222"},
		NATSInboxPrefix:      "_INBOX_worker",
		NATSReplicas:         1,
		PressOneBaseURL:      "https://api.example.com/customer/v2",
		PressOneClientID:     "id",
		PressOneClientSecret: NewSecret("secret"),
		SubmitTimeout:        60 * time.Second,
		ReadTimeout:          15 * time.Second,
		ListLag:              5 * time.Second,
		SettleDelay:          30 * time.Second,
		AbsenceLooks:         2,
		UnknownPolicy:        Resubmit,
		RetryInitial:         time.Second,
		RetryMax:             5 * time.Minute,
		RetryMaxAttempts:     12,
		SagaDeadline:         24 * time.Hour,
		PollInitial:          2 * time.Second,
		PollMax:              60 * time.Second,
		PollDeadline:         75 * time.Minute,
		LeaseTTL:             15 * time.Second,
		MaxInFlight:          256,
		Retention:            90 * 24 * time.Hour,
		CodesKeep:            30 * 24 * time.Hour,
		AuditInterval:        time.Hour,
		AuditWindow:          72 * time.Hour,
		HTTPAddr:             "127.0.0.1:8080",
		TelemetryAddr:        ":9464",
		ESIMFlowURL:          "http://127.0.0.1:8080",
		OIDCScopes:           "openid profile email",
		OIDCRoleClaim:        "groups",
		OIDCOperator:         "esimflow-operators",
		OIDCViewer:           "esimflow-viewers",
		LogLevel:             LogLevel(slog.LevelInfo),
		LogFormat:            JSON,
	}
	require.Equal(t, want, got)
}

func TestEveryVariableIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
		return path
	}
	key1, key2 := strings.Repeat("a", 32), strings.Repeat("b", 32)
	keys := base64.StdEncoding.EncodeToString([]byte(key1)) + ", " + base64.StdEncoding.EncodeToString([]byte(key2))
	vars := map[string]string{
		"DATABASE_URL": "host=db dbname=esim password=pw", "NATS_URL": "tls://n1:4222,tls://n2:4222",
		"NATS_CREDS": file("creds"), "NATS_CA": file("ca"), "NATS_CERT": file("cert"), "NATS_KEY": file("key"), "NATS_INBOX_PREFIX": "_INBOX_me", "NATS_REPLICAS": "3",
		"PRESSONE_BASE_URL": "http://127.0.0.1:9000/v2/", "PRESSONE_CLIENT_ID": "id", "PRESSONE_CLIENT_SECRET": "secret", "PRESSONE_RATE": "2.5",
		"SUBMIT_TIMEOUT": "1s", "READ_TIMEOUT": "2s", "LIST_LAG": "3s", "SETTLE_DELAY": "4s", "ABSENCE_LOOKS": "5",
		"UNKNOWN_POLICY": "hold", "NO_EFFECT_CODES": "4033, 53",
		"RETRY_INITIAL": "6s", "RETRY_MAX": "7s", "RETRY_MAX_ATTEMPTS": "8", "SAGA_DEADLINE": "9s",
		"POLL_INITIAL": "10s", "POLL_MAX": "11s", "POLL_DEADLINE": "12s",
		"LEASE_TTL": "300ms", "MAX_IN_FLIGHT": "10000", "RETENTION": "1300h", "CODES_KEEP": "0s", "AUDIT_INTERVAL": "14h", "AUDIT_WINDOW": "15h",
		"ENCRYPTION_KEY": keys,
		"HTTP_ADDR":      ":0", "OPS_TOKEN": "a token of 16 or more", "TELEMETRY_ADDR": "[::1]:9", "ESIMFLOW_URL": "https://esimflow.example.com/api/",
		"OPS_VIEWER_TOKEN": "a viewer of 16 or more", "OIDC_ISSUER": "https://id.example.com/realm", "OIDC_CLIENT_ID": "esimflow", "OIDC_CLIENT_SECRET": "theirs",
		"OIDC_REDIRECT_URL": "https://esimflow.example.com/log-in/callback", "OIDC_SCOPES": "openid groups", "OIDC_ROLE_CLAIM": "roles",
		"OIDC_OPERATOR_VALUE": "ops", "OIDC_VIEWER_VALUE": "all",
		"LOG_LEVEL": "debug", "LOG_FORMAT": "text",
	}
	for _, v := range Variables() {
		require.Contains(t, vars, v.Name)
	}

	got, err := load(vars, Worker)
	require.NoError(t, err)
	want := Config{
		DatabaseURL: URL{vars["DATABASE_URL"], "postgres://db:5432/esim"}, NATSURL: URL{vars["NATS_URL"], vars["NATS_URL"]},
		NATSCreds: vars["NATS_CREDS"], NATSCA: vars["NATS_CA"], NATSCert: vars["NATS_CERT"], NATSKey: vars["NATS_KEY"], NATSInboxPrefix: "_INBOX_me", NATSReplicas: 3,
		PressOneBaseURL: "http://127.0.0.1:9000/v2", PressOneClientID: "id", PressOneClientSecret: NewSecret("secret"), PressOneRate: 2.5,
		SubmitTimeout: time.Second, ReadTimeout: 2 * time.Second, ListLag: 3 * time.Second, SettleDelay: 4 * time.Second, AbsenceLooks: 5,
		UnknownPolicy: Hold, NoEffectCodes: []string{"4033", "53"},
		RetryInitial: 6 * time.Second, RetryMax: 7 * time.Second, RetryMaxAttempts: 8, SagaDeadline: 9 * time.Second,
		PollInitial: 10 * time.Second, PollMax: 11 * time.Second, PollDeadline: 12 * time.Second,
		LeaseTTL: 300 * time.Millisecond, MaxInFlight: 10000, Retention: 1300 * time.Hour,
		AuditInterval: 14 * time.Hour, AuditWindow: 15 * time.Hour, EncryptionKeys: []Secret{NewSecret(key1), NewSecret(key2)},
		HTTPAddr: ":0", OpsToken: NewSecret(vars["OPS_TOKEN"]), TelemetryAddr: "[::1]:9", ESIMFlowURL: "https://esimflow.example.com/api",
		ViewerToken: NewSecret(vars["OPS_VIEWER_TOKEN"]), OIDCIssuer: vars["OIDC_ISSUER"], OIDCClientID: "esimflow", OIDCClientSecret: NewSecret("theirs"),
		OIDCRedirectURL: vars["OIDC_REDIRECT_URL"], OIDCScopes: "openid groups", OIDCRoleClaim: "roles", OIDCOperator: "ops", OIDCViewer: "all",
		LogLevel: LogLevel(slog.LevelDebug), LogFormat: Text,
	}
	require.Equal(t, want, got)
}

func TestNeeds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		need Need
		want []string
	}{
		{Worker, []string{"DATABASE_URL", "NATS_URL", "PRESSONE_BASE_URL", "PRESSONE_CLIENT_ID", "PRESSONE_CLIENT_SECRET"}},
		{Publisher, []string{"DATABASE_URL", "NATS_URL"}},
		{Migrate, []string{"DATABASE_URL"}},
		{Streams, []string{"NATS_URL"}},
		{Client, nil},
	}
	for _, tt := range tests {
		t.Run(string(tt.need), func(t *testing.T) {
			t.Parallel()
			_, err := load(nil, tt.need)
			require.Equal(t, tt.want, names(err))

			missing := worker()
			for _, name := range tt.want {
				missing[name] = ""
			}
			_, err = load(missing, tt.need)
			require.Equal(t, tt.want, names(err), "empty is not set")

			_, err = load(worker(), tt.need)
			require.NoError(t, err)
		})
	}
}

// oidc is a right configuration of an identity provider, but for one value.
func oidc(name, value string) map[string]string {
	vars := map[string]string{
		"OPS_TOKEN": "token", "OIDC_ISSUER": "https://id.example.com/realm", "OIDC_CLIENT_ID": "esimflow",
		"OIDC_REDIRECT_URL": "https://esimflow.example.com/log-in/callback",
	}
	vars[name] = value
	return vars
}

// TestProblems gives one wrong value at a time.
func TestProblems(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	tests := []struct {
		name string
		give map[string]string
		want string // what the one problem says
	}{
		{"another database", map[string]string{"DATABASE_URL": "mysql://db/esim"}, "DATABASE_URL: is not a connection string of Postgres"},
		{"a port that is none", map[string]string{"DATABASE_URL": "postgres://db:port/esim"}, "DATABASE_URL: is not a connection string"},
		{"NATS over http", map[string]string{"NATS_URL": "http://nats:4222"}, "NATS_URL: is not a list"},
		{"no NATS host", map[string]string{"NATS_URL": "nats://one:4222,"}, "NATS_URL: is not a list"},
		{"a file that is not there", map[string]string{"NATS_CA": filepath.Join(dir, "none")}, "NATS_CA: stat "},
		{"a directory", map[string]string{"NATS_CREDS": dir}, "NATS_CREDS: " + dir + " is a directory"},
		{"a certificate alone", map[string]string{"NATS_CERT": os.Args[0]}, "NATS_KEY: is not set, and NATS_CERT is"},
		{"a key alone", map[string]string{"NATS_KEY": os.Args[0]}, "NATS_CERT: is not set, and NATS_KEY is"},
		{"no replicas", map[string]string{"NATS_REPLICAS": "0"}, "NATS_REPLICAS: 0 is not from 1 to 5"},
		{"no prefix", map[string]string{"PRESSONE_BASE_URL": "https://api.example.com/"}, "PRESSONE_BASE_URL: has no path"},
		{"no host", map[string]string{"PRESSONE_BASE_URL": "/customer/v2"}, "PRESSONE_BASE_URL: is not an absolute"},
		{"a query", map[string]string{"PRESSONE_BASE_URL": "https://api.example.com/v2?a=b"}, "PRESSONE_BASE_URL: has a query"},
		{"a fragment", map[string]string{"PRESSONE_BASE_URL": "https://api.example.com/v2#"}, "PRESSONE_BASE_URL: has a query or a fragment"},
		{"a user", map[string]string{"PRESSONE_BASE_URL": "https://me:pw@api.example.com/v2"}, "PRESSONE_BASE_URL: has a user"},
		{"another scheme", map[string]string{"PRESSONE_BASE_URL": "ftp://api.example.com/v2"}, "PRESSONE_BASE_URL: is not an absolute"},
		{"the token in the clear", map[string]string{"PRESSONE_BASE_URL": "http://api.example.com/v2"}, "PRESSONE_BASE_URL: is http to another machine"},
		{"a private network is not loopback", map[string]string{"PRESSONE_BASE_URL": "http://10.0.0.1/v2"}, "PRESSONE_BASE_URL: is http to another machine"},
		{"a negative rate", map[string]string{"PRESSONE_RATE": "-1"}, "PRESSONE_RATE: -1 is not a rate"},
		{"no rate at all", map[string]string{"PRESSONE_RATE": "NaN"}, "PRESSONE_RATE: NaN is not a rate"},
		{"no number", map[string]string{"PRESSONE_RATE": "fast"}, `PRESSONE_RATE: "fast" is not a number`},
		{"no unit", map[string]string{"SUBMIT_TIMEOUT": "60"}, `SUBMIT_TIMEOUT: "60" is not a duration; for example SUBMIT_TIMEOUT=60s`},
		{"no time", map[string]string{"READ_TIMEOUT": "0s"}, "READ_TIMEOUT: 0s is not more than zero"},
		{"time backwards", map[string]string{"RETENTION": "-1h"}, "RETENTION: -1h0m0s is not more than zero"},
		{"codes kept backwards", map[string]string{"CODES_KEEP": "-1h"}, "CODES_KEEP: -1h0m0s is not more than zero"},
		{"an audit of what has left", map[string]string{"AUDIT_WINDOW": "2000h"}, "RETENTION: 2160h0m0s is less than 2168h0m0s: AUDIT_WINDOW, and a week"},
		{"no looks", map[string]string{"ABSENCE_LOOKS": "0"}, "ABSENCE_LOOKS: 0 is not from 1"},
		{"half a look", map[string]string{"ABSENCE_LOOKS": "1.5"}, `ABSENCE_LOOKS: "1.5" is not a whole number`},
		{"another policy", map[string]string{"UNKNOWN_POLICY": "hope"}, `UNKNOWN_POLICY: "hope" is not resubmit or hold`},
		{"a word for a code", map[string]string{"NO_EFFECT_CODES": "4033,busy"}, `NO_EFFECT_CODES: "busy" is not a code`},
		{"an empty code", map[string]string{"NO_EFFECT_CODES": "4033,"}, `NO_EFFECT_CODES: "" is not a code`},
		{"retry bounds the wrong way round", map[string]string{"RETRY_MAX": "500ms"}, "RETRY_INITIAL: 1s is more than RETRY_MAX, which is 500ms"},
		{"poll bounds the wrong way round", map[string]string{"POLL_INITIAL": "2m"}, "POLL_INITIAL: 2m0s is more than POLL_MAX, which is 1m0s"},
		{"no attempts", map[string]string{"RETRY_MAX_ATTEMPTS": "0"}, "RETRY_MAX_ATTEMPTS: 0 is not from 1"},
		{"a short lease", map[string]string{"LEASE_TTL": "299ms"}, "LEASE_TTL: 299ms is less than 300ms"},
		{"nothing in flight", map[string]string{"MAX_IN_FLIGHT": "0"}, "MAX_IN_FLIGHT: 0 is not from 1 to 10000"},
		{"too much in flight", map[string]string{"MAX_IN_FLIGHT": "10001"}, "MAX_IN_FLIGHT: 10001 is not from 1 to 10000"},
		{"a key that is no base64", map[string]string{"ENCRYPTION_KEY": key + ",!"}, "ENCRYPTION_KEY: key 2 is not base64"},
		{"a short key", map[string]string{"ENCRYPTION_KEY": "c2hvcnQ="}, "ENCRYPTION_KEY: key 1 has 5 bytes, not 32"},
		{"an address without a port", map[string]string{"HTTP_ADDR": "127.0.0.1"}, `HTTP_ADDR: "127.0.0.1" is not host:port`},
		{"a port that is too high", map[string]string{"TELEMETRY_ADDR": ":65536"}, `TELEMETRY_ADDR: ":65536" is not host:port`},
		{"the same address twice", map[string]string{"TELEMETRY_ADDR": "127.0.0.1:8080"}, "TELEMETRY_ADDR: is the same as HTTP_ADDR"},
		{"every interface and no token", map[string]string{"HTTP_ADDR": ":8080"}, "OPS_TOKEN: is not set, and HTTP_ADDR is not loopback"},
		{"another interface and no token", map[string]string{"HTTP_ADDR": "10.0.0.1:8080"}, "OPS_TOKEN: is not set"},
		{"a name and no token", map[string]string{"HTTP_ADDR": "console:8080"}, "OPS_TOKEN: is not set"},
		{"viewers without operators", map[string]string{"OPS_VIEWER_TOKEN": "a"}, "OPS_TOKEN: is not set, and OPS_VIEWER_TOKEN is"},
		{"viewers who are operators", map[string]string{"OPS_TOKEN": "a", "OPS_VIEWER_TOKEN": "a"}, "OPS_VIEWER_TOKEN: is the same as OPS_TOKEN"},
		{"a client of no provider", map[string]string{"OIDC_CLIENT_ID": "x"}, "OIDC_ISSUER: is not set, and others of OIDC are"},
		{"a provider in the clear", oidc("OIDC_ISSUER", "http://id.example.com"), "OIDC_ISSUER: is http to another machine"},
		{"a provider and no token", oidc("OPS_TOKEN", ""), "OPS_TOKEN: is not set, and OIDC_ISSUER is"},
		{"a provider and no client", oidc("OIDC_CLIENT_ID", ""), "OIDC_CLIENT_ID: is not set, and OIDC_ISSUER is"},
		{"no way back", oidc("OIDC_REDIRECT_URL", ""), "OIDC_REDIRECT_URL: is not an absolute"},
		{"a way back in the clear", oidc("OIDC_REDIRECT_URL", "http://esimflow.example.com/log-in/callback"), "OIDC_REDIRECT_URL: is http to another machine"},
		{"a way back to nowhere", oidc("OIDC_REDIRECT_URL", "https://esimflow.example.com/"), "OIDC_REDIRECT_URL: does not end in /log-in/callback"},
		{"not OpenID", oidc("OIDC_SCOPES", "profile"), "OIDC_SCOPES: openid is not among them"},
		{"one value for both roles", oidc("OIDC_VIEWER_VALUE", "esimflow-operators"), "OIDC_VIEWER_VALUE: is the same as OIDC_OPERATOR_VALUE"},
		{"an API that is no address", map[string]string{"ESIMFLOW_URL": "127.0.0.1:8080"}, "ESIMFLOW_URL: is not an a"},
		{"a level that is none", map[string]string{"LOG_LEVEL": "debug+2"}, `LOG_LEVEL: "debug+2" is not debug, info, warn or error`},
		{"a format that is none", map[string]string{"LOG_FORMAT": "xml"}, `LOG_FORMAT: "xml" is not json or text`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := load(with(tt.give), Worker)
			require.Len(t, names(err), 1, "%v", err)
			require.ErrorContains(t, err, "config: "+tt.want)
			require.ErrorContains(t, err, "; for example "+names(err)[0]+"=")
		})
	}
}

func TestLoopbackNeedsNoToken(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"127.0.0.1:8080", "127.1.2.3:0", "[::1]:8080", "localhost:8080"} {
		_, err := load(with(map[string]string{"HTTP_ADDR": addr}), Worker)
		require.NoError(t, err, addr)
	}
	_, err := load(with(map[string]string{"HTTP_ADDR": ":8080"}), Publisher)
	require.NoError(t, err, "the publisher serves no API")
}

// Tokens that somebody with a session could guess are named, where strangers may have one.
func TestGuessableTokens(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 16)
	for _, tt := range []struct {
		addr, operators, viewers string
		want                     []string
	}{
		{":8080", "fifteen letters", "", []string{"OPS_TOKEN"}},
		{":8080", long, "a", []string{"OPS_VIEWER_TOKEN"}},
		{":8080", long, long + "x", nil},
		{"127.0.0.1:8080", "a", "b", nil},
	} {
		cfg, err := load(with(map[string]string{"HTTP_ADDR": tt.addr, "OPS_TOKEN": tt.operators, "OPS_VIEWER_TOKEN": tt.viewers}), Worker)
		require.NoError(t, err)
		require.Equal(t, tt.want, cfg.Guessable())
	}
}

func TestAllProblemsAreReportedAtOnceAndInOrder(t *testing.T) {
	t.Parallel()
	_, err := load(map[string]string{
		"LOG_LEVEL":          "loud",
		"DATABASE_URL":       "mysql://app:hunter2@db/esim",
		"NATS_URL":           "http://app:hunter2@nats",
		"PRESSONE_BASE_URL":  "http://app:hunter2@api.example.com/v2",
		"PRESSONE_CLIENT_ID": "id",
		"ENCRYPTION_KEY":     "hunter2",
		"SUBMIT_TIMEOUT":     "soon",
		"RETRY_INITIAL":      "later", // cannot be compared with RETRY_MAX then
		"RETRY_MAX":          "0s",
	}, Worker)
	require.Equal(t, []string{
		"DATABASE_URL", "NATS_URL", "PRESSONE_BASE_URL", "PRESSONE_CLIENT_SECRET", "SUBMIT_TIMEOUT",
		"RETRY_INITIAL", "RETRY_MAX", "ENCRYPTION_KEY", "LOG_LEVEL",
	}, names(err))
	require.NotContains(t, err.Error(), "hunter2")
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name, content string) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, []byte(content), 0o600))
		return p
	}

	t.Run("stand for the variable, without the newline at their end", func(t *testing.T) {
		t.Parallel()
		for _, v := range Variables() {
			if !v.File {
				continue
			}
			value := worker()[v.Name]
			switch v.Name {
			case "ENCRYPTION_KEY":
				value = base64.StdEncoding.EncodeToString(make([]byte, 32))
			case "OPS_TOKEN", "OPS_VIEWER_TOKEN", "OIDC_CLIENT_SECRET":
				value = "token"
			}
			need := Worker
			if v.Name == "OPS_VIEWER_TOKEN" {
				need = Client // a worker wants OPS_TOKEN with it
			}
			direct, err := load(with(map[string]string{v.Name: value}), need)
			require.NoError(t, err)
			viaFile, err := load(with(map[string]string{v.Name: "", v.Name + "_FILE": path(v.Name, value+"\r\n")}), need)
			require.NoError(t, err, v.Name)
			require.Equal(t, direct, viaFile, v.Name)
		}
	})

	t.Run("do not stand beside it", func(t *testing.T) {
		t.Parallel()
		_, err := load(with(map[string]string{"OPS_TOKEN": "hunter2", "OPS_TOKEN_FILE": path("both", "hunter2")}), Worker)
		require.ErrorContains(t, err, "OPS_TOKEN: is set, and OPS_TOKEN_FILE too")
		require.NotContains(t, err.Error(), "hunter2")
	})

	t.Run("must be there", func(t *testing.T) {
		t.Parallel()
		_, err := load(with(map[string]string{"DATABASE_URL": "", "DATABASE_URL_FILE": filepath.Join(dir, "none")}), Worker)
		require.Equal(t, []string{"DATABASE_URL"}, names(err))
		require.ErrorContains(t, err, "DATABASE_URL_FILE cannot be read: open ")
	})

	t.Run("must hold something", func(t *testing.T) {
		t.Parallel()
		_, err := load(with(map[string]string{"OPS_TOKEN_FILE": path("empty", "\n")}), Worker)
		require.ErrorContains(t, err, "OPS_TOKEN: OPS_TOKEN_FILE names an empty file")
	})

	t.Run("are for secrets only", func(t *testing.T) {
		t.Parallel()
		got, err := load(with(map[string]string{"LOG_LEVEL_FILE": path("level", "debug")}), Worker)
		require.NoError(t, err)
		require.Equal(t, slog.LevelInfo, got.LogLevel.Level())
	})
}

func TestPrint(t *testing.T) {
	t.Parallel()
	cfg, err := load(with(map[string]string{
		"NO_EFFECT_CODES": "4033,53",
		"ENCRYPTION_KEY":  base64.StdEncoding.EncodeToString(make([]byte, 32)),
	}), Worker)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(cfg.String()), "\n")
	require.Len(t, lines, len(Variables()))
	for i, v := range Variables() {
		require.True(t, strings.HasPrefix(lines[i], v.Name+"="), lines[i])
	}
	for _, want := range []string{
		"DATABASE_URL=postgres://db:5432/esim",
		"PRESSONE_CLIENT_SECRET=[redacted]",
		"ENCRYPTION_KEY=[redacted]",
		"OPS_TOKEN=",
		"NO_EFFECT_CODES=4033,53",
		"SUBMIT_TIMEOUT=1m0s",
		"LOG_LEVEL=info",
		"PRESSONE_RATE=0",
	} {
		require.Contains(t, lines, want)
	}
}

// TestEnviron changes the environment, so it cannot run in parallel.
func TestEnviron(t *testing.T) {
	t.Setenv("LOG_LEVEL", "warn")
	require.Equal(t, "warn", Environ()("LOG_LEVEL"))
}

// names lists the variables that err is about, in its order.
func names(err error) []string {
	var all []string
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			if p, ok := errors.AsType[*Problem](e); ok {
				all = append(all, p.Name)
			}
		}
	}
	return all
}
