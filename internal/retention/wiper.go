package retention

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"esimflow/internal/saga"
)

// WiperConfig is what a Wiper works with.
type WiperConfig struct {
	DB      *pgxpool.Pool
	Store   *saga.Store
	Holder  string        // of this process, unique: for the lease
	Keep    time.Duration // CODES_KEEP; 0: they stay for as long as their sagas
	Metrics *Metrics
	Log     *slog.Logger
}

// Wiper removes activation codes from what has ended CODES_KEEP ago, and leaves what the books need.
// It walks the primary key as the Sweeper does, in as small commits, one at a time among all workers.
type Wiper struct {
	WiperConfig

	walker
}

// mostWiped is how many sagas a commit wipes: each is opened and written anew.
const mostWiped = 200

// NewWiper returns a wiper; nothing happens until Run.
func NewWiper(cfg WiperConfig) *Wiper {
	return &Wiper{WiperConfig: cfg, walker: newWalker(cfg.DB, "codes", cfg.Holder, cfg.Keep, mostWiped)}
}

// Run wipes until ctx is cancelled. Without a time to keep codes for it returns at once.
func (w *Wiper) Run(ctx context.Context) {
	if w.Keep > 0 {
		w.run(ctx, w.Log, w.turn)
	}
}

// turn wipes what has become due, if this process holds the lease.
func (w *Wiper) turn(ctx context.Context) error {
	if held, err := w.hold(ctx); err != nil || !held {
		return err
	}
	w.beginAnew()
	before, err := w.horizon(ctx)
	if err != nil {
		return err
	}
	done, err := w.Wipe(ctx, before)
	if done.Sealed > 0 {
		w.Log.WarnContext(ctx, "activation codes stay: their key is not in ENCRYPTION_KEY", "sagas", done.Sealed)
	}
	if done.Sagas > 0 {
		w.Log.InfoContext(ctx, "activation codes were removed", "ended_before", before, "sagas", done.Sagas)
	}
	return err
}

// Wipe removes the codes of all that ended before a moment, from where the walk is on.
func (w *Wiper) Wipe(ctx context.Context, before time.Time) (saga.Wiped, error) {
	var all saga.Wiped
	for {
		began := time.Now()
		size := w.size
		page, done, err := w.batch(ctx, before, size)
		took := time.Since(began)
		if w.adapt(ctx, took, err) {
			continue
		}
		if err != nil {
			return all, wrap("codes", err)
		}
		w.Metrics.wiped(done.Sagas)
		all.Sagas, all.Sealed = all.Sagas+done.Sagas, all.Sealed+done.Sealed
		if len(page) > 0 {
			w.after = page[len(page)-1]
		}
		if len(page) < size {
			return all, nil
		}
		if held, err := w.hold(ctx); err != nil || !held {
			return all, err
		}
		if !pause(ctx, rest(took, 0)) {
			return all, ctx.Err()
		}
	}
}

// batch looks at the next n sagas, in one commit.
func (w *Wiper) batch(ctx context.Context, before time.Time, n int) (page []uuid.UUID, done saga.Wiped, err error) {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, w.DB, func(tx pgx.Tx) error {
		done = saga.Wiped{}
		if _, err := tx.Exec(ctx, boundedSQL); err != nil {
			return err
		}
		var err error
		if page, err = ids(tx.Query(ctx, pageSQL, w.after, saga.FirstID(before), n)); err != nil || len(page) == 0 {
			return err
		}
		done, err = w.Store.Wipe(ctx, tx, page, before)
		return err
	})
	return page, done, err
}
