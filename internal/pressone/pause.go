package pressone

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"esimflow/internal/message"
)

// What can be paused.
const (
	pauseLane = "lane"
	pauseKind = "kind"
)

// Target is what an operator pauses or resumes: a lane, or a kind of request. Exactly one of the two is set.
type Target struct {
	Lane Lane         `json:"lane,omitempty"`
	Kind message.Kind `json:"kind,omitempty"`
}

// String is the target in words.
func (t Target) String() string {
	what, name := t.key()
	return what + " " + name
}

func (t Target) key() (what, name string) {
	if t.Kind != "" {
		return pauseKind, string(t.Kind)
	}
	return pauseLane, string(t.Lane)
}

// Check reports a target that does not exist, for people.
func (t Target) Check() error {
	switch {
	case (t.Lane == "") == (t.Kind == ""):
		return errors.New("either a lane or a kind has to be named")
	case t.Lane != "" && !slices.Contains(lanes, t.Lane):
		return fmt.Errorf("there is no lane %q, only token, write and read", t.Lane)
	case t.Kind != "" && !slices.Contains(message.Kinds(), t.Kind):
		return fmt.Errorf("there is no kind %q, only %s", t.Kind, message.Kinds())
	}
	return nil
}

// Lanes lists the lanes.
func Lanes() []Lane { return slices.Clone(lanes) }

