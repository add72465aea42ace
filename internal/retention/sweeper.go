package retention

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"esimflow/internal/saga"
)

// Config is what a Sweeper works with.
type Config struct {
	DB      *pgxpool.Pool
	Holder  string        // of this process, unique: for the lease
	Keep    time.Duration // RETENTION
	Metrics *Metrics
	Log     *slog.Logger
}

// Sweeper removes what has been kept for long enough, one at a time among all workers.
type Sweeper struct {
	Config

	walker // what one turn announces the next one acts on: they are further apart than any acceptance takes

	// The walk stays so far behind, lest it pass sagas that are still on their way.
	lag       time.Duration
	announced time.Time // what this process has announced in its last turn
}

// mostSagas is how many sagas a commit removes.
const mostSagas = 500

// New returns a sweeper; nothing happens until Run.
func New(cfg Config) *Sweeper {
	return &Sweeper{Config: cfg, walker: newWalker(cfg.DB, "retention", cfg.Holder, cfg.Keep, mostSagas), lag: min(time.Hour, cfg.Keep/100)}
}

// Run sweeps until ctx is cancelled.
func (s *Sweeper) Run(ctx context.Context) { s.run(ctx, s.Log, s.turn) }

// turn removes what the turn before it has announced, and announces what comes next.
func (s *Sweeper) turn(ctx context.Context) error {
	if held, err := s.hold(ctx); err != nil || !held {
		s.announced = time.Time{} // what it leads to is somebody else's now
		s.Metrics.late(0)
		return err
	}
	if !s.announced.IsZero() {
		if err := s.sweep(ctx, s.announced); err != nil {
			return err
		}
	}
	before, err := s.horizon(ctx)
	if err != nil {
		return err
	}
	if err := s.Announce(ctx, before); err != nil {
		return err
	}
	s.announced = before
	return nil
}

const announceSQL = `
UPDATE retention
SET removed_before = greatest(removed_before, $1)`

// Announce says that sagas of requests from before that moment may leave. Sweep must not be
// called for it before whoever accepts requests without knowing has finished.
func (s *Sweeper) Announce(ctx context.Context, before time.Time) error {
	tag, err := s.DB.Exec(ctx, announceSQL, before)
	if err == nil && tag.RowsAffected() != 1 {
		err = fmt.Errorf("it has %d rows", tag.RowsAffected())
	}
	if err == nil {
		s.Metrics.announced(before)
	}
	return wrap("announce", err)
}

// Sweep removes all that ended before a moment that was announced, from the oldest on.
func (s *Sweeper) Sweep(ctx context.Context, before time.Time) (Removed, error) {
	s.after = uuid.Nil
	return s.walk(ctx, before, saga.FirstID(before))
}

// sweep goes on with the walk, as far as it should get.
func (s *Sweeper) sweep(ctx context.Context, before time.Time) error {
	s.beginAnew()
	began := time.Now()
	removed, err := s.walk(ctx, before, saga.FirstID(before.Add(-s.lag)))
	if removed.total() > 0 {
		s.Log.InfoContext(ctx, "removed what has been kept for long enough", "ended_before", before, "sagas", removed.Sagas,
			"dead_letters", removed.Letters, "audit_findings", removed.Findings, "audit_runs", removed.Runs, "replays", removed.Replays,
			"took", time.Since(began))
	}
	return err
}

// walk removes sagas from where the cursor is to the id until, and then what belongs to
// none. It returns early when the lease is lost.
func (s *Sweeper) walk(ctx context.Context, before time.Time, until uuid.UUID) (Removed, error) {
	var all Removed
	for first := s.after == uuid.Nil; ; {
		if held, err := s.hold(ctx); err != nil || !held {
			return all, err
		}
		began := time.Now()
		size := s.size
		b, err := s.batch(ctx, before, until, size)
		took := time.Since(began)
		if s.adapt(ctx, took, err) {
			continue
		}
		if err != nil {
			return all, err
		}
		s.Metrics.removed(b.Removed, took)
		all.add(b.Removed)
		if b.read > 0 {
			s.after = b.last
		}
		if b.read < size {
			s.Metrics.late(0)
			others, err := s.others(ctx, before, first)
			s.Metrics.removed(others, 0)
			all.add(others)
			return all, err
		}
		behind := time.Duration(0)
		if b.Sagas > int64(size/2) { // else these are what had to stay the last time
			behind = saga.AcceptedAt(until).Sub(saga.AcceptedAt(b.last))
		}
		s.Metrics.late(behind)
		if !pause(ctx, rest(took, behind)) {
			return all, ctx.Err()
		}
	}
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("retention: %s: %w", what, err)
}
