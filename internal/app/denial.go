package app

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// Operation is what NATS may deny a user.
type Operation string

// The operations.
const (
	Publish   Operation = "publish"
	Subscribe Operation = "subscribe"
)

// Denial is what NATS has not let this user do. As an error it says so, and what to look at.
type Denial struct {
	Operation Operation
	Subject   string // as the server names it; empty if it does not
}

func (d Denial) Error() string {
	verb := "publish to"
	if d.Operation == Subscribe {
		verb = "subscribe to"
	}
	return fmt.Sprintf("NATS does not let this user %s %s: see the table of users in docs/nats.md, and NATS_INBOX_PREFIX", verb, d.Subject)
}

// denialPattern is the server's text, which is all that it sends.
var denialPattern = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) (?:to|with reply of) "([^"]*)"`)

// DenialOf reads an asynchronous error of a connection: whether it is a denial, and of what.
func DenialOf(err error) (Denial, bool) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return Denial{}, false
	}
	d := Denial{Operation: Publish}
	if m := denialPattern.FindStringSubmatch(err.Error()); m != nil {
		if d.Subject = m[2]; m[1] == "Subscription" || m[1] == "subscription" {
			d.Operation = Subscribe
		}
	}
	return d, true
}

func newDenied(reg prometheus.Registerer) *prometheus.CounterVec {
	denied := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "esimflow_nats_permission_denied_total",
		Help: "What NATS has not let this process do: its user lacks a permission. The log names the subject.",
	}, []string{"operation"})
	for _, o := range []Operation{Publish, Subscribe} {
		denied.WithLabelValues(string(o))
	}
	reg.MustRegister(denied)
	return denied
}
