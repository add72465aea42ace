package message_test

import (
	"testing"

	"go.uber.org/goleak"

	"esimflow/internal/devstack"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(devstack.Patient(m, func() error { return goleak.Find() }))
}
