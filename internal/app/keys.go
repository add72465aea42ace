package app

import (
	"context"
	"fmt"
	"log/slog"

	"esimflow/internal/config"
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
