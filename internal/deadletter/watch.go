package deadletter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// trouble is a request that PressOne has refused since a replay began, for a reason that
// concerns others too.
type trouble struct {
	Class     string
	PackageID string
	Code      string
}

// Submitted after the replay was started, and refused: by then there was no credit, or no
// stock, whoever it was that asked.
const troublesSQL = `
SELECT DISTINCT ON (l.class, l.package_id) l.class, l.package_id, l.code
FROM dead_letter l
JOIN saga s ON s.id = l.saga_id
WHERE l.status = 'open' AND l.created_at > $1 AND l.class IN ('insufficient_credit', 'out_of_stock') AND s.intent_at > $1
ORDER BY l.class, l.package_id, l.created_at`

// heed stops what a new refusal says is hopeless: everything that lacked credit when there
// is none again, and the package that is out of stock again.
func (r *Replayer) heed(ctx context.Context, job Replay, since time.Time) error {
	rows, err := r.Desk.DB.Query(ctx, troublesSQL, since)
	if err != nil {
		return fmt.Errorf("deadletter: troubles: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[trouble])
	if err != nil {
		return fmt.Errorf("deadletter: troubles: %w", err)
	}
	for _, t := range all {
		var err error
		switch t.Class {
		case pressone.ClassInsufficientCredit:
			err = r.skip(ctx, job, t.Class, "", "stopped: the credit is insufficient again, code "+t.Code)
		case pressone.ClassOutOfStock:
			err = r.skip(ctx, job, t.Class, t.PackageID, fmt.Sprintf("stopped: %s is out of stock again, code %s", t.PackageID, t.Code))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// shelf is a package of which letters wait that were out of stock.
type shelf struct {
	PackageID string
	First     int        // the position of the first that waits
	Canary    *uuid.UUID // the saga of the first that was released
}

// Of letters that have no canary, the first is it.
const shelvesSQL = `
SELECT package_id, min(position) FILTER (WHERE state = 'waiting') AS first,
       (array_agg(saga_id ORDER BY position) FILTER (WHERE state = 'done'))[1] AS canary
FROM replay_letter
WHERE replay_id = $1 AND class = 'out_of_stock' AND NOT (package_id = ANY($2))
GROUP BY package_id
HAVING bool_or(state = 'waiting')
ORDER BY package_id`

const canariesSQL = `
SELECT s.id, s.state, COALESCE(l.code, '') AS code
FROM saga s
LEFT JOIN dead_letter l ON l.saga_id = s.id AND l.status = 'open'
WHERE s.id = ANY($1)`

// canaries are what may be released of packages that were out of stock.
type canaries struct {
	cleared []string // packages whose canary has completed
	first   []int    // positions of canaries to release
	awaited []string // packages whose canary is under way
}

// shelves looks how the canaries fare. A package whose canary has not completed, and never
// will, is stopped.
func (r *Replayer) shelves(ctx context.Context, job Replay, cleared []string) (canaries, error) {
	c := canaries{cleared: slices.Clip(cleared)}
	rows, err := r.Desk.DB.Query(ctx, shelvesSQL, job.ID, orEmpty(cleared))
	if err != nil {
		return c, fmt.Errorf("deadletter: shelves: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[shelf])
	if err != nil {
		return c, fmt.Errorf("deadletter: shelves: %w", err)
	}
	var sent []uuid.UUID
	for _, s := range all {
		if s.Canary != nil {
			sent = append(sent, *s.Canary)
		}
	}
	states, err := r.canariesOf(ctx, sent)
	if err != nil {
		return c, err
	}
	for _, s := range all {
		if s.Canary == nil {
			c.first = append(c.first, s.First)
			continue
		}
		switch now := states[*s.Canary]; now.State {
		case saga.Completed, "": // it has left since: long ago, completed or discarded
			c.cleared = append(c.cleared, s.PackageID)
		case saga.DeadLettered, saga.Discarded:
			why := fmt.Sprintf("stopped: the first order of %s was %s again, code %s", s.PackageID, now.State, now.Code)
			if now.Code == "" {
				why = fmt.Sprintf("stopped: the first order of %s was %s", s.PackageID, now.State)
			}
			if err := r.skip(ctx, job, pressone.ClassOutOfStock, s.PackageID, why); err != nil {
				return c, err
			}
		case saga.Pending, saga.Submitting, saga.Unknown, saga.Polling, saga.Notifying:
			c.awaited = append(c.awaited, s.PackageID)
		default: // of a newer version: not known to have completed
			c.awaited = append(c.awaited, s.PackageID)
		}
	}
	return c, nil
}

type canary struct {
	ID    uuid.UUID
	State saga.State
	Code  string
}

func (r *Replayer) canariesOf(ctx context.Context, sagas []uuid.UUID) (map[uuid.UUID]canary, error) {
	byID := make(map[uuid.UUID]canary, len(sagas))
	if len(sagas) == 0 {
		return byID, nil
	}
	rows, err := r.Desk.DB.Query(ctx, canariesSQL, sagas)
	if err != nil {
		return nil, fmt.Errorf("deadletter: canaries: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[canary])
	if err != nil {
		return nil, fmt.Errorf("deadletter: canaries: %w", err)
	}
	for _, c := range all {
		byID[c.ID] = c
	}
	return byID, nil
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
