package saga

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
)

// beat renews the lease every third of its life, until ctx is cancelled, and looks after
// sagas that nobody is driving.
func (r *Runner) beat(ctx context.Context) {
	tick := time.NewTicker(r.LeaseTTL / 3)
	defer tick.Stop()
	for {
		if err := r.beatOnce(ctx); err != nil && ctx.Err() == nil {
			r.Log.WarnContext(ctx, "heartbeat", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *Runner) beatOnce(ctx context.Context) error {
	before := r.Lease.ID()
	if err := r.Lease.Renew(ctx); err != nil {
		return err
	}
	if before != r.Lease.ID() {
		if before != uuid.Nil {
			r.Log.WarnContext(ctx, "the lease had run out; taking a new one")
		}
		r.Wake()
	}
	return errors.Join(r.Beat(ctx, r.Lease.Workers()), r.sweep(ctx), r.takeOver(ctx), r.Lease.Bury(ctx))
}

// takeOver gives the sagas of workers whose lease has run out to whoever is free. One
// that was submitting becomes unknown, and is looked up once everything that its worker
// may have sent has settled.
func (r *Runner) takeOver(ctx context.Context) error {
	sagas, err := r.Store.Abandoned(ctx)
	for _, s := range sagas {
		if !r.held.has(s.ID) { // ours, under an earlier lease: its goroutine sees to it
			err = errors.Join(err, r.abandon(ctx, s, "its worker's lease ran out"))
		}
	}
	return err
}

// sweep gives back what Postgres says we hold and we know nothing of: a claim, an
// acceptance or an intent whose commit we were not told of.
func (r *Runner) sweep(ctx context.Context) error {
	r.held.claiming.Lock()
	defer r.held.claiming.Unlock()
	sagas, err := r.Store.HeldBy(ctx, r.Lease.ID())
	for _, s := range sagas {
		if !r.held.has(s.ID) {
			err = errors.Join(err, r.abandon(ctx, s, "its worker lost sight of it"))
		}
	}
	return err
}

func (r *Runner) abandon(ctx context.Context, s Saga, seen string) error {
	var err error
	if s.State == Submitting {
		_, err = r.apply(ctx, s, Event{Name: WorkerLost, Seen: seen})
	} else if err = r.Store.Release(ctx, s, s.DueAt); err == nil {
		r.Wake()
	}
	if errors.Is(err, ErrConflict) {
		return nil // another worker was faster
	}
	return err
}
