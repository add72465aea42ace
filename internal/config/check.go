package config

import (
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// The bounds that are not plain signs.
const (
	minLeaseTTL     = 300 * time.Millisecond // renewed every third of it, over a network
	maxInFlight     = 10_000
	maxNATSReplicas = 5 // what JetStream allows

	// RETENTION exceeds AUDIT_WINDOW by that: an audit goes by whole days, of a zone that is
	// not known, and may be held up for days. The order of a saga that has left would pass for
	// one that nobody has asked for.
	auditMargin = 7 * 24 * time.Hour
)

// check reports what parses and is still wrong, alone or beside something else.
func (l *loader) check() {
	l.checkDurations()
	l.checkNumbers()
	l.checkConnections()
	l.checkPressOne()
	l.checkAddresses()
	l.checkAccess()
	l.checkOIDC()
}

// checkDurations applies to every duration there is. CODES_KEEP alone may be zero, which is for ever.
func (l *loader) checkDurations() {
	fields := reflect.ValueOf(l.cfg)
	for _, v := range l.variables {
		if d, ok := reflect.TypeAssert[time.Duration](fields.Field(v.index)); ok && l.ok(v.Name) && d <= 0 && (d != 0 || v.Name != "CODES_KEEP") {
			l.problem(v.Name, "%s is not more than zero", d)
		}
	}
	l.checkOrder("RETRY_INITIAL", l.cfg.RetryInitial, "RETRY_MAX", l.cfg.RetryMax)
	l.checkOrder("POLL_INITIAL", l.cfg.PollInitial, "POLL_MAX", l.cfg.PollMax)
	if least := l.cfg.AuditWindow + auditMargin; l.ok("RETENTION", "AUDIT_WINDOW") && l.cfg.Retention < least {
		l.problem("RETENTION", "%s is less than %s: AUDIT_WINDOW, and a week", l.cfg.Retention, least)
	}
	if l.ok("LEASE_TTL") && l.cfg.LeaseTTL < minLeaseTTL {
		l.problem("LEASE_TTL", "%s is less than %s", l.cfg.LeaseTTL, minLeaseTTL)
	}
}

func (l *loader) checkOrder(lowName string, low time.Duration, highName string, high time.Duration) {
	if l.ok(lowName, highName) && low > high {
		l.problem(lowName, "%s is more than %s, which is %s", low, highName, high)
	}
}

func (l *loader) checkNumbers() {
	l.checkCount("NATS_REPLICAS", l.cfg.NATSReplicas, maxNATSReplicas)
	l.checkCount("ABSENCE_LOOKS", l.cfg.AbsenceLooks, math.MaxInt32)
	l.checkCount("RETRY_MAX_ATTEMPTS", l.cfg.RetryMaxAttempts, math.MaxInt32)
	l.checkCount("MAX_IN_FLIGHT", l.cfg.MaxInFlight, maxInFlight)
	if rate := l.cfg.PressOneRate; l.ok("PRESSONE_RATE") && (rate < 0 || math.IsNaN(rate) || math.IsInf(rate, 0)) {
		l.problem("PRESSONE_RATE", "%v is not a rate", rate)
	}
}

// checkCount requires a number from 1 to most.
func (l *loader) checkCount(name string, n, most int) {
	if l.ok(name) && (n < 1 || n > most) {
		l.problem(name, "%d is not from 1 to %d", n, most)
	}
}

func (l *loader) checkConnections() {
	var err error
	if raw := l.cfg.DatabaseURL.Reveal(); raw != "" {
		if l.cfg.DatabaseURL, err = parseDatabaseURL(raw); err != nil {
			l.problem("DATABASE_URL", "%v", err)
		}
	}
	if raw := l.cfg.NATSURL.Reveal(); raw != "" {
		if l.cfg.NATSURL, err = parseNATSURL(raw); err != nil {
			l.problem("NATS_URL", "%v", err)
		}
	}
	l.checkInbox()
	l.checkFile("NATS_CREDS", l.cfg.NATSCreds)
	l.checkFile("NATS_CA", l.cfg.NATSCA)
	l.checkFile("NATS_CERT", l.cfg.NATSCert)
	l.checkFile("NATS_KEY", l.cfg.NATSKey)
	switch {
	case l.cfg.NATSCert != "" && l.cfg.NATSKey == "":
		l.problem("NATS_KEY", "is not set, and NATS_CERT is")
	case l.cfg.NATSKey != "" && l.cfg.NATSCert == "":
		l.problem("NATS_CERT", "is not set, and NATS_KEY is")
	}
}

// checkFile requires that the path, if there is one, is that of a file.
func (l *loader) checkFile(name, path string) {
	if path == "" {
		return
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		l.problem(name, "%v", err)
	case info.IsDir():
		l.problem(name, "%s is a directory", path)
	}
}

// checkPressOne guards what is sent to PressOne: a path is missing when somebody forgets
// the prefix, and without TLS the token would travel in the clear.
func (l *loader) checkPressOne() {
	const name = "PRESSONE_BASE_URL"
	if l.cfg.PressOneBaseURL == "" {
		return
	}
	u, ok := l.checkURL(name, l.cfg.PressOneBaseURL)
	if !ok {
		return
	}
	switch {
	case strings.Trim(u.Path, "/") == "":
		l.problem(name, "has no path: PressOne's prefix belongs to it")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		l.problem(name, "is http to another machine, which would send the token in the clear")
	}
	l.cfg.PressOneBaseURL = strings.TrimRight(l.cfg.PressOneBaseURL, "/")
}

// checkURL requires an absolute http or https address and nothing beyond its path. What is
// wrong is said without the address, which may hold a password.
func (l *loader) checkURL(name, raw string) (*url.URL, bool) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		l.problem(name, "is not an address")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		l.problem(name, "is not an absolute http or https address")
	case u.User != nil:
		l.problem(name, "has a user in it")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(raw, "#"):
		l.problem(name, "has a query or a fragment")
	default:
		return u, true
	}
	return nil, false
}

