package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"esimflow/internal/config"
)

// TestMain makes this test binary be esimctl when it is started as one: a bench starts its
// processes by the name of its own program, and the guide has a shell that knows it as esimctl.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "esimctl" || len(os.Args) > 1 && os.Args[1] == "bench" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(run(ctx, os.Args[1:], config.Environ(), os.Stdin, os.Stdout, os.Stderr)) //nolint:gocritic // the process ends here
	}
	os.Exit(m.Run())
}
