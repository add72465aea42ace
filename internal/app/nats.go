package app

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"esimflow/internal/config"
)

// connectNATS connects, or keeps trying to: NATS may come later, and so may the right
// password or certificate. What it is denied is counted on reg, and told.
func connectNATS(cfg config.Config, name string, reg prometheus.Registerer, log *slog.Logger, told func(Denial)) (*nats.Conn, error) {
	w := &natsWatch{log: log, denied: newDenied(reg), told: told}
	options := append(NATSSecurity(cfg),
		nats.Name(name), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(500*time.Millisecond),
		// The library would close a connection for ever whose password was refused twice: a
		// rotation in the wrong order must not need a restart.
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(natsPing), nats.MaxPingsOutstanding(natsPings),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { w.asynchronous(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { w.unreachable(err) }),
		nats.ConnectHandler(func(*nats.Conn) { w.connected() }),
		nats.ReconnectHandler(func(*nats.Conn) { w.connected() }))
	nc, err := nats.Connect(cfg.NATSURL.Reveal(), options...)
	if err != nil {
		return nil, fmt.Errorf("app: NATS: %w", err)
	}
	return nc, nil
}

// NATSSecurity is what the configuration says about credentials, certificates and the inbox.
// The files are read again for every connection: what was renewed is used from the next
// one on.
func NATSSecurity(cfg config.Config) []nats.Option {
	var options []nats.Option
	if cfg.NATSInboxPrefix != "" {
		options = append(options, nats.CustomInboxPrefix(cfg.NATSInboxPrefix))
	}
	if cfg.NATSCreds != "" {
		options = append(options, nats.UserCredentials(cfg.NATSCreds))
	}
	if cfg.NATSCA != "" {
		options = append(options, nats.RootCAs(cfg.NATSCA))
	}
	if cfg.NATSCert != "" {
		options = append(options, nats.ClientCert(cfg.NATSCert, cfg.NATSKey))
	}
	return options
}

// natsProblem says why NATS is not connected, or nil.
func natsProblem(nc *nats.Conn) error {
	if nc.IsConnected() {
		return nil
	}
	if err := nc.LastError(); err != nil {
		return fmt.Errorf("app: NATS is %s: %w", nc.Status(), err)
	}
	return fmt.Errorf("app: NATS is %s", nc.Status())
}

// natsWatch tells what a connection says beside the answers.
type natsWatch struct {
	log    *slog.Logger
	denied *prometheus.CounterVec
	told   func(Denial) // of what was denied

	mu   sync.Mutex
	said time.Time // when it was last logged why it cannot connect; zero since it could
}

// asynchronous takes up an error that answers nothing. Of a publish that is denied this is
// the only word: whoever waits for its acknowledgement runs into a time-out.
func (w *natsWatch) asynchronous(err error) {
	d, ok := DenialOf(err)
	switch {
	case ok:
		w.denied.WithLabelValues(string(d.Operation)).Inc()
		w.log.Error("NATS denies it: see the table of users in docs/nats.md", //nolint:sloglint // a callback without a context
			"operation", string(d.Operation), "subject", d.Subject)
		w.told(d)
	case errors.Is(err, nats.ErrAuthorization):
		w.unreachable(err)
	default:
		w.log.Warn("nats", "err", err) //nolint:sloglint // a callback without a context
	}
}

// unreachableEvery is how often it is logged why NATS cannot be connected to: it is tried twice
// a second, and the reasons of several servers take turns.
const unreachableEvery = 10 * time.Second

func (w *natsWatch) unreachable(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.said.IsZero() || time.Since(w.said) >= unreachableEvery {
		w.said = time.Now()
		w.log.Warn("NATS cannot be connected to", "err", err) //nolint:sloglint // a callback without a context
	}
}

func (w *natsWatch) connected() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = time.Time{}
}
