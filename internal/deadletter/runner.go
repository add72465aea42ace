package deadletter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/outbox"
)

// ReplayerConfig is what a Replayer works with.
type ReplayerConfig struct {
	Desk   *Desk
	Holder string // of this process, unique: for the lease
	// Second is what rates count in. Default: a second.
	Second time.Duration
	// PurseAge is for how long a balance is gone by. Default 5s.
	PurseAge time.Duration
}

// Replayer gives the letters of replays their turns. One worker does so at a time: the one
// with the lease. What is done is in rows, so when it dies, another goes on, and what both
// should do at once is done once: see move.
type Replayer struct {
	ReplayerConfig

	lease outbox.Leadership
	held  time.Time // when the lease was renewed last
	purse purse
	jobs  map[uuid.UUID]*progress
}

// progress is what the holder remembers of a replay. It may be forgotten at any moment.
type progress struct {
	pace    pace
	next    time.Time // the next second's beginning
	cleared []string  // packages whose canary has completed
	note    string
}

// NewReplayer returns a replayer.
func NewReplayer(cfg ReplayerConfig) *Replayer {
	if cfg.Second <= 0 {
		cfg.Second = time.Second
	}
	if cfg.PurseAge <= 0 {
		cfg.PurseAge = 5 * time.Second
	}
	return &Replayer{
		ReplayerConfig: cfg,
		lease:          outbox.Leadership{DB: cfg.Desk.DB, Name: "replay", Holder: cfg.Holder, TTL: replayLease},
		jobs:           map[uuid.UUID]*progress{},
	}
}

// replayLease is how long a worker that died keeps others waiting.
const replayLease = 10 * time.Second

// longestPause is the longest pause after trouble.
const longestPause = 15 * time.Second

// errNotHolder says that another worker gives the turns.
var errNotHolder = errors.New("deadletter: another worker is replaying")

// Run works on replays until ctx is cancelled.
func (r *Replayer) Run(ctx context.Context) {
	defer func() {
		done, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = r.lease.Resign(done) // it runs out anyway
	}()
	tick := time.NewTicker(r.Second)
	defer tick.Stop()
	for troubles := 0; ctx.Err() == nil; {
		switch err := r.turn(ctx); {
		case err == nil, errors.Is(err, errNotHolder):
			troubles = 0
		case ctx.Err() == nil:
			r.Desk.Log.WarnContext(ctx, "replay", "err", err)
			troubles++
			select {
			case <-ctx.Done():
			case <-time.After(min(r.Second<<min(troubles, 10), longestPause)):
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-r.Desk.started:
		}
	}
}

const runningSQL = `
SELECT` + replayColumns + `
FROM replay
WHERE state = 'running'
ORDER BY created_at
LIMIT 100`

// turn gives every replay its second. What goes wrong with one does not keep others from
// theirs.
func (r *Replayer) turn(ctx context.Context) error {
	rows, err := r.Desk.DB.Query(ctx, runningSQL)
	if err != nil {
		return fmt.Errorf("deadletter: running: %w", err)
	}
	running, err := pgx.CollectRows(rows, pgx.RowToStructByName[Replay])
	switch {
	case err != nil:
		return fmt.Errorf("deadletter: running: %w", err)
	case len(running) == 0:
		r.forget()
		return nil
	}
	r.held = time.Time{}
	if err := r.hold(ctx); err != nil {
		r.forget()
		return err
	}
	maps.DeleteFunc(r.jobs, func(id uuid.UUID, _ *progress) bool {
		return !slices.ContainsFunc(running, func(job Replay) bool { return job.ID == id })
	})
	var errs []error
	for _, job := range running {
		p := r.jobs[job.ID]
		if p == nil {
			p = &progress{}
			r.jobs[job.ID] = p
			r.purse = purse{} // whoever started it may have paid in a moment before
		}
		if time.Now().Before(p.next) {
			continue
		}
		p.next = time.Now().Add(r.Second - r.Second/10) // the ticker sets the pace
		if err := r.beat(ctx, job, p); err != nil {
			errs = append(errs, err)
		}
		if errors.Is(err, errNotHolder) || ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// forget forgets what only the holder may go by.
func (r *Replayer) forget() {
	clear(r.jobs)
	r.purse = purse{}
}

// hold takes or renews the lease, if that was not done a moment ago.
func (r *Replayer) hold(ctx context.Context) error {
	if time.Since(r.held) < replayLease/5 {
		return nil
	}
	held, err := r.lease.Acquire(ctx)
	if err == nil && !held {
		err = errNotHolder
	}
	if err == nil {
		r.held = time.Now()
	}
	return err
}
