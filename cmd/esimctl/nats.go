package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"esimflow/internal/app"
	"esimflow/internal/config"
)

// natsTimeout is how long NATS is waited for: to connect, and for each answer.
const natsTimeout = 10 * time.Second

// withNATS connects to NATS, lets f work, and disconnects.
func (c *cli) withNATS(ctx context.Context, f func(ctx context.Context, cfg config.Config, js jetstream.JetStream) error) error {
	cfg, err := config.Load(c.lookup, config.Streams)
	if err != nil {
		return usagef("%w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	options := append(app.NATSSecurity(cfg), nats.Name("esimctl"), nats.Timeout(natsTimeout),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if denial, ok := app.DenialOf(err); ok {
				cancel(denial) // nobody will answer: there is nothing to wait for
				return
			}
			c.say("esimctl: NATS: %v", err)
		}))
	nc, err := nats.Connect(cfg.NATSURL.Reveal(), options...)
	if err != nil {
		return fmt.Errorf("NATS does not answer at %s: %w\nIs it running there? Set NATS_URL", cfg.NATSURL, err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(natsTimeout))
	if err != nil {
		return err
	}
	err = f(ctx, cfg, js)
	if denial, ok := errors.AsType[app.Denial](context.Cause(ctx)); ok && err != nil {
		return denial
	}
	return err
}
