package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"esimflow/internal/app"
)

// clockVariable names the file that says how far a worker's wall clock is off, in
// nanoseconds. It is read whenever the time is asked for, so that the clock can step.
const clockVariable = "ESIMFLOW_TEST_CLOCK"

// steppedClock is a wall clock and nothing more: it has no monotonic reading, so whoever
// measures with it is misled by its steps.
func steppedClock(path string) func() time.Time {
	return func() time.Time {
		text, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		offset, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			panic(err)
		}
		return time.Now().Round(0).Add(time.Duration(offset))
	}
}

// campaignProgram is a worker or a publisher as a process that is killed and started
// again.
type campaignProgram struct {
	c     *campaign
	kind  app.Program
	name  string
	env   []string
	clock string // a worker's: the file with its clock's offset
	log   *campaignLog

	mu      sync.Mutex
	cmd     *exec.Cmd     // nil when it does not run
	ended   chan struct{} // closed when it has ended
	ending  bool          // it is we who end it
	shot    bool          // with SIGKILL
	lasting error         // how it ended
}

func (p *campaignProgram) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return nil
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), programVariable+"="+string(p.kind)), p.env...)
	cmd.Stderr = p.log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	ended := make(chan struct{})
	p.cmd, p.ended, p.ending, p.shot = cmd, ended, false, false
	go func() {
		defer close(ended)
		err := cmd.Wait()
		p.log.gone()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cmd, p.lasting = nil, err
		if !p.ending {
			p.c.problem("%s ended by itself: %v", p.name, err)
		}
	}()
	return nil
}

// end signals it, and returns what is closed when it has ended; nil if it does not run.
func (p *campaignProgram) end(s os.Signal) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	p.ending, p.shot = true, p.shot || s == syscall.SIGKILL
	_ = p.cmd.Process.Signal(s) // it may have ended a moment ago
	return p.ended
}

// kill ends it at once.
func (p *campaignProgram) kill() {
	if ended := p.end(syscall.SIGKILL); ended != nil {
		<-ended
	}
}

// terminate asks it to stop, and expects that it does and that it exits 0.
func (p *campaignProgram) terminate() error {
	ended := p.end(syscall.SIGTERM)
	if ended == nil {
		return nil
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		p.signal(syscall.SIGQUIT) // prints where it hangs
		p.kill()
		return fmt.Errorf("%s did not stop", p.name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	exit, signalled := errors.AsType[*exec.ExitError](p.lasting)
	if signalled {
		// It may have been killed while it stopped, or asked before it could listen.
		status, ok := exit.Sys().(syscall.WaitStatus)
		signalled = ok && (p.shot || status.Signal() == syscall.SIGTERM)
	}
	if p.lasting != nil && !signalled {
		return fmt.Errorf("%s was asked to stop: %w", p.name, p.lasting)
	}
	return nil
}

// signal sends a signal that does not end it.
func (p *campaignProgram) signal(s os.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(s)
	}
}

// step sets a worker's wall clock.
func (p *campaignProgram) step(offset time.Duration) error {
	// In one step: the worker must not read half a number.
	next := p.clock + ".next"
	if err := os.WriteFile(next, strconv.AppendInt(nil, int64(offset), 10), 0o600); err != nil {
		return err
	}
	return os.Rename(next, p.clock)
}

// campaignLog is what a program logs, over all its lives: whole in a file, and its end in
// memory.
type campaignLog struct {
	c    *campaign
	name string
	file *os.File

	mu      sync.Mutex
	partial []byte
	recent  []string
	address string
}

const campaignTail = 400 // lines

func newCampaignLog(c *campaign, name, path string) *campaignLog {
	c.t.Helper()
	file, err := os.Create(path)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = file.Close() })
	return &campaignLog{c: c, name: name, file: file}
}

var (
	campaignAPI = regexp.MustCompile(`msg="worker started".* api=(\S+)`)
	// What no process may ever print.
	campaignAlarm = regexp.MustCompile(`^(panic: |fatal error: |WARNING: DATA RACE)`)
)

// Write implements io.Writer.
func (l *campaignLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, b...)
	for {
		line, rest, whole := bytes.Cut(l.partial, []byte("\n"))
		if !whole {
			break
		}
		l.line(string(line))
		l.partial = rest
	}
	return l.file.Write(b)
}

func (l *campaignLog) line(text string) {
	if l.recent = append(l.recent, text); len(l.recent) > 2*campaignTail {
		l.recent = append([]string(nil), l.recent[campaignTail:]...)
	}
	if m := campaignAPI.FindStringSubmatch(text); m != nil {
		l.address = m[1]
	}
	if campaignAlarm.MatchString(text) {
		l.c.problem("%s: %s", l.name, text)
	}
}

// gone forgets what was true of a process that has ended.
func (l *campaignLog) gone() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial, l.address = nil, ""
}

// api is the address of a worker's API; empty when it does not serve it.
func (l *campaignLog) api() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.address
}

// tail returns the last n lines, or, with a word, the last n lines that have it in them.
func (l *campaignLog) tail(n int, word string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for _, line := range l.recent {
		if strings.Contains(line, word) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// whole returns all that was logged.
func (l *campaignLog) whole() (string, error) {
	text, err := os.ReadFile(l.file.Name())
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return string(text), err
}
