package app

import (
	stdlog "log"
	"log/slog"
	"strings"
)

// adoptLibraries has what libraries write to Go's own logger come out of ours. net/http quotes there what a server sent unasked,
// which may be an order with its activation codes: the quotation is left out.
func adoptLibraries(log *slog.Logger) {
	stdlog.SetFlags(0)
	stdlog.SetOutput(libraries{log})
}

type libraries struct{ log *slog.Logger }

// Write implements io.Writer.
func (l libraries) Write(p []byte) (int, error) {
	text, _, _ := strings.Cut(strings.TrimSpace(string(p)), ` starting with "`)
	l.log.Warn("a library says", "text", text) //nolint:sloglint // a callback without a context
	return len(p), nil
}
