package saga

import (
	"flag"
	"os"
	"testing"
)

// A law is worth more than a hundred tries, and these are quick.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("3000")
	}
	os.Exit(m.Run())
}
