package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// clockTick is how long a tick in /proc is, in seconds: USER_HZ, which Linux never changes.
const clockTick = 0.01

// procStat is a line of /proc/PID/stat: CPU in seconds.
type procStat struct {
	parent   int
	own      float64 // user and system
	children float64 // of those that have ended and been waited for
}

func parseStat(text string) (procStat, error) {
	// The name, in parentheses, may hold anything, parentheses too.
	i := strings.LastIndexByte(text, ')')
	fields := strings.Fields(text[i+1:])
	if i < 0 || len(fields) < 15 {
		return procStat{}, fmt.Errorf("bench: no line of /proc/PID/stat: %q", text)
	}
	n := make([]float64, 5)
	var errs []error
	for j, at := range []int{1, 11, 12, 13, 14} {
		var err error
		n[j], err = strconv.ParseFloat(fields[at], 64)
		errs = append(errs, err)
	}
	return procStat{parent: int(n[0]), own: (n[1] + n[2]) * clockTick, children: (n[3] + n[4]) * clockTick}, errors.Join(errs...)
}

func readStat(pid int) (procStat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, fmt.Errorf("bench: %w", err)
	}
	return parseStat(string(b))
}

// cpuOf is the CPU that a process has used, in seconds.
func cpuOf(pid int) (float64, error) {
	s, err := readStat(pid)
	return s.own, err
}

// cpuOfFamily is that of a process and all its children, those that have ended included.
// Grandchildren are left out: Postgres has none.
func cpuOfFamily(pid int) (float64, error) {
	parent, err := readStat(pid)
	if err != nil {
		return 0, err
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	sum := parent.own + parent.children
	for _, dir := range dirs {
		id, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		// One that ends now is missed; the next reading finds it with its parent.
		if s, err := readStat(id); err == nil && s.parent == pid {
			sum += s.own
		}
	}
	return sum, nil
}

// peakMemory is the most that a process has had in memory, in bytes.
func peakMemory(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	return parsePeak(string(b))
}

func parsePeak(status string) (float64, error) {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			return kib * 1024, err
		}
	}
	return 0, errors.New("bench: no VmHWM in /proc/PID/status")
}

// machineTime is the CPU of the whole machine since it was started, in seconds.
type machineTime struct {
	busy  float64 // of whatever ran here
	stole float64 // by other machines on the same host
}

func parseMachine(stat string) (machineTime, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return machineTime{}, fmt.Errorf("bench: no line of /proc/stat: %q", line)
	}
	var m machineTime
	for i, field := range fields[1:9] { // user nice system idle iowait irq softirq steal
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return machineTime{}, fmt.Errorf("bench: /proc/stat: %w", err)
		}
		switch i {
		case 3, 4:
		case 7:
			m.stole = n * clockTick
		default:
			m.busy += n * clockTick
		}
	}
	return m, nil
}

func readMachine() (machineTime, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machineTime{}, fmt.Errorf("bench: %w", err)
	}
	return parseMachine(string(b))
}
