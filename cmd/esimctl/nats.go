package main

import (
	"context"
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
	options := append(app.NATSSecurity(cfg), nats.Name("esimctl"), nats.Timeout(natsTimeout),
		// A denied permission is reported here, and as a time-out there.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.say("esimctl: NATS: %v", err) }))
	nc, err := nats.Connect(cfg.NATSURL.Reveal(), options...)
	if err != nil {
		return fmt.Errorf("NATS does not answer at %s: %w\nIs it running there? Set NATS_URL", cfg.NATSURL, err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(natsTimeout))
	if err != nil {
		return err
	}
	return f(ctx, cfg, js)
}
