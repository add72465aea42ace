package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"esimflow/internal/config"
	"esimflow/internal/message"
	"esimflow/internal/ops"
)

// lagTimeout is how long an operator waits for JetStream to say what waits there.
const lagTimeout = 2 * time.Second

// intakeLag asks JetStream what waits on the stream of requests.
func intakeLag(js jetstream.JetStream) func(context.Context) ([]ops.IntakeLag, error) {
	return func(ctx context.Context) ([]ops.IntakeLag, error) {
		ctx, cancel := context.WithTimeout(ctx, lagTimeout)
		defer cancel()
		var all []ops.IntakeLag
		for _, k := range message.Kinds() {
			c, err := js.Consumer(ctx, message.RequestsStream, message.Consumer(k))
			if err != nil {
				return nil, fmt.Errorf("app: consumer of %s: %w", k, err)
			}
			i := c.CachedInfo() // it is as old as the consumer's handle: new
			all = append(all, ops.IntakeLag{Consumer: i.Name, Waiting: i.NumPending, InHand: i.NumAckPending, Redelivers: i.NumRedelivered})
		}
		return all, nil
	}
}

// accessOf is who is let in to the console and the API.
func accessOf(cfg config.Config, m *ops.Metrics) ops.Access {
	return ops.Access{
		Token: cfg.OpsToken.Reveal(), ViewerToken: cfg.ViewerToken.Reveal(), Metrics: m,
		OIDC: ops.OIDC{
			Issuer: cfg.OIDCIssuer, ClientID: cfg.OIDCClientID, ClientSecret: cfg.OIDCClientSecret.Reveal(), RedirectURL: cfg.OIDCRedirectURL,
			Scopes: strings.Fields(cfg.OIDCScopes), RoleClaim: cfg.OIDCRoleClaim, OperatorValue: cfg.OIDCOperator, ViewerValue: cfg.OIDCViewer,
		},
	}
}