func (l *loader) checkAddresses() {
	if _, ok := l.checkURL("ESIMFLOW_URL", l.cfg.ESIMFlowURL); ok {
		l.cfg.ESIMFlowURL = strings.TrimRight(l.cfg.ESIMFlowURL, "/")
	}
	l.checkListen("HTTP_ADDR", l.cfg.HTTPAddr)
	l.checkListen("TELEMETRY_ADDR", l.cfg.TelemetryAddr)
	if !l.ok("HTTP_ADDR", "TELEMETRY_ADDR") || l.need != Worker {
		return
	}
	host, port, _ := net.SplitHostPort(l.cfg.HTTPAddr)
	if l.cfg.HTTPAddr == l.cfg.TelemetryAddr && port != "0" {
		l.problem("TELEMETRY_ADDR", "is the same as HTTP_ADDR")
	}
	if !isLoopback(host) && l.cfg.OpsToken.IsZero() {
		l.problem("OPS_TOKEN", "is not set, and HTTP_ADDR is not loopback: anybody could replay and discard")
	}
}

// leastToken is how long a token should be where strangers could have a session to guess it from.
const leastToken = 16

// Guessable are the variables with a token that somebody who has a session could guess from its signature, unseen: a
// short one, where HTTP_ADDR is not loopback.
func (c Config) Guessable() []string {
	var short []string
	if host, _, _ := net.SplitHostPort(c.HTTPAddr); isLoopback(host) {
		return nil
	}
	for _, t := range []struct {
		name  string
		token Secret
	}{{"OPS_TOKEN", c.OpsToken}, {"OPS_VIEWER_TOKEN", c.ViewerToken}} {
		if !t.token.IsZero() && len(t.token.Reveal()) < leastToken {
			short = append(short, t.name)
		}
	}
	return short
}

// checkListen requires host:port; an empty host is every interface.
func (l *loader) checkListen(name, addr string) {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		l.problem(name, "%q is not host:port", addr)
	}
}

// isLoopback reports whether only this machine reaches the host. A name other than
// localhost is not looked up: what it means may change.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
