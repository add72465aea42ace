package saga

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
)

// claiming is a runner that has claimed a saga, as Postgres knows, and has not been told. It is told to stop.
func (b *storeBench) claiming() (l *link, ended <-chan error) {
	b.t.Helper()
	b.accept(message.Request{}, false)
	db, l := b.linked("EXISTS (SELECT FROM saga WHERE worker IS NOT NULL)")
	r := b.runner(oneProvider{})
	r.Store = NewStore(db, b.store.metrics)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-l.reached
	stop()
	return l, done
}

func TestStopping(t *testing.T) {
	// A claim is under way when the worker is told to stop. Its answer is waited for: whoever forgets about it leaves what
	// it has claimed to a worker that is gone.
	t.Run("gives back what it is just claiming", func(t *testing.T) {
		b := setupStore(t)
		l, ended := b.claiming()
		l.hear()
		require.NoError(t, <-ended)
		require.Zero(t, b.count("SELECT count(*) FROM saga WHERE worker IS NOT NULL"))
	})
	// The same, and the answer is lost.
	t.Run("gives back what it has claimed and was not told of", func(t *testing.T) {
		b := setupStore(t)
		l, ended := b.claiming()
		l.cut()
		l.hear() // whoever comes next
		require.NoError(t, <-ended)
		require.Zero(t, b.count("SELECT count(*) FROM saga WHERE worker IS NOT NULL"))
	})
	// What it holds is locked by somebody else for longer than a commit waits, and given back when it is free.
	t.Run("gives back what could not be written at first", func(t *testing.T) {
		b := setupStore(t)
		s := b.accept(message.Request{}, false)
		waiting := make(chan struct{})
		r := b.runner(oneProvider{})
		r.Limiter = waitingLimiter{waiting}
		commit, refused := b.store.sharing.commit, make(chan struct{}, 100)
		b.store.sharing.commit = func(batch []*shared) {
			commit(batch)
			refused <- struct{}{}
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		<-waiting
		locker, err := b.db.Begin(t.Context())
		require.NoError(t, err)
		_, err = locker.Exec(t.Context(), "SELECT FROM saga WHERE id = $1 FOR UPDATE", s.ID)
		require.NoError(t, err)
		stop()
		<-refused
		require.NoError(t, locker.Rollback(t.Context()))
		require.NoError(t, <-ended)
		require.Zero(t, b.count("SELECT count(*) FROM saga WHERE worker IS NOT NULL"))
	})
}

// waitingLimiter is a rate at which nobody's turn comes.
type waitingLimiter struct{ waiting chan struct{} }

func (l waitingLimiter) Wait(ctx context.Context) error {
	close(l.waiting)
	<-ctx.Done()
	return context.Cause(ctx)
}
