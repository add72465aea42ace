package config

import (
	"log/slog"
	"strings"
	"time"
)

// Config is the whole configuration. The tags of a field: env is the variable's name,
// envDefault its default, help its meaning, example a right value (the default serves where
// there is none), need who cannot do without it, file whether it may come from a file.
type Config struct {
	DatabaseURL URL `env:"DATABASE_URL" need:"worker,publisher,migrate" file:"true" example:"postgres://esimflow:PASSWORD@db:5432/esimflow?sslmode=verify-full" help:"Postgres, as a URL or as key=value pairs"`

	NATSURL         URL    `env:"NATS_URL" need:"worker,publisher,streams" file:"true" example:"nats://nats:4222" help:"NATS servers, separated by commas"`
	NATSCreds       string `env:"NATS_CREDS" example:"/etc/nats/esimflow.creds" help:"path of a credentials file"`
	NATSCA          string `env:"NATS_CA" example:"/etc/nats/ca.crt" help:"path of the authorities that the servers' certificates are checked against; empty: the system's"`
	NATSCert        string `env:"NATS_CERT" example:"/etc/nats/tls.crt" help:"path of the client's certificate; goes with NATS_KEY"`
	NATSKey         string `env:"NATS_KEY" example:"/etc/nats/tls.key" help:"path of the client certificate's key; goes with NATS_CERT"`
	NATSInboxPrefix string `env:"NATS_INBOX_PREFIX" example:"_INBOX_worker" help:"where answers of NATS arrive: a prefix that only this user may read; empty: _INBOX_ and the user of NATS_URL, or else the program (worker, publisher), or else _INBOX"`
	NATSReplicas    int    `env:"NATS_REPLICAS" envDefault:"1" example:"3" help:"replicas of the streams, 1 to 5; 3 in production"`

	PressOneBaseURL      string  `env:"PRESSONE_BASE_URL" need:"worker" example:"https://api.example.com/customer/v2" help:"PressOne's API, prefix included; https, or http on loopback"`
	PressOneClientID     string  `env:"PRESSONE_CLIENT_ID" need:"worker" file:"true" example:"7c2f4a" help:"client id of the account"`
	PressOneClientSecret Secret  `env:"PRESSONE_CLIENT_SECRET" need:"worker" file:"true" example:"the secret that PressOne issued" help:"client secret of the account"`
	PressOneRate         float64 `env:"PRESSONE_RATE" envDefault:"0" example:"5" help:"requests a second for the account, shared by all workers; 0 is unlimited"`

	SubmitTimeout time.Duration `env:"SUBMIT_TIMEOUT" envDefault:"60s" help:"budget of one submission, from the commit of its intent; what is not written to PressOne by then is not sent"`
	ReadTimeout   time.Duration `env:"READ_TIMEOUT" envDefault:"15s" help:"budget of one read from PressOne"`
	ListLag       time.Duration `env:"LIST_LAG" envDefault:"5s" help:"how long after an answer the order may be missing from PressOne's list"`
	SettleDelay   time.Duration `env:"SETTLE_DELAY" envDefault:"30s" help:"how long after receiving a request PressOne may list its order, when the answer was lost"`
	AbsenceLooks  int           `env:"ABSENCE_LOOKS" envDefault:"2" help:"complete look-ups, spaced, that must find nothing before a submission counts as not having happened"`
	UnknownPolicy UnknownPolicy `env:"UNKNOWN_POLICY" envDefault:"resubmit" help:"what follows proven absence: submit again (resubmit), or stop for an operator (hold)"`
	NoEffectCodes []string      `env:"NO_EFFECT_CODES" example:"4033" help:"PressOne's codes, separated by commas, that PressOne has promised never to follow a created order; retried without a look-up"`

	RetryInitial     time.Duration `env:"RETRY_INITIAL" envDefault:"1s" help:"first back-off"`
	RetryMax         time.Duration `env:"RETRY_MAX" envDefault:"5m" help:"longest back-off"`
	RetryMaxAttempts int           `env:"RETRY_MAX_ATTEMPTS" envDefault:"12" help:"submissions before a saga becomes a dead letter"`
	SagaDeadline     time.Duration `env:"SAGA_DEADLINE" envDefault:"24h" help:"age at which a saga that is not bought becomes a dead letter"`
	PollInitial      time.Duration `env:"POLL_INITIAL" envDefault:"2s" help:"first pause between two polls of an order"`
	PollMax          time.Duration `env:"POLL_MAX" envDefault:"60s" help:"longest pause between two polls of an order"`
	PollDeadline     time.Duration `env:"POLL_DEADLINE" envDefault:"75m" help:"time after the purchase at which a saga that is not ready becomes a dead letter"`

	LeaseTTL       time.Duration `env:"LEASE_TTL" envDefault:"15s" help:"how long a worker that stopped renewing keeps its sagas; at least 300ms"`
	MaxInFlight    int           `env:"MAX_IN_FLIGHT" envDefault:"256" help:"sagas that one worker acts on at a time, 1 to 10000"`
	Retention      time.Duration `env:"RETENTION" envDefault:"2160h" help:"how long a saga that has ended is kept, and with it its request_id: requests that reached the stream before that, and are not on record, are refused; at least a week more than AUDIT_WINDOW"`
	CodesKeep      time.Duration `env:"CODES_KEEP" envDefault:"720h" help:"how long after its end a saga keeps the activation codes of its eSIMs; 0: for as long as the saga is kept"`
	AuditInterval  time.Duration `env:"AUDIT_INTERVAL" envDefault:"1h" help:"from the end of an audit of PressOne's books to the next one"`
	AuditWindow    time.Duration `env:"AUDIT_WINDOW" envDefault:"72h" help:"how far back an audit reads; whole days"`
	EncryptionKeys []Secret      `env:"ENCRYPTION_KEY" file:"true" example:"$(openssl rand -base64 32)" help:"keys for what is secret in the database, the same for workers and publishers: each base64 of 32 bytes, separated by commas; the first one encrypts, all decrypt; empty: activation codes are stored as they are, for development only"`

	HTTPAddr      string `env:"HTTP_ADDR" envDefault:"127.0.0.1:8080" help:"where the console and the API listen"`
	OpsToken      Secret `env:"OPS_TOKEN" file:"true" example:"$(openssl rand -hex 32)" help:"token of operators, who act, for the console and the API; required when HTTP_ADDR is not loopback, and better 16 characters or more then"`
	ViewerToken   Secret `env:"OPS_VIEWER_TOKEN" file:"true" example:"$(openssl rand -hex 32)" help:"token of viewers, who read everything but activation codes and change nothing; goes with OPS_TOKEN"`
	TelemetryAddr string `env:"TELEMETRY_ADDR" envDefault:":9464" help:"where /metrics, /healthz and /readyz are served"`
	ESIMFlowURL   string `env:"ESIMFLOW_URL" envDefault:"http://127.0.0.1:8080" help:"the worker's API, for esimctl"`

	OIDCIssuer       string `env:"OIDC_ISSUER" example:"https://id.example.com/realms/shop" help:"identity provider that people log in to the console with; https, or http on loopback; empty: by token only. Goes with OPS_TOKEN"`
	OIDCClientID     string `env:"OIDC_CLIENT_ID" example:"esimflow" help:"our client at the identity provider; required with OIDC_ISSUER"`
	OIDCClientSecret Secret `env:"OIDC_CLIENT_SECRET" file:"true" example:"the secret that the provider issued" help:"secret of our client; empty for a public one: PKCE is used either way"`
	OIDCRedirectURL  string `env:"OIDC_REDIRECT_URL" example:"https://esimflow.example.com/log-in/callback" help:"/log-in/callback of the console, as browsers reach it; required with OIDC_ISSUER"`
	OIDCScopes       string `env:"OIDC_SCOPES" envDefault:"openid profile email" example:"openid email groups" help:"what is asked of the identity provider, separated by spaces; openid among it"`
	OIDCRoleClaim    string `env:"OIDC_ROLE_CLAIM" envDefault:"groups" example:"realm_access.roles" help:"claim of the ID token that holds the role: a text, or a list; a.b is b within a"`
	OIDCOperator     string `env:"OIDC_OPERATOR_VALUE" envDefault:"esimflow-operators" help:"value of the claim that makes an operator"`
	OIDCViewer       string `env:"OIDC_VIEWER_VALUE" envDefault:"esimflow-viewers" help:"value of the claim that makes a viewer; whoever has neither is not let in"`

	LogLevel  LogLevel  `env:"LOG_LEVEL" envDefault:"info" help:"debug, info, warn or error"`
	LogFormat LogFormat `env:"LOG_FORMAT" envDefault:"json" help:"json or text"`
}

// UnknownPolicy says what follows when an unknown submission is proved absent.
type UnknownPolicy string

// The policies.
const (
	Resubmit UnknownPolicy = "resubmit" // submit again
	Hold     UnknownPolicy = "hold"     // stop for an operator
)

// LogLevel is the least level that is logged; it is a [slog.Leveler].
type LogLevel slog.Level

// Level returns the level.
func (l LogLevel) Level() slog.Level { return slog.Level(l) }

// String returns the level as it is written in the environment.
func (l LogLevel) String() string { return strings.ToLower(slog.Level(l).String()) }

// LogFormat is the format of the log.
type LogFormat string

// The formats.
const (
	JSON LogFormat = "json"
	Text LogFormat = "text"
)

// Need is who loads the configuration; it decides what may not be missing.
type Need string

// Those who load it.
const (
	Worker    Need = "worker"    // cmd/worker
	Publisher Need = "publisher" // cmd/publisher
	Migrate   Need = "migrate"   // esimctl migrate
	Streams   Need = "streams"   // esimctl streams, order submit, topup submit
	Client    Need = "client"    // esimctl, what talks to the worker's API
)
