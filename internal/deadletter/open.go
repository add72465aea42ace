package deadletter

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Group is the open letters of one code and class.
type Group struct {
	Code       string    `json:"code"`
	Class      string    `json:"class"`
	Count      int       `json:"letters"`
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
const groupsSQL = `
SELECT code, class, count(*)::int AS count,
       (count(*) FILTER (WHERE kind = 'order'))::int AS orders,
       (count(*) FILTER (WHERE kind = 'topup'))::int AS topups,
       (count(*) FILTER (WHERE purchased = 'yes'))::int AS bought,
       (count(*) FILTER (WHERE purchased = 'unknown'))::int AS unknown,
       (count(*) FILTER (WHERE replayable))::int AS replayable,
       min(created_at) AS first_seen, max(created_at) AS last_seen
FROM (
    SELECT code, class, kind, purchased, replayable, created_at
    FROM dead_letter l
    WHERE status = 'open' AND` + chosen + `
    ORDER BY created_at
    LIMIT $8
) AS open
GROUP BY code, class
ORDER BY count(*) DESC, code, class`

// Groups returns the open letters that f chooses by code and class, the largest group first.
func (d *Desk) Groups(ctx context.Context, f Filter) ([]Group, error) {
	rows, err := d.DB.Query(ctx, groupsSQL, f.arguments(MostGrouped)...)
	if err != nil {
		return nil, fmt.Errorf("deadletter: groups: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Group])
	if err != nil {
		return nil, fmt.Errorf("deadletter: groups: %w", err)
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
FROM dead_letter l
WHERE` + chosen + `
AND ($8 = '' OR status = $8)
AND ($9::timestamptz IS NULL OR (created_at, id) < ($9, $10))
ORDER BY created_at DESC, id DESC
LIMIT $11`

// Page returns a page of letters, the youngest first: those after a cursor, or with nil the
// first ones. status "" is any.
func (d *Desk) Page(ctx context.Context, f Filter, status string, after *Cursor, limit int) ([]Letter, error) {
	var at *time.Time
	var id *uuid.UUID
	if after != nil {
		at, id = &after.At, &after.ID
	}
	args := append([]any{pgx.QueryExecModeCacheDescribe}, f.arguments(status, at, id, limit)...)
	rows, err := d.DB.Query(ctx, pageSQL, args...)
	if err != nil {
		return nil, fmt.Errorf("deadletter: page: %w", err)
	}
	letters, err := pgx.CollectRows(rows, pgx.RowToStructByName[Letter])
	if err != nil {
		return nil, fmt.Errorf("deadletter: page: %w", err)
	}
	return letters, nil
}
