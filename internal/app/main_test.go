package app_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"esimflow/internal/app"
)

// programVariable makes this test binary be one of the programs: what is to be killed has
// to be a process of its own.
const programVariable = "ESIMFLOW_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if p := os.Getenv(programVariable); p != "" {
		os.Exit(app.Main(app.Program(p), os.Stderr))
	}
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"),
	)
}
