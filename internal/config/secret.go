package config

import (
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a value that no log, error or dump shows.
type Secret struct{ value string }

// NewSecret wraps value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value, for the one place that needs it.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether there is no value.
func (s Secret) IsZero() bool { return s.value == "" }

// String returns a constant, or nothing when there is no value.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format is String, for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue is String, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, for JSON and other encodings.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// URL is an address that may carry a password. It prints without its user and options.
type URL struct{ value, shown string }

// Reveal returns the whole address, for whoever connects to it.
func (u URL) Reveal() string { return u.value }

// IsZero reports whether there is no address.
func (u URL) IsZero() bool { return u.value == "" }

// String returns the address without what may be secret.
func (u URL) String() string { return u.shown }

// GoString is String, for %#v.
func (u URL) GoString() string { return u.shown }

// Format is String, for every verb.
func (u URL) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(u.shown)) }

// LogValue is String, for slog.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.shown) }

// MarshalText is String, for JSON and other encodings.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.shown), nil }
