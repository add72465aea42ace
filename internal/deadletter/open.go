package deadletter

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// OpenGroup is the open letters of one code and class.
type OpenGroup struct {
	Code       string    `json:"code"`
	Class      string    `json:"class"`
	Count      int       `json:"count"`
	Orders     int       `json:"orders"`     // of them
	Topups     int       `json:"topups"`     // of them
	Bought     int       `json:"bought"`     // of them: money was spent
	Unknown    int       `json:"unknown"`    // of them: nobody knows
	Replayable int       `json:"replayable"` // of them
	FirstSeen  time.Time `json:"first_seen"`
	LastSeen   time.Time `json:"last_seen"`
}

// MostGrouped is how many open letters are looked at: beyond that, groups are of the oldest
// ones.
const MostGrouped = 100_000

// By the index dead_letter_open. What is closed is not looked at.
const openGroupsSQL = `
SELECT code, class, count(*)::int AS count,
       (count(*) FILTER (WHERE kind = 'order'))::int AS orders,
       (count(*) FILTER (WHERE kind = 'topup'))::int AS topups,
       (count(*) FILTER (WHERE purchased = 'yes'))::int AS bought,
       (count(*) FILTER (WHERE purchased = 'unknown'))::int AS unknown,
       (count(*) FILTER (WHERE replayable))::int AS replayable,
       min(created_at) AS first_seen, max(created_at) AS last_seen
FROM (
    SELECT code, class, kind, purchased, replayable, created_at
    FROM dead_letter
    WHERE status = 'open'
    ORDER BY created_at
    LIMIT $1
) AS open
GROUP BY code, class
ORDER BY count(*) DESC, code, class`

// OpenGroups returns the open letters by code and class, the largest group first.
func (d *Desk) OpenGroups(ctx context.Context) ([]OpenGroup, error) {
	rows, err := d.DB.Query(ctx, openGroupsSQL, MostGrouped)
	if err != nil {
		return nil, fmt.Errorf("deadletter: open groups: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[OpenGroup])
	if err != nil {
		return nil, fmt.Errorf("deadletter: open groups: %w", err)
	}
	return all, nil
}

const openSQL = `
SELECT count(*)
FROM (SELECT FROM dead_letter WHERE status = 'open' LIMIT $1) AS open`

// Open counts the open letters, up to MostGrouped.
func (d *Desk) Open(ctx context.Context) (int, error) {
	var n int
	if err := d.DB.QueryRow(ctx, openSQL, MostGrouped).Scan(&n); err != nil {
		return 0, fmt.Errorf("deadletter: open: %w", err)
	}
	return n, nil
}

// Cursor is a letter's place in the order of pages.
type Cursor struct {
	At time.Time
	ID uuid.UUID
}

// Open letters are found by the index dead_letter_open, in its order.
const pageSQL = `
SELECT` + columns + `, '{}'::json AS headers, ''::bytea AS body
FROM dead_letter
WHERE ($1 = '' OR kind = $1)
  AND ($2 = '' OR code = $2)
  AND ($3 = '' OR class = $3)
  AND ($4 = '' OR package_id = $4)
  AND ($5 = '' OR iccid = $5)
  AND ($6 = '' OR status = $6)
  AND ($7::timestamptz IS NULL OR (created_at, id) < ($7, $8))
ORDER BY created_at DESC, id DESC
LIMIT $9`

// Page returns a page of letters, the youngest first: those after a cursor, or with nil the
// first ones. status "" is any. The filter's ids and age are not looked at.
func (d *Desk) Page(ctx context.Context, f Filter, status string, after *Cursor, limit int) ([]Letter, error) {
	var at *time.Time
	var id *uuid.UUID
	if after != nil {
		at, id = &after.At, &after.ID
	}
	rows, err := d.DB.Query(ctx, pageSQL, pgx.QueryExecModeCacheDescribe,
		string(f.Kind), f.Code, f.Class, f.Package, f.ICCID, status, at, id, limit)
	if err != nil {
		return nil, fmt.Errorf("deadletter: page: %w", err)
	}
	letters, err := pgx.CollectRows(rows, pgx.RowToStructByName[Letter])
	if err != nil {
		return nil, fmt.Errorf("deadletter: page: %w", err)
	}
	return letters, nil
}
