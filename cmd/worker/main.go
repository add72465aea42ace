// Command worker takes requests from JetStream and drives their sagas. It takes
// everything from the environment (see docs/config.md) and runs until SIGTERM.
package main

import (
	"os"

	"esimflow/internal/app"
)

func main() { os.Exit(app.Main(app.WorkerProgram, os.Stderr)) }
