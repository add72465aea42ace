package restore

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"esimflow/internal/message"
)

// By is who opens the database, and why.
type By struct{ Actor, Reason string }

// Begun is what Begin has done.
type Begun struct {
	CopiedAt time.Time `json:"copied_at"`
	Paused   []string  `json:"paused"`    // kinds
	Extended int64     `json:"extended"`  // sagas whose deadline was moved
	Replays  int64     `json:"replays"`   // that were running, and are aborted
	Audits   int64     `json:"audits"`    // that were running, and are not gone on with
	OpenDead int64     `json:"open_dead"` // dead letters that were open then, and may have been resolved since
}

// RefusedError says why the database is not opened.
type RefusedError struct{ Why string }

// Error implements error.
func (e *RefusedError) Error() string { return "restore: refused: " + e.Why }

// A worker that takes its lease waits until the database is paused, and looks at that afterwards.
const lockWorkersSQL = `LOCK TABLE worker IN SHARE MODE`

const liveWorkersSQL = `
SELECT count(*), now()
FROM worker
WHERE expires_at > now()`

// A pause from before the copy keeps its place, and its reason is told on.
const pauseSQL = `
INSERT INTO gate_pause AS p (what, name, actor, reason)
VALUES ('kind', $1, $2, $3)
ON CONFLICT (what, name) DO UPDATE
SET actor = excluded.actor, paused_at = now(),
    reason = CASE WHEN starts_with(p.reason, $4) THEN excluded.reason || coalesce(substring(p.reason FROM ' \(paused before by .*$'), '')
                  ELSE excluded.reason || ' (paused before by ' || p.actor || ': ' || p.reason || ')' END`

const trailSQL = `
INSERT INTO gate_trail (action, what, name, actor, reason)
VALUES ('pause', 'kind', $1, $2, $3)`

// Nobody gives up, and says that nothing was bought, while it is being found out: not for a day
// from now.
const extendSQL = `
UPDATE saga
SET deadline_at = now() + interval '24 hours'
WHERE stage IN ('pending', 'submitting', 'unknown', 'polling') AND deadline_at < now() + interval '24 hours'`

// What a replay was to release may have been released since, and bought.
const abortReplaysSQL = `
WITH job AS (
    UPDATE replay
    SET state = 'aborted', skipped = letters - done - refused - failed, note = left($1, 1000), finished_at = now()
    WHERE state = 'running'
    RETURNING id
), letters AS (
    UPDATE replay_letter
    SET state = 'skipped', why = left($1, 1000), at = now()
    WHERE replay_id IN (SELECT id FROM job) AND state = 'waiting'
)
SELECT count(*)
FROM job`

const endAuditsSQL = `
UPDATE audit_run
SET state = 'failed', trouble = $1, finished_at = now(), updated_at = now()
WHERE state = 'running'`

const openLettersSQL = `
SELECT count(*)
FROM dead_letter
WHERE status = 'open'`

// Begin prepares a database that shows the world as it was at copiedAt: orders and top-ups are
// paused, replays aborted, deadlines moved. It has to come before the first worker. The error is
// a *RefusedError if a worker's lease runs, or copiedAt is to come.
func Begin(ctx context.Context, db *pgx.Conn, copiedAt time.Time, by By) (Begun, error) {
	begun := Begun{CopiedAt: copiedAt.UTC().Truncate(time.Second)}
	reason := reasonOf(begun.CopiedAt, by.Reason)
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockWorkersSQL); err != nil {
			return err
		}
		var live int
		var now time.Time
		if err := tx.QueryRow(ctx, liveWorkersSQL).Scan(&live, &now); err != nil {
			return err
		}
		switch {
		case live > 0:
			return &RefusedError{fmt.Sprintf("%d workers hold a lease on this database: stop them, wait for LEASE_TTL, and try again", live)}
		case copiedAt.After(now):
			return &RefusedError{"that time is to come"}
		}
		for _, k := range message.Kinds() {
			if _, err := tx.Exec(ctx, pauseSQL, k, by.Actor, reason, prefix); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, trailSQL, k, by.Actor, reason); err != nil {
				return err
			}
			begun.Paused = append(begun.Paused, string(k))
		}
		if err := begun.calm(ctx, tx, reason); err != nil {
			return err
		}
		return tx.QueryRow(ctx, openLettersSQL).Scan(&begun.OpenDead)
	})
	if err != nil {
		return Begun{}, fmt.Errorf("restore: %w", err)
	}
	return begun, nil
}

// calm ends what must not go on by itself in a database that has lost commits.
func (b *Begun) calm(ctx context.Context, tx pgx.Tx, reason string) error {
	tag, err := tx.Exec(ctx, extendSQL)
	if err != nil {
		return err
	}
	b.Extended = tag.RowsAffected()
	if err := tx.QueryRow(ctx, abortReplaysSQL, reason).Scan(&b.Replays); err != nil {
		return err
	}
	if tag, err = tx.Exec(ctx, endAuditsSQL, reason); err != nil {
		return err
	}
	b.Audits = tag.RowsAffected()
	return nil
}

// prefix is what the reason of a pause begins with that Begin has made, the time follows.
const prefix = "the database was restored to "

func reasonOf(copiedAt time.Time, why string) string {
	return prefix + copiedAt.Format(time.RFC3339) + ": " + why
}

// CopiedAt reads from the reason of a pause to when the database was restored; false if it
// is another pause.
func CopiedAt(reason string) (time.Time, bool) {
	rest, ours := strings.CutPrefix(reason, prefix)
	if !ours || len(rest) < len("2006-01-02T15:04:05Z") {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, rest[:len("2006-01-02T15:04:05Z")])
	return t, err == nil
}

const openingSQL = `
SELECT count(*)
FROM gate_pause
WHERE what = 'kind' AND starts_with(reason, $1)`

// Opening reports whether the database is paused as Begin has left it.
func Opening(ctx context.Context, db *pgx.Conn) (bool, error) {
	var n int
	if err := db.QueryRow(ctx, openingSQL, prefix).Scan(&n); err != nil {
		return false, fmt.Errorf("restore: %w", err)
	}
	return n == len(message.Kinds()), nil
}
