package bench

import (
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
)

// profile writes what pprof reads: the CPU between start and stop, and all allocations
// since the process began, before (-diff_base) and after.
type profile struct {
	path string
	cpu  *os.File
}

// start begins; path is without the extension.
func (p *profile) start(path string) error {
	if err := allocations(path + ".allocs-before.pprof"); err != nil {
		return err
	}
	f, err := os.Create(path + ".cpu.pprof")
	if err != nil {
		return fmt.Errorf("bench: profile: %w", err)
	}
	p.path, p.cpu = path, f
	return pprof.StartCPUProfile(f) // the bench takes one at a time
}

func (p *profile) stop() error {
	pprof.StopCPUProfile()
	return errors.Join(p.cpu.Close(), allocations(p.path+".allocs.pprof"))
}

func allocations(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("bench: profile: %w", err)
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}
