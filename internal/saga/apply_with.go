package saga

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ApplyWith is Apply in a commit of its own, which also writes to beforehand: both, or
// neither. An error of also's is returned as it is.
func (st *Store) ApplyWith(ctx context.Context, d Decision, also func(tx pgx.Tx) error) error {
	args, err := st.arguments([]Decision{d}, false)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	span := beginCommit(ctx, commitDecisions, 1)
	var other error
	err = pgx.BeginFunc(ctx, st.db, func(tx pgx.Tx) error {
		if err := Durable(ctx, tx); err != nil {
			return err
		}
		if other = also(tx); other != nil {
			return other
		}
		var id uuid.UUID
		var moved bool
		err := tx.QueryRow(ctx, writeSQL, args...).Scan(&id, &moved)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrConflict
		}
		return err
	})
	span.end(1, err)
	switch {
	case err == nil:
		st.metrics.moved(d)
		return nil
	case other != nil:
		return other
	case errors.Is(err, ErrConflict):
		st.metrics.conflict()
		return ErrConflict
	}
	return translate("apply", err)
}
