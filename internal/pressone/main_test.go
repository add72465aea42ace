package pressone

import (
	"flag"
	"testing"

	"go.uber.org/goleak"

	"esimflow/internal/devstack"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	ours := goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck")
	goleak.VerifyTestMain(devstack.Patient(m, func() error { return goleak.Find(ours) }), ours)
}
