// Command esimctl is what operators and developers type: the schema, the streams,
// requests, sagas, dead letters, and the simulator.
//
// What acts on sagas asks a worker's API; what concerns the schema or the streams talks to
// Postgres or NATS itself. Data goes to stdout, talk to stderr, so that output can be
// piped; with --json it is JSON. The exit codes are in exit.go. Activation codes are shown
// only where somebody asks for them with --reveal.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"esimflow/internal/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the program at once
	os.Exit(run(ctx, os.Args[1:], config.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
