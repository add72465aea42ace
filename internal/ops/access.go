package ops

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"time"
)

// Role is what somebody may do.
type Role string

// The roles. An operator may do what a viewer may.
const (
	Nobody   Role = ""         // not identified
	Viewer   Role = "viewer"   // reads everything but activation codes, and changes nothing
	Operator Role = "operator" // acts
)

// covers reports whether a role is enough where another is needed.
func (r Role) covers(need Role) bool {
	switch need {
	case Nobody:
		return true
	case Viewer:
		return r == Viewer || r == Operator
	case Operator:
		return r == Operator
	}
	return false
}

// How somebody has shown who they are.
const (
	howToken    = "token"    // one of the tokens
	howCLI      = "cli"      // one of the tokens, sent by esimctl
	howOIDC     = "oidc"     // the identity provider says so
	howLoopback = "loopback" // they are on this machine, and no token is asked for
)

// caller is who asks for something.
type caller struct {
	Name string // empty: what they do says who they are, or nobody knows
	Role Role
	How  string
}

// Access is who is let in.
type Access struct {
	Token       string // of operators; empty: none is asked for, and only loopback is answered
	ViewerToken string // of viewers; empty: there are none
	OIDC        OIDC
	Metrics     *Metrics
}

// guard is the one place where it is decided who may do what.
type guard struct {
	operator, viewer *[sha256.Size]byte // of the tokens; nil: there is none
	key              []byte             // that sessions are signed with
	attempts         *attempts
	metrics          *Metrics
}

var (
	errUnauthorized = errors.New("the token is missing or wrong: set OPS_TOKEN to the worker's")
	errNotLoopback  = errors.New("without a token the API answers loopback addresses only, and no web pages")
	errForbidden    = errors.New("this needs the role of an operator, and you have that of a viewer")
	errLimited      = errors.New("too many wrong tokens came from your address: wait a minute")
)

func newGuard(a Access) *guard {
	g := &guard{attempts: newAttempts(), metrics: a.Metrics}
	if a.Token == "" {
		return g
	}
	g.operator = digest(a.Token)
	if a.ViewerToken != "" {
		g.viewer = digest(a.ViewerToken)
	}
	m := hmac.New(sha256.New, []byte(a.Token))
	m.Write([]byte("esimflow console session 3"))
	for _, part := range []string{
		a.ViewerToken, a.OIDC.Issuer, a.OIDC.ClientID, a.OIDC.RoleClaim, a.OIDC.OperatorValue, a.OIDC.ViewerValue,
	} {
		sum := digest(part) // so that no two lists of parts read the same
		m.Write(sum[:])
	}
	g.key = m.Sum(nil)
	return g
}

func digest(s string) *[sha256.Size]byte {
	sum := sha256.Sum256([]byte(s))
	return &sum
}

// open reports whether no token is asked for.
func (g *guard) open() bool { return g.operator == nil }

// roleOf is the role that a token gives. It takes the same time whatever the token is.
func (g *guard) roleOf(token string) Role {
	given := digest(token)
	role := Nobody
	if g.viewer != nil && subtle.ConstantTimeCompare(given[:], g.viewer[:]) == 1 {
		role = Viewer
	}
	if g.operator != nil && subtle.ConstantTimeCompare(given[:], g.operator[:]) == 1 {
		role = Operator
	}
	return role
}

// knows is roleOf for whoever may try another time: the error is errUnauthorized or errLimited.
func (g *guard) knows(door, addr, token string) (Role, error) {
	role := Nobody
	ok, limited := g.attempts.try(addr, time.Now(), func() bool {
		role = g.roleOf(token)
		return role != Nobody
	})
	switch {
	case limited:
		g.metrics.refuse(door, refusedRate)
		return Nobody, errLimited
	case !ok:
		g.metrics.refuse(door, refusedSecret)
		return Nobody, errUnauthorized
	}
	return role, nil
}

// may reports whether somebody may use a route.
func (g *guard) may(door string, who caller, rt Route) error {
	if who.Role.covers(rt.Needs) {
		return nil
	}
	if who.Role == Nobody {
		return errUnauthorized
	}
	g.metrics.refuse(door, refusedRole)
	return errForbidden
}

// bearer says who sends a request to the API. Without a token the API is on loopback; then a
// page in a browser on the same machine must not be able to use it, so only a loopback Host is
// answered.
func (g *guard) bearer(r *http.Request) (caller, error) {
	if g.open() {
		if !loopbackHost(r.Host) || r.Header.Get("Origin") != "" {
			g.metrics.refuse(atAPI, refusedOrigin)
			return caller{}, errNotLoopback
		}
		return caller{Role: Operator, How: howLoopback}, nil
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		g.metrics.refuse(atAPI, refusedSecret)
		return caller{}, errUnauthorized
	}
	role, err := g.knows(atAPI, r.RemoteAddr, given)
	how := howToken
	if strings.HasPrefix(r.UserAgent(), CLIAgent) {
		how = howCLI
	}
	return caller{Role: role, How: how}, err
}

// CLIAgent begins the User-Agent of esimctl. It is what the sender says, and no proof.
const CLIAgent = "esimctl"
