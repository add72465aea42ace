package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"esimflow/internal/config"
	"esimflow/internal/saga"
	"esimflow/internal/seal"
)

// keysOf are the keys that what is secret is sealed under; nil if there are none.
func keysOf(cfg config.Config) (*seal.Keys, error) {
	keys, err := seal.New(rawKeys(cfg))
	if err != nil {
		return nil, fmt.Errorf("app: ENCRYPTION_KEY: %w", err)
	}
	return keys, nil
}

// rawKeys are the keys' bytes.
func rawKeys(cfg config.Config) [][]byte {
	var raw [][]byte
	for _, k := range cfg.EncryptionKeys {
		raw = append(raw, []byte(k.Reveal()))
	}
	return raw
}

// warnUnsealed says so where activation codes are stored as they are.
func warnUnsealed(ctx context.Context, keys *seal.Keys, log *slog.Logger) {
	if !keys.On() {
		log.WarnContext(ctx, "ENCRYPTION_KEY is not set: activation codes are stored as they are, which is for development only")
	}
}

func warnGuessable(ctx context.Context, cfg config.Config, log *slog.Logger) {
	for _, name := range cfg.Guessable() {
		log.WarnContext(ctx, "a token of fewer than 16 characters can be guessed by whoever has a session: use openssl rand -hex 32", "variable", name)
	}
}

// loadDigestKey reads what erased requests are recognised with, however long that takes. A worker whose keys do not open
// it goes on: it accepts nothing once anything was erased, and does all else.
func loadDigestKey(ctx context.Context, store *saga.Store, log *slog.Logger) {
	for ctx.Err() == nil {
		err := store.LoadDigestKey(ctx)
		if err == nil {
			return
		}
		if errors.Is(err, seal.ErrKeyMissing) || errors.Is(err, seal.ErrBroken) {
			log.ErrorContext(ctx, "erased requests cannot be recognised: no request is accepted if any was erased", "err", err)
			return
		}
		log.WarnContext(ctx, "waiting for the database", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}
