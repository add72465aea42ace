package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"esimflow/internal/app"
	"esimflow/internal/devstack"
	"esimflow/internal/pressonesim"
)

// The processes of a bench, as figures name them.
const (
	workerProcess    = "worker"
	publisherProcess = "publisher"
	natsProcess      = "nats"
	providerProcess  = "provider"
	postgresProcess  = "postgres" // devstack's
	benchProcess     = "bench"    // this one
)

// ProcessCommand is the command line, after the program's name, that must lead to
// [Process]; the process's name is its last word.
func ProcessCommand(name string) []string { return []string{"bench", "process", name} }

// task is the first line that a process reads: what it is to do.
type task struct {
	Dir          string        `json:"dir,omitempty"`            // nats
	Latency      time.Duration `json:"latency,omitempty"`        // provider
	FirstOrderID int           `json:"first_order_id,omitempty"` // provider
	ESIMs        int           `json:"esims,omitempty"`          // provider: how many can be topped up
}

// started is the first line that a process writes: where to find it, if it chose that itself.
type started struct {
	URL string `json:"url,omitempty"` // nats, provider
}

// books is the simulator's answer to "books".
type books struct {
	Sold     int                          `json:"sold"`
	Doubles  int                          `json:"doubles"`
	Requests map[pressonesim.Endpoint]int `json:"requests"`
}

// Process is one process of a bench, until ctx is cancelled. It is told on in, a line at a
// time, and answers on out. When in ends, so does the process, at once and however busy it
// is: whoever started it is gone.
func Process(ctx context.Context, name string, in io.Reader, out, errOut io.Writer) error {
	c := &child{lines: bufio.NewScanner(in), out: out, errOut: errOut, commands: map[string]func(string) (any, error){}}
	var t task
	if !c.lines.Scan() {
		return fmt.Errorf("bench: %s is started by esimctl bench only", name)
	}
	if err := json.Unmarshal(c.lines.Bytes(), &t); err != nil {
		return fmt.Errorf("bench: %s: %w", name, err)
	}
	switch name {
	case natsProcess:
		return c.nats(ctx, t)
	case providerProcess:
		return c.provider(ctx, t)
	case workerProcess:
		return c.program(app.WorkerProgram) //nolint:contextcheck // it hears of SIGTERM by itself
	case publisherProcess:
		return c.program(app.PublisherProgram) //nolint:contextcheck // it hears of SIGTERM by itself
	}
	return fmt.Errorf("bench: there is no process %q", name)
}

// child is the process's side of its connection with the bench.
type child struct {
	lines       *bufio.Scanner
	out, errOut io.Writer
	commands    map[string]func(argument string) (any, error)
	profile     profile

	mu sync.Mutex // of out
}

// serve says where the process is to be found, and answers from then on.
func (c *child) serve(s started) error {
	c.commands["profile-start"] = func(path string) (any, error) { return nil, c.profile.start(path) }
	c.commands["profile-stop"] = func(string) (any, error) { return nil, c.profile.stop() }
	if err := c.say(s); err != nil {
		return err
	}
	go func() {
		for c.lines.Scan() {
			if err := c.say(c.answer(c.lines.Text())); err != nil {
				break
			}
		}
		// Whoever held the other end is gone, whether by kill -9 or otherwise: nobody is left
		// to be told, and nothing here is worth finishing.
		os.Exit(1)
	}()
	return nil
}

// reply is the answer to a command.
type reply struct {
	Error string `json:"error,omitempty"`
	Value any    `json:"value,omitempty"`
}

func (c *child) answer(line string) reply {
	name, argument, _ := strings.Cut(line, " ")
	f, ok := c.commands[name]
	if !ok {
		return reply{Error: fmt.Sprintf("bench: there is no command %q", name)}
	}
	v, err := f(argument)
	if err != nil {
		return reply{Error: err.Error()}
	}
	return reply{Value: v}
}

func (c *child) say(v any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return json.NewEncoder(c.out).Encode(v)
}

func (c *child) nats(ctx context.Context, t task) error {
	s, err := devstack.StartNATS(devstack.NATSConfig{Dir: t.Dir})
	if err != nil {
		return err
	}
	defer s.Stop()
	if err := c.serve(started{URL: s.URL()}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// plenty is a balance that no bench uses up, in cents.
const plenty = 1 << 50

func (c *child) provider(ctx context.Context, t task) error {
	debug.SetGCPercent(400) // it is not what is measured, and shares the machine
	cfg := pressonesim.Config{
		Balance: plenty, FirstOrderID: t.FirstOrderID,
		Knobs: pressonesim.Knobs{
			Latency: t.Latency,
			Limits:  map[pressonesim.Endpoint]pressonesim.Limit{pressonesim.Token: {}},
		},
	}
	for i := range t.ESIMs {
		cfg.Sims = append(cfg.Sims, pressonesim.ESIM{ICCID: iccid(i)})
	}
	s, err := pressonesim.Start(cfg) //nolint:contextcheck // it ends by Close
	if err != nil {
		return err
	}
	defer s.Close()
	c.commands["books"] = func(string) (any, error) {
		return books{Sold: s.SoldCount(), Doubles: len(s.Ledger().Doubles()), Requests: s.RequestCounts()}, nil
	}
	if err := c.serve(started{URL: s.URL()}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// program is cmd/worker or cmd/publisher, which do nothing else than this.
func (c *child) program(p app.Program) error {
	if err := c.serve(started{}); err != nil {
		return err
	}
	if code := app.Main(p, c.errOut); code != 0 {
		return fmt.Errorf("bench: %s: exit code %d", p, code)
	}
	return nil
}
