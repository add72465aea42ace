package app

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"esimflow/internal/config"
	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// wallClock is what a worker takes for the time of day. Tests set it to one that steps.
var wallClock = time.Now

// provider is PressOne as a worker has it.
type provider struct {
	client  *pressone.Client
	gate    *pressone.Gate
	limiter *pressone.Limiter
}

func newProvider(cfg config.Config, db *pgxpool.Pool, name string, reg prometheus.Registerer, tracing trace.TracerProvider, held func() bool, gateChanged func()) (*provider, error) {
	metrics := pressone.NewMetrics(reg)
	p := &provider{
		gate: pressone.NewGate(db, pressone.GateConfig{
			RetryInitial: cfg.RetryInitial, RetryMax: cfg.RetryMax, ProbeBudget: cfg.SubmitTimeout + cfg.LeaseTTL,
			Held: held, Holder: name, Metrics: metrics,
		}),
		limiter: pressone.NewLimiter(cfg.PressOneRate),
	}
	p.gate.OnChange(func(pressone.Lane) { gateChanged() })
	client := pressone.Config{
		BaseURL: cfg.PressOneBaseURL, ClientID: cfg.PressOneClientID, ClientSecret: cfg.PressOneClientSecret.Reveal(),
		ReadTimeout: cfg.ReadTimeout, NoEffectCodes: cfg.NoEffectCodes, Limiter: p.limiter, Metrics: metrics, Tracing: tracing, Now: wallClock,
	}
	fetch, err := pressone.NewFetch(client)
	if err != nil {
		return nil, fmt.Errorf("app: %w", err)
	}
	client.Tokens, err = pressone.NewSharedToken(pressone.SharedTokenConfig{
		DB: db, Fetch: fetch, Gate: p.gate, Keys: rawKeys(cfg), ClientID: cfg.PressOneClientID,
		ClientSecret: cfg.PressOneClientSecret.Reveal(), Holder: name, Metrics: metrics,
	})
	if err != nil {
		return nil, fmt.Errorf("app: %w", err)
	}
	if p.client, err = pressone.New(client); err != nil {
		return nil, fmt.Errorf("app: %w", err)
	}
	return p, nil
}

// followHints reads the gate when somebody has changed it, rather than at the
// next heartbeat.
func (p *provider) followHints(ctx context.Context, nc *nats.Conn, changed func()) error {
	hints := make(chan struct{}, 1)
	sub, err := nc.Subscribe(message.GateHint, func(*nats.Msg) {
		select {
		case hints <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return fmt.Errorf("app: %w", err)
	}
	go func() {
		defer func() { _ = sub.Unsubscribe() }()
		for {
			select {
			case <-ctx.Done():
				return
			case <-hints:
				_ = p.gate.Refresh(ctx) // the heartbeat does it too
				changed()
			}
		}
	}()
	return nil
}
