package retention

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"esimflow/internal/outbox"
)

// walker goes along the primary key of the sagas, from the oldest on, in commits that are in nobody's
// way; one at a time among all workers. Every round it begins anew, for what had to stay
// the last time.
type walker struct {
	lease   outbox.Leadership
	renewed time.Time

	keep  time.Duration
	every time.Duration // turns are so far apart
	round time.Duration
	began time.Time // when it last began anew
	after uuid.UUID // where it is
	size  int       // sagas in a commit
	most  int

	parting time.Duration // giving up the lease at the end takes no longer
}

// leaseTTL is renewed at every turn, so it is longer than the time between two.
const leaseTTL = 3 * time.Minute

const (
	fewestSagas = 10
	longest     = 200 * time.Millisecond // a commit should not take longer
	farBehind   = time.Hour
)

func newWalker(db *pgxpool.Pool, name, holder string, keep time.Duration, most int) walker {
	return walker{
		lease: outbox.Leadership{DB: db, Name: name, Holder: holder, TTL: leaseTTL},
		keep:  keep,
		every: min(time.Minute, keep/100),
		round: min(24*time.Hour, keep/10),
		size:  most, most: most,
		parting: 2 * time.Second,
	}
}

// run gives turns until ctx is cancelled.
func (w *walker) run(ctx context.Context, log *slog.Logger, turn func(context.Context) error) {
	defer func() {
		done, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.parting)
		defer cancel()
		_ = w.lease.Resign(done) // it runs out anyway
	}()
	for pause(ctx, w.every) {
		if err := turn(ctx); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "retention", "what", w.lease.Name, "err", err)
		}
	}
}

// hold takes or renews the lease, if that is due.
func (w *walker) hold(ctx context.Context) (bool, error) {
	if time.Since(w.renewed) < leaseTTL/3 {
		return true, nil
	}
	sent := time.Now()
	held, err := w.lease.Acquire(ctx)
	if err == nil && held {
		w.renewed = sent
	}
	return held, err
}

const horizonSQL = `
SELECT least(now(), $1) - $2::interval`

// horizon is the moment before which what has ended was kept for long enough, by Postgres's clock or ours,
// whichever is behind: one that runs ahead for a moment would have everything removed.
func (w *walker) horizon(ctx context.Context) (time.Time, error) {
	var before time.Time
	err := w.lease.DB.QueryRow(ctx, horizonSQL, time.Now(), w.keep).Scan(&before)
	return before, wrap("horizon", err)
}

// beginAnew goes back to the oldest saga once a round.
func (w *walker) beginAnew() {
	if w.began.IsZero() || time.Since(w.began) >= w.round {
		w.began, w.after = time.Now(), uuid.Nil
	}
}

// adapt makes commits smaller while they take long, and larger again when they do not. It reports
// whether one that has failed was too large, and should be tried again; by then it has rested.
func (w *walker) adapt(ctx context.Context, took time.Duration, err error) (again bool) {
	size := w.size
	switch {
	case err != nil || took > longest:
		w.size = max(w.size/2, fewestSagas)
	case took < longest/4:
		w.size = min(w.size*2, w.most)
	}
	return err != nil && size > fewestSagas && isTimeout(err) && pause(ctx, took)
}

// rest is the pause after a commit that took so long.
func rest(took, behind time.Duration) time.Duration {
	if behind > farBehind {
		return took
	}
	return 4 * took
}

// pause waits for d and reports whether ctx is still good then.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
