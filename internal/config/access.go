package config

import (
	"net/url"
	"slices"
	"strings"
)

// callbackPath is where the console takes those who come back from the identity provider.
const callbackPath = "/log-in/callback"

// checkAccess requires that there are operators before there are viewers, and that the two
// can be told apart.
func (l *loader) checkAccess() {
	if l.need != Worker || l.cfg.ViewerToken.IsZero() {
		return
	}
	switch {
	case l.cfg.OpsToken.IsZero():
		l.problem("OPS_TOKEN", "is not set, and OPS_VIEWER_TOKEN is: without it everybody on this machine is an operator")
	case l.cfg.OpsToken == l.cfg.ViewerToken:
		l.problem("OPS_VIEWER_TOKEN", "is the same as OPS_TOKEN: viewers would be operators")
	}
}

// checkOIDC requires what logging in by an identity provider needs, if there is one.
func (l *loader) checkOIDC() {
	if l.need != Worker {
		return
	}
	if l.cfg.OIDCIssuer == "" {
		if l.cfg.OIDCClientID != "" || l.cfg.OIDCRedirectURL != "" {
			l.problem("OIDC_ISSUER", "is not set, and others of OIDC are")
		}
		return
	}
	l.checkSecureURL("OIDC_ISSUER", l.cfg.OIDCIssuer)
	if l.cfg.OpsToken.IsZero() {
		l.problem("OPS_TOKEN", "is not set, and OIDC_ISSUER is: sessions are signed with it, and it is the way in when the provider is away")
	}
	if l.cfg.OIDCClientID == "" {
		l.problem("OIDC_CLIENT_ID", "is not set, and OIDC_ISSUER is")
	}
	if u, ok := l.checkSecureURL("OIDC_REDIRECT_URL", l.cfg.OIDCRedirectURL); ok && u.Path != callbackPath {
		l.problem("OIDC_REDIRECT_URL", "does not end in %s, where the console waits", callbackPath)
	}
	if !slices.Contains(strings.Fields(l.cfg.OIDCScopes), "openid") {
		l.problem("OIDC_SCOPES", "openid is not among them")
	}
	if l.cfg.OIDCOperator == l.cfg.OIDCViewer {
		l.problem("OIDC_VIEWER_VALUE", "is the same as OIDC_OPERATOR_VALUE: viewers would be operators")
	}
}

// checkSecureURL is checkURL for what a secret is sent to.
func (l *loader) checkSecureURL(name, raw string) (*url.URL, bool) {
	u, ok := l.checkURL(name, raw)
	if ok && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		l.problem(name, "is http to another machine, which would send secrets in the clear")
		return nil, false
	}
	return u, ok
}
