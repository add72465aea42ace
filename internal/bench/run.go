package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"esimflow/internal/message"
)

// run is one measurement, with workers and a publisher of its own.
type run struct {
	*stack
	number  int
	batch   batch
	workers []*process
	all     []*process // workers and the publisher

	figures Figures
	start   start
}

// start is how things were before the run.
type start struct {
	books   books
	results uint64 // last sequences of the streams
	letters uint64
	dead    int // rows of dead_letter
}

// do runs it: the figures, or why there are none.
func (s *stack) do(ctx context.Context, number int) (_ Run, err error) {
	tag := time.Now().UTC().Format("0102-150405.000")
	r := &run{stack: s, number: number, batch: batch{prefix: fmt.Sprintf("bench-%s-", tag), n: s.cfg.N, cfg: s.cfg}}
	r.figures = Figures{CPU: map[string]float64{}, PeakMemory: map[string]float64{}, StartMillis: map[string]float64{}, Tables: map[string]Table{}, Calls: map[string]float64{}}
	defer func() { err = errors.Join(err, r.stopAll()) }()
	if err := r.startAll(ctx); err != nil {
		return Run{}, err
	}
	if err := r.prepare(ctx, "warm-"+tag+"-"); err != nil {
		return Run{}, err
	}
	return r.measure(ctx)
}

// measure is the run itself.
func (r *run) measure(ctx context.Context) (Run, error) {
	if err := r.awaitQuiet(ctx); err != nil {
		return Run{}, err
	}
	release, err := r.hold(ctx)
	if err != nil {
		return Run{}, err
	}
	defer release()
	before, err := r.before(ctx)
	if err != nil {
		return Run{}, err
	}
	own, err := r.connect(ctx)
	if err != nil {
		return Run{}, err
	}
	defer func() { _ = own.Close(ctx) }()
	o, err := observe(ctx, r.js)
	if err != nil {
		return Run{}, err
	}
	defer o.stop()
	if err := r.profileAll(ctx, "profile-start"); err != nil {
		return Run{}, err
	}
	r.say("Run %d of %d: %d sagas …", r.number, r.cfg.Runs, r.cfg.N)

	used, err := r.usage(ctx)
	if err != nil {
		return Run{}, err
	}
	begin, err := r.release(ctx)
	if err != nil {
		return Run{}, err
	}
	var sent []time.Time
	var late time.Duration
	if r.cfg.Rate > 0 {
		if sent, late, err = r.batch.publishEvenly(ctx, r.js, r.cfg.Rate); err != nil {
			return Run{}, err
		}
		begin = sent[0]
	}
	if err := o.await(ctx, r.cfg.N, r.cfg.Progress); err != nil {
		return Run{}, err
	}
	if err := drained(ctx, own); err != nil {
		return Run{}, err
	}
	usedThen, err := r.usage(ctx)
	if err != nil {
		return Run{}, err
	}
	if err := r.profileAll(ctx, "profile-stop"); err != nil {
		return Run{}, err
	}
	r.spent(usedThen.minus(used))
	if err := r.memory(); err != nil {
		return Run{}, err
	}

	if err := errors.Join(r.stopAll(), own.Close(ctx), r.alone(ctx)); err != nil {
		return Run{}, err
	}
	after, err := r.after(ctx)
	if err != nil {
		return Run{}, err
	}
	d := after.minus(before)
	d.wal = usedThen.wal - used.wal
	r.counted(d)
	var done Run
	if r.cfg.Statements {
		if done.Statements, err = r.statements(ctx); err != nil {
			return Run{}, err
		}
	}
	results := o.read(r.batch)
	r.timed(begin, results, sent, late)
	done.Wrong, err = r.verify(ctx, results)
	done.Figures = r.figures
	return done, err
}

const deadLettersSQL = `
SELECT count(*)
FROM dead_letter`

// before notes how things are.
func (r *run) before(ctx context.Context) (c counters, err error) {
	conn, err := r.connect(ctx)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	if r.start.dead, err = one[int](ctx, conn, deadLettersSQL); err != nil {
		return c, err
	}
	if r.start.results, err = lastOf(ctx, r.js, message.EventsStream); err != nil {
		return c, err
	}
	if r.start.letters, err = lastOf(ctx, r.js, message.DeadLettersStream); err != nil {
		return c, err
	}
	if err := r.provider.ask(ctx, "books", &r.start.books); err != nil {
		return c, err
	}
	if r.cfg.Statements {
		if err := r.forget(ctx); err != nil {
			return c, err
		}
	}
	return readCounters(ctx, conn)
}

func (r *run) after(ctx context.Context) (c counters, err error) {
	conn, err := r.connect(ctx)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	return readCounters(ctx, conn)
}

func (r *run) profileAll(ctx context.Context, command string) error {
	if r.cfg.Profile == "" {
		return nil
	}
	for _, p := range append(slices.Clone(r.all), r.provider) {
		line := command
		if command == "profile-start" {
			path, err := filepath.Abs(filepath.Join(r.cfg.Profile, fmt.Sprintf("%s.run%d", p.name, r.number)))
			if err != nil {
				return fmt.Errorf("bench: %w", err)
			}
			line += " " + path
		}
		if err := p.ask(ctx, line, nil); err != nil {
			return err
		}
	}
	return nil
}

// stopAll stops workers, then the publisher. A second call does nothing.
func (r *run) stopAll() error {
	var errs []error
	for _, p := range slices.Clone(r.all) {
		errs = append(errs, p.stop())
	}
	r.all = nil
	return errors.Join(errs...)
}
