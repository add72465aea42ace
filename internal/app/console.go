package app

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

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
