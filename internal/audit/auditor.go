package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"esimflow/internal/outbox"
	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// Provider is what the audit reads at PressOne.
type Provider interface {
	AllOrders(ctx context.Context, f pressone.OrderFilter) iter.Seq2[pressone.Order, error]
	Orders(ctx context.Context, f pressone.OrderFilter) ([]pressone.Order, error)
	Order(ctx context.Context, id int64) (pressone.Order, error)
}

// Gate says when PressOne may be read.
type Gate interface {
	ClosedFor(lane pressone.Lane) time.Duration
	Observe(ctx context.Context, lane pressone.Lane, err error) (closed bool, _ error)
}

// Config is what an Auditor works with.
type Config struct {
	DB        *pgxpool.Pool
	Store     *saga.Store
	Policy    saga.Policy
	Provider  Provider
	Gate      Gate
	Holder    string        // of this process, unique: for the lease
	Interval  time.Duration // from the end of a run to the next one
	Window    time.Duration // how far back a run reads
	Wake      func()        // called when a saga may be due
	Published func()        // called when the outbox has got something to publish
	Metrics   *Metrics
	Log       *slog.Logger
}

// Auditor runs audits, one at a time among all workers.
type Auditor struct {
	Config

	lease outbox.Leadership
	made  time.Time
	wake  chan struct{}
}

// New returns an auditor.
func New(cfg Config) *Auditor {
	return &Auditor{
		Config: cfg,
		lease:  outbox.Leadership{DB: cfg.DB, Name: "audit", Holder: cfg.Holder, TTL: leaseTTL},
		made:   time.Now(),
		wake:   make(chan struct{}, 1),
	}
}

const (
	// leaseTTL is how long an auditor that stopped keeps others waiting. It is renewed at
	// every page, which may wait for READ_TIMEOUT and its turn.
	leaseTTL = time.Minute
	// tick is how soon a run that another worker was asked for is seen.
	tick = 5 * time.Second
	// longestPause is the longest pause after trouble.
	longestPause = 5 * time.Minute
)

// errNotOurs says that another process is auditing, or has gone on with the run.
var errNotOurs = errors.New("audit: another worker is auditing")

// Run audits whenever it is time, or asked for, until ctx is cancelled.
func (a *Auditor) Run(ctx context.Context) {
	defer func() {
		done, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = a.lease.Resign(done) // it runs out anyway
	}()
	troubles := 0
	for ctx.Err() == nil {
		pause := tick
		switch err := a.turn(ctx); {
		case err == nil, errors.Is(err, errNotOurs):
			troubles = 0
		case ctx.Err() == nil:
			a.Log.WarnContext(ctx, "audit", "err", err)
			pause = min(tick<<min(troubles, 10), longestPause)
			troubles++
		}
		select {
		case <-ctx.Done():
		case <-a.wake:
		case <-time.After(pause):
		}
	}
}

// turn does what there is to do: a run to its end, at the most.
func (a *Auditor) turn(ctx context.Context) error {
	if err := a.settleOwned(ctx); err != nil {
		return err
	}
	if err := a.measure(ctx); err != nil {
		return err
	}
	if err := a.hold(ctx); err != nil {
		return err
	}
	run, ok, err := a.current(ctx)
	if err != nil || !ok {
		return err
	}
	why, err := a.tooEarly(ctx, later(run.From, run.Next))
	switch {
	case err != nil:
	case why != "":
		err = a.fail(ctx, run.ID, why)
	default:
		err = a.proceed(ctx, &run)
	}
	if err != nil && !errors.Is(err, errNotOurs) && ctx.Err() == nil {
		return errors.Join(err, a.note(ctx, run.ID, err.Error()))
	}
	return errors.Join(err, a.measure(ctx))
}

// hold takes or renews the lease.
func (a *Auditor) hold(ctx context.Context) error {
	held, err := a.lease.Acquire(ctx)
	if err == nil && !held {
		err = errNotOurs
	}
	return err
}

// Request asks for a run over the days from and to, both included; the zero time is the
// window. Somebody's run over the same days that has just begun is returned instead.
func (a *Auditor) Request(ctx context.Context, from, to time.Time, actor string) (Run, error) {
	now, err := a.Store.Now(ctx)
	if err != nil {
		return Run{}, err
	}
	if from.IsZero() {
		from = now.Add(-a.Window)
	}
	if to.IsZero() {
		to = now
	}
	from, to = day(from), day(to)
	switch {
	case to.Before(from):
		return Run{}, &RefusedError{fmt.Sprintf("the last day, %s, is before the first, %s", to.Format(time.DateOnly), from.Format(time.DateOnly))}
	case to.After(now.Add(48 * time.Hour)):
		return Run{}, &RefusedError{fmt.Sprintf("the last day, %s, is to come", to.Format(time.DateOnly))}
	case to.Sub(from) > longestWindow:
		return Run{}, &RefusedError{"more than 400 days: ask for them in parts"}
	}
	why, err := a.tooEarly(ctx, from)
	if err != nil {
		return Run{}, err
	}
	if why != "" {
		return Run{}, &RefusedError{why}
	}
	run, err := a.begin(ctx, from, to, actor)
	if err == nil {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
	return run, err
}

const longestWindow = 400 * 24 * time.Hour

// RefusedError says why a request is refused.
type RefusedError struct{ Why string }

// Error implements error.
func (e *RefusedError) Error() string { return "audit: refused: " + e.Why }

// current is the run to go on with: the oldest that is open, or a new one when it is time.
func (a *Auditor) current(ctx context.Context) (Run, bool, error) {
	open, err := a.runs(ctx, openRunSQL)
	if err != nil || len(open) > 0 {
		return first(open), len(open) > 0, err
	}
	due, err := a.due(ctx)
	if err != nil || !due {
		return Run{}, false, err
	}
	now, err := a.Store.Now(ctx)
	if err != nil {
		return Run{}, false, err
	}
	run, err := a.begin(ctx, day(now.Add(-a.Window)), day(now), "")
	return run, err == nil, err
}

// day is the UTC day of t, at midnight.
func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

const oneDay = 24 * time.Hour

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func first(all []Run) Run {
	if len(all) == 0 {
		return Run{}
	}
	return all[0]
}

// Audit returns a run and what it has found so far, or ErrNotFound.
func (a *Auditor) Audit(ctx context.Context, id uuid.UUID) (Report, error) {
	all, err := a.runs(ctx, getRunSQL, id)
	if err != nil {
		return Report{}, err
	}
	if len(all) == 0 {
		return Report{}, ErrNotFound
	}
	r := Report{Run: all[0]}
	r.Findings, err = a.findings(ctx, findingsOfRunSQL, id)
	return r, err
}