// Pause is who has paused something, why, and since when.
type Pause struct {
	Target
	Actor  string    `json:"actor"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// PausedError says that something is paused already, or is not paused: nothing was changed.
type PausedError struct{ Why string }

// Error implements error.
func (e *PausedError) Error() string { return "pressone: " + e.Why }

// Nothing is changed where it is paused already; the row is written all the same, so that it can be returned.
const addPauseSQL = `
INSERT INTO gate_pause AS p (what, name, actor, reason)
VALUES ($1, $2, $3, $4)
ON CONFLICT (what, name) DO UPDATE SET name = p.name
RETURNING actor, reason, paused_at, xmax <> 0 AS already`

// What else has closed the lane is kept for when it is resumed. closed_until is what workers of the version before go by.
const pauseLaneSQL = `
UPDATE provider_gate
SET beneath = reason, beneath_until = closed_until, reason = 'paused', closed_until = 'infinity', updated_at = now()
WHERE lane = $1 AND reason <> 'paused'`

const removePauseSQL = `
DELETE FROM gate_pause
WHERE what = $1 AND name = $2`

// A lane that was down is probed at once. What PressOne has asked for before the pause still holds.
const resumeLaneSQL = `
UPDATE provider_gate
SET reason = beneath, beneath = '', beneath_until = '-infinity', probe_by = '', updated_at = now(),
    closed_until = CASE WHEN phase = 'down' AND beneath = 'outage' THEN '-infinity'
                        ELSE least(beneath_until, now() + make_interval(secs => $2::float8)) END
WHERE lane = $1 AND reason = 'paused'`

const addTrailSQL = `
INSERT INTO gate_trail (action, what, name, actor, reason)
VALUES ($1, $2, $3, $4, $5)`

// Pause keeps everybody from submitting requests of a kind, or from using a lane, until it is resumed. It is in Postgres when Pause
// returns; other workers know with the hint, or with their next heartbeat. What is in flight is not stopped.
func (g *Gate) Pause(ctx context.Context, t Target, actor, reason string) (Pause, error) {
	p := Pause{Target: t, Actor: actor, Reason: reason}
	what, name := t.key()
	err := pgx.BeginFunc(ctx, g.db, func(tx pgx.Tx) error {
		var already bool
		err := tx.QueryRow(ctx, addPauseSQL, what, name, actor, reason).Scan(&p.Actor, &p.Reason, &p.Since, &already)
		if err != nil {
			return err
		}
		if already {
			return &PausedError{fmt.Sprintf("%s is paused already, by %s since %s: %s", t, p.Actor, p.Since.UTC().Format(time.DateTime), p.Reason)}
		}
		if t.Lane != "" {
			if _, err := tx.Exec(ctx, pauseLaneSQL, name); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, addTrailSQL, "pause", what, name, actor, reason)
		return err
	})
	if err != nil {
		return Pause{}, pauseError(err)
	}
	if t.Lane != "" {
		g.cfg.Metrics.closed(t.Lane, reasonPaused)
	}
	g.changed(ctx, t)
	return p, nil
}

// Resume ends a pause.
func (g *Gate) Resume(ctx context.Context, t Target, actor, reason string) error {
	what, name := t.key()
	err := pgx.BeginFunc(ctx, g.db, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, removePauseSQL, what, name)
		if err != nil {
			return err
		}
		gone := tag.RowsAffected()
		if t.Lane != "" {
			tag, err := tx.Exec(ctx, resumeLaneSQL, name, closureMax.Seconds())
			if err != nil {
				return err
			}
			gone += tag.RowsAffected()
		}
		if gone == 0 {
			return &PausedError{t.String() + " is not paused"}
		}
		_, err = tx.Exec(ctx, addTrailSQL, "resume", what, name, actor, reason)
		return err
	})
	if err != nil {
		return pauseError(err)
	}
	g.changed(ctx, t)
	return nil
}

func pauseError(err error) error {
	if _, ok := errors.AsType[*PausedError](err); ok {
		return err
	}
	return fmt.Errorf("pressone: pause: %w", err)
}

// changed makes a change known, here and elsewhere. It has happened, whether it can be read or not: the heartbeat reads it too.
func (g *Gate) changed(ctx context.Context, t Target) {
	g.hint(t.Lane)
	_ = g.read(ctx)
}

// LaneView is a lane for operators, as Postgres has it.
type LaneView struct {
	Lane     Lane       `json:"lane"`
	Open     bool       `json:"open"`
	Reason   string     `json:"reason,omitempty"`       // limited, account, outage, paused
	Until    *time.Time `json:"closed_until,omitempty"` // null: open, or paused
	Phase    string     `json:"phase"`                  // open, down, ramp
	Ramp     int        `json:"ramp,omitempty"`         // calls in flight, of all workers
	ProbeBy  string     `json:"probe_by,omitempty"`
	Failures int        `json:"failures,omitempty"` // in a row
}

// View is the whole gate for operators.
type View struct {
	Lanes  []LaneView `json:"lanes"`
	Pauses []Pause    `json:"pauses"`
}

const viewLanesSQL = `
SELECT lane, closed_until <= now() AND phase <> 'down' AS open,
       CASE WHEN closed_until > now() OR phase = 'down' THEN reason ELSE '' END AS reason,
       CASE WHEN closed_until > now() AND closed_until < 'infinity' THEN closed_until END AS until,
       phase, ramp, CASE WHEN closed_until > now() THEN probe_by ELSE '' END AS probe_by, failures
FROM provider_gate
ORDER BY array_position(ARRAY['token', 'write', 'read'], lane)`

const viewPausesSQL = `
SELECT CASE WHEN what = 'lane' THEN name ELSE '' END AS lane, CASE WHEN what = 'kind' THEN name ELSE '' END AS kind,
       actor, reason, paused_at AS since
FROM gate_pause
ORDER BY paused_at`

// View reads the gate afresh.
func (g *Gate) View(ctx context.Context) (View, error) {
	var v View
	rows, err := g.db.Query(ctx, viewLanesSQL)
	if err == nil {
		v.Lanes, err = pgx.CollectRows(rows, pgx.RowToStructByName[LaneView])
	}
	if err == nil {
		rows, err = g.db.Query(ctx, viewPausesSQL)
	}
	if err == nil {
		v.Pauses, err = pgx.CollectRows(rows, pgx.RowToStructByName[Pause])
	}
	if err != nil {
		return View{}, fmt.Errorf("pressone: view gate: %w", err)
	}
	if v.Pauses == nil {
		v.Pauses = []Pause{}
	}
	return v, nil
}

// Trail is one action of an operator on the gate.
type Trail struct {
	At     time.Time `json:"at"`
	Action string    `json:"action"` // pause, resume
	Target
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
}

const trailSQL = `
SELECT at, action, CASE WHEN what = 'lane' THEN name ELSE '' END AS lane, CASE WHEN what = 'kind' THEN name ELSE '' END AS kind,
       actor, reason
FROM gate_trail
ORDER BY id DESC
LIMIT $1`

// Trail lists what operators did, the latest first.
func (g *Gate) Trail(ctx context.Context, n int) ([]Trail, error) {
	rows, err := g.db.Query(ctx, trailSQL, n)
	if err != nil {
		return nil, fmt.Errorf("pressone: gate's trail: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Trail])
	if err != nil {
		return nil, fmt.Errorf("pressone: gate's trail: %w", err)
	}
	return all, nil
}
