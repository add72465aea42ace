package app_test

import (
	"flag"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"esimflow/internal/app"
	"esimflow/internal/devstack"
)

// programVariable makes this test binary be one of the programs: what is to be killed has
// to be a process of its own.
const programVariable = "ESIMFLOW_TEST_PROGRAM"

func TestMain(m *testing.M) {
	app.NoBalance() // tests count calls, and kill at them
	app.PatientWitness()
	if p := os.Getenv(programVariable); p != "" {
		if clock := os.Getenv(clockVariable); clock != "" {
			app.SetWallClock(steppedClock(clock))
		}
		if d, err := time.ParseDuration(os.Getenv(silenceVariable)); err == nil {
			app.SetPostgresSilence(d)
		}
		os.Exit(app.Main(app.Program(p), os.Stderr))
	}
	leaks := []goleak.Option{goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck")}
	// toxiproxy leaves a pump behind when a connection ends while there are data in it, and
	// then whoever waits for that pump.
	for _, f := range []string{
		"/toxics.(*ToxicStub).Run", ".(*ToxicLink).read", ".(*ToxicLink).write", ".(*ToxicLink).AddToxic", ".(*ToxicLink).RemoveToxic",
		".(*ToxicCollection).AddToxicJson", ".(*ToxicCollection).RemoveToxic", ".(*Proxy).Stop", ".(*Proxy).server", ".(*Proxy).freeBlocker",
	} {
		leaks = append(leaks, goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2"+f))
	}
	patiently()
	goleak.VerifyTestMain(devstack.Patient(m, func() error { return goleak.Find(leaks...) }), leaks...)
}

// patiently runs more tests at a time than there are processors, unless told otherwise:
// most of what they do is wait.
func patiently() {
	flag.Parse()
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "test.parallel" })
	if told {
		return
	}
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
}
