package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/jackc/pgx/v5/pgconn"
)

// parsers turn values into the types of [Config]. Their errors are shown to the operator,
// so those of secrets say nothing of the value.
var parsers = map[reflect.Type]env.ParserFunc{
	reflect.TypeFor[Secret]():        func(s string) (any, error) { return NewSecret(s), nil },
	reflect.TypeFor[[]Secret]():      func(s string) (any, error) { return parseKeys(s) },
	reflect.TypeFor[URL]():           func(s string) (any, error) { return URL{value: s, shown: redacted}, nil },
	reflect.TypeFor[[]string]():      func(s string) (any, error) { return parseCodes(s) },
	reflect.TypeFor[time.Duration](): parserOf(time.ParseDuration, "a duration"),
	reflect.TypeFor[int]():           parserOf(strconv.Atoi, "a whole number"),
	reflect.TypeFor[float64]():       parserOf(parseFloat, "a number"),
	reflect.TypeFor[LogLevel]():      parserOf(parseLevel, "debug, info, warn or error"),
	reflect.TypeFor[LogFormat]():     parserOf(parseOneOf(JSON, Text), "json or text"),
	reflect.TypeFor[UnknownPolicy](): parserOf(parseOneOf(Resubmit, Hold), "resubmit or hold"),
}

// parserOf words the error of parse alike for all.
func parserOf[T any](parse func(string) (T, error), what string) env.ParserFunc {
	return func(s string) (any, error) {
		v, err := parse(s)
		if err != nil {
			return nil, fmt.Errorf("%q is not %s", s, what)
		}
		return v, nil
	}
}

func parseFloat(s string) (float64, error) { return strconv.ParseFloat(s, 64) }

func parseLevel(s string) (LogLevel, error) {
	var level slog.Level
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, s) {
		return 0, errors.New("no such level") // "debug+2" is one to slog
	}
	err := level.UnmarshalText([]byte(s))
	return LogLevel(level), err
}

func parseOneOf[T ~string](allowed ...T) func(string) (T, error) {
	return func(s string) (T, error) {
		if slices.Contains(allowed, T(s)) {
			return T(s), nil
		}
		return "", errors.New("not allowed")
	}
}

// keySize is the length of an encryption key in bytes.
const keySize = 32

// parseKeys decodes a comma-separated list of keys; each Secret holds the key's raw bytes.
func parseKeys(s string) ([]Secret, error) {
	var keys []Secret
	for part := range strings.SplitSeq(s, ",") {
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("key %d is not base64", len(keys)+1)
		}
		if len(key) != keySize {
			return nil, fmt.Errorf("key %d has %d bytes, not %d", len(keys)+1, len(key), keySize)
		}
		keys = append(keys, NewSecret(string(key)))
	}
	return keys, nil
}

var codePattern = regexp.MustCompile(`^[0-9]{1,6}$`)

// parseCodes reads a comma-separated list of PressOne's codes.
func parseCodes(s string) ([]string, error) {
	var codes []string
	for part := range strings.SplitSeq(s, ",") {
		code := strings.TrimSpace(part)
		if !codePattern.MatchString(code) {
			return nil, fmt.Errorf("%q is not a code of PressOne's, which are numbers", code)
		}
		codes = append(codes, code)
	}
	return codes, nil
}

var natsSchemes = []string{"nats", "tls", "ws", "wss"}

// parseNATSURL shows the servers without their users, since a lone user is a token.
func parseNATSURL(s string) (URL, error) {
	var shown []string
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if !strings.Contains(part, "://") {
			part = "nats://" + part
		}
		u, err := url.Parse(part)
		if err != nil || u.Hostname() == "" || !slices.Contains(natsSchemes, u.Scheme) {
			return URL{}, errors.New("is not a list of addresses of NATS servers")
		}
		shown = append(shown, u.Scheme+"://"+u.Host)
	}
	return URL{value: s, shown: strings.Join(shown, ",")}, nil
}

// parseDatabaseURL shows the first server and the database.
func parseDatabaseURL(s string) (URL, error) {
	cfg, err := pgconn.ParseConfig(s)
	if err != nil {
		return URL{}, errors.New("is not a connection string of Postgres") // err may hold the password
	}
	u := url.URL{Scheme: "postgres", Path: "/" + cfg.Database}
	if strings.HasPrefix(cfg.Host, "/") {
		u.RawQuery = url.Values{"host": {cfg.Host}}.Encode()
	} else {
		u.Host = net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
	}
	return URL{value: s, shown: u.String()}, nil
}
