package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// process is a process of the bench, as the bench sees it.
type process struct {
	name    string
	cmd     *exec.Cmd
	in      io.WriteCloser // its end is the process's
	answers chan []byte    // lines; closed when there are no more
	logFile string
	begun   time.Time
	telling started
	ready   string // the address of /readyz; empty where there is none

	stopping atomic.Bool
	ended    chan struct{} // closed when it has ended
	err      error         // how; read it after ended
}

// launcher starts processes, and hears of those that end by themselves.
type launcher struct {
	program string // this one
	logs    string // directory
	env     []string
	died    context.CancelCauseFunc // told why, when one dies
}

// start starts a process and waits until it says where it is to be found.
func (l *launcher) start(ctx context.Context, kind, name string, t task, env []string) (*process, error) {
	p := &process{name: name, answers: make(chan []byte, 1), ended: make(chan struct{}), logFile: filepath.Join(l.logs, name+".log")}
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer func() { _ = log.Close() }() // the process has it
	// Not CommandContext: it is asked to stop, and its standard input is its life line.
	p.cmd = exec.Command(l.program, ProcessCommand(kind)...) //nolint:noctx // see above
	p.cmd.Env = append(append([]string(nil), l.env...), env...)
	p.cmd.Stderr = log
	// A group of its own: Ctrl-C reaches the bench, which stops its processes in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	p.begun = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("bench: start %s: %w", name, err)
	}
	go p.follow(out, l.died)
	err = p.send(t)
	if err == nil {
		err = p.receive(ctx, &p.telling)
	}
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// follow reads what the process says until it ends.
func (p *process) follow(out io.Reader, died context.CancelCauseFunc) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		p.answers <- append([]byte(nil), lines.Bytes()...)
	}
	close(p.answers)
	p.err = p.cmd.Wait()
	if !p.stopping.Load() {
		died(p.death())
	}
	close(p.ended)
}

func (p *process) death() error {
	return fmt.Errorf("bench: %s has ended: %w; its log, %s, ends:\n%s", p.name, cmpErr(p.err), p.logFile, tail(p.logFile))
}

// cmpErr is err, or that there was none: nobody had asked it to end.
func cmpErr(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// tail is the end of a file.
func tail(path string) string {
	const most = 2500
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	text := string(b)
	if len(text) > most {
		_, text, _ = strings.Cut(text[len(text)-most:], "\n") // whole lines
	}
	return strings.TrimSpace(text)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) send(v any) error {
	if err := json.NewEncoder(p.in).Encode(v); err != nil {
		return fmt.Errorf("bench: tell %s: %w", p.name, err)
	}
	return nil
}

// receive reads the next line.
func (p *process) receive(ctx context.Context, into any) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case line, ok := <-p.answers:
		if !ok {
			<-p.ended
			return p.death()
		}
		if err := json.Unmarshal(line, into); err != nil {
			return fmt.Errorf("bench: %s says %q: %w", p.name, line, err)
		}
		return nil
	}
}

// ask sends a command and reads its answer into value, unless that is nil.
func (p *process) ask(ctx context.Context, command string, value any) error {
	if _, err := io.WriteString(p.in, command+"\n"); err != nil {
		return fmt.Errorf("bench: tell %s: %w", p.name, err)
	}
	var answer struct {
		Error string          `json:"error"`
		Value json.RawMessage `json:"value"`
	}
	if err := p.receive(ctx, &answer); err != nil {
		return err
	}
	if answer.Error != "" {
		return fmt.Errorf("bench: %s: %s", p.name, answer.Error)
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, value)
}

// stopTimeout is how long a process may take to stop before it is killed.
const stopTimeout = 15 * time.Second

// stop ends the process in good order. A second call does nothing.
func (p *process) stop() error {
	p.stopping.Store(true)
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
		_ = p.in.Close()
		return nil
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("bench: %s did not stop within %v", p.name, stopTimeout)
	}
}

// passed are the variables of this process that its processes get too: where they find
// things, and how Go runs. Nothing that leads anywhere else.
func passed(getenv func(string) string) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "TZ", "GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GODEBUG", "GORACE", "GOTRACEBACK"} {
		if value := getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}
