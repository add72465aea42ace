// Command publisher relays the outbox to JetStream. One is active, the others stand by.
// It takes everything from the environment (see docs/config.md) and runs until SIGTERM.
package main

import (
	"os"

	"esimflow/internal/app"
)

func main() { os.Exit(app.Main(app.PublisherProgram, os.Stderr)) }
