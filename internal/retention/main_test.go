package retention

import (
	"testing"

	"go.uber.org/goleak"

	"esimflow/internal/devstack"
)

func TestMain(m *testing.M) {
	ours := goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck")
	goleak.VerifyTestMain(devstack.Patient(m, func() error { return goleak.Find(ours) }), ours)
}
