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
func (p *profile) start(path string) (err error) {
	if p.cpu != nil {
		return errors.New("bench: a profile is being taken already")
	}
	if err := allocations(path + ".allocs-before.pprof"); err != nil {
		return err
	}
	f, err := os.Create(path + ".cpu.pprof")
	if err != nil {
		return fmt.Errorf("bench: profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(fmt.Errorf("bench: profile: %w", err), f.Close())
	}
	p.path, p.cpu = path, f
	return nil
}

func (p *profile) stop() error {
	if p.cpu == nil {
		return errors.New("bench: no profile is being taken")
	}
	pprof.StopCPUProfile()
	err := p.cpu.Close()
	p.cpu = nil
	return errors.Join(err, allocations(p.path+".allocs.pprof"))
}

func allocations(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("bench: profile: %w", err)
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}
