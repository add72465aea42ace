package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
)

// Timing.
const (
	// Every is how often a worker has its turn.
	Every = 2 * time.Second
	// heldEvery is how often while nothing may be submitted.
	heldEvery = 250 * time.Millisecond
	// soon is how long after a turn the next one is, when something asks for it.
	soon = 50 * time.Millisecond
	// turnTimeout bounds a turn, askTimeout each question to NATS, unless the Config says otherwise.
	turnTimeout = 5 * time.Second
	askTimeout  = 2 * time.Second
	// deniedFor is how long a denial is taken for the answer.
	deniedFor = time.Minute
	// sayEvery is how often it is logged that NATS could not be asked.
	sayEvery = time.Minute
)

// Config is what a Witness works with.
type Config struct {
	DB        *pgxpool.Pool // whose connections have gone through Greet
	JetStream jetstream.JetStream
	Connected func() bool                     // to NATS
	Refresh   func(ctx context.Context) error // reads what is paused, before anything may be submitted
	Wake      func()                          // called when something may be
	Forsake   func()                          // called when what this worker has claimed is not to be submitted
	Metrics   *Metrics
	Log       *slog.Logger

	TurnTimeout time.Duration // bounds a turn; 0: five seconds
	AskTimeout  time.Duration // bounds each question to NATS; 0: two seconds
}

// Witness tells Postgres from an older Postgres: see the package's comment. A worker has one. It
// holds all submissions of its worker until it has had its first look.
type Witness struct {
	cfg     Config
	known   memory
	looked  atomic.Bool  // NATS was asked, or has no witness
	doubts  atomic.Int64 // connections that have shown less than is known…
	settled atomic.Int64 // …and how many of them a turn has dealt with
	again   chan struct{}
	denied  atomic.Int64          // when NATS has last denied it, in nanoseconds
	trouble atomic.Pointer[error] // why there was no turn, or NATS was not asked; nil: it was

	said    time.Time // when that was last logged
	foreign *Mark     // of another database, which was logged
}

// NewWitness returns a witness that holds everything. It can Greet; nothing else happens until
// Use and First.
func NewWitness() *Witness { return &Witness{again: make(chan struct{}, 1)} }

// Use gives it what it works with.
func (w *Witness) Use(cfg Config) {
	w.cfg = cfg
	w.cfg.TurnTimeout, w.cfg.AskTimeout = cmp.Or(cfg.TurnTimeout, turnTimeout), cmp.Or(cfg.AskTimeout, askTimeout)
}

// Held reports whether this worker must not submit anything, whatever else allows it.
func (w *Witness) Held() bool { return !w.looked.Load() || w.settled.Load() != w.doubts.Load() }

// Problem says why nothing is submitted, or nil.
func (w *Witness) Problem() error {
	if !w.Held() {
		return nil
	}
	why := errors.New("it is being asked")
	if p := w.trouble.Load(); p != nil {
		why = *p
	}
	return fmt.Errorf("restore: nothing is submitted before NATS has said whether Postgres has lost commits: %w", why)
}

const greetSQL = `
SELECT id, beat, losses
FROM witness`

// Greet looks at a connection before anybody uses it. After a failover all connections are new, so that
// nothing is claimed from a Postgres that shows less than this worker knows: submissions are held, and
// what was claimed is forsaken, until a turn has found out. It decides nothing itself, since
// the server may be a replica that is behind.
func (w *Witness) Greet(ctx context.Context, conn *pgx.Conn) error {
	row, losses := w.known.get() // before the question
	if row.Beat == 0 {
		return nil
	}
	var has Mark
	var found int64
	if err := conn.QueryRow(ctx, greetSQL).Scan(&has.Database, &has.Beat, &found); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if has.Database == row.Database && (has.lacks(row) > 0 || found != losses) {
		w.doubt()
	}
	select { // what others know NATS says
	case w.again <- struct{}{}:
	default:
	}
	return nil
}

func (w *Witness) doubt() {
	w.doubts.Add(1)
	w.cfg.Forsake()
}

// First has the first look, before anything is claimed or accepted. When NATS cannot be asked now, Run
// goes on trying, and nothing is submitted meanwhile.
func (w *Witness) First(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.TurnTimeout)
	defer cancel()
	for err := w.try(ctx); errors.Is(err, errTurn) && ctx.Err() == nil; err = w.try(ctx) {
		select {
		case <-ctx.Done():
		case <-time.After(soon):
		}
	}
}

// Run takes its turns until ctx is cancelled.
func (w *Witness) Run(ctx context.Context) {
	timer := time.NewTimer(w.wait())
	defer timer.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.again:
			timer.Reset(time.Until(last.Add(soon))) // a turn may need a new connection itself
			continue
		case <-timer.C:
		}
		_ = w.try(ctx) // it is said
		last = time.Now()
		timer.Reset(w.wait())
	}
}

func (w *Witness) wait() time.Duration {
	if w.Held() {
		return heldEvery
	}
	return Every
}

// try has a turn, and ends the hold if that has shown that it can. The error is why it has not
// shown that; errTurn is nothing to worry about.
func (w *Witness) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.TurnTimeout)
	defer cancel()
	held, doubts := w.Held(), w.doubts.Load()
	o, err := w.turn(ctx)
	if err != nil {
		return w.complain(ctx, err)
	}
	if o.lost > 0 || o.found {
		if !held {
			w.doubt()
			doubts = w.doubts.Load()
		}
		held = true
	}
	if held {
		if err := w.cfg.Refresh(ctx); err != nil { // what is paused now
			return w.complain(ctx, err)
		}
		w.settled.Store(doubts)
		if o.asked == nil || unwitnessed(o.asked) {
			w.looked.Store(true)
		}
		if !w.Held() {
			w.cfg.Wake()
		}
	}
	return w.complain(ctx, o.asked)
}

// complain keeps why there was no look, and says it once in a while.
func (w *Witness) complain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		w.trouble.Store(nil)
		w.said = time.Time{}
		return nil
	case errors.Is(err, errTurn), ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled):
		return err
	}
	w.trouble.Store(&err)
	if time.Since(w.said) >= sayEvery {
		w.said = time.Now()
		w.cfg.Log.WarnContext(ctx, "it cannot be told whether Postgres has lost commits: see ESIM_WITNESS in docs/nats.md", "err", err, "submitting", !w.Held())
	}
	return err
}
