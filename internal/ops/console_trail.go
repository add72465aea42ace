package ops

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// deed is something that was changed, as its own record has it.
type deed struct {
	At     time.Time
	ID     uuid.UUID // of what it was done to
	Thing  string    // saga, letter, finding, audit, replay, code, gate
	Label  string    // of the thing, for people
	Actor  string
	Did    string
	Result string
	Reason string
	More   int `db:"-"` // the same was done to so many more, one after the other
}

// Href is where the thing is shown.
func (d deed) Href() string {
	switch d.Thing {
	case "saga", "code":
		return "/sagas/" + d.ID.String()
	case "letter":
		return "/dead-letters/" + d.ID.String()
	case "replay":
		return "/replays/" + d.ID.String()
	case "gate":
		return "/"
	}
	return "/audit"
}

// Each part is read from the end of an index, so a page costs the same however long the
// trail is: saga_history_by_operators, dead_letter_resolved_alone, reveal_at,
// audit_run_started, replay_created. Findings are few.
const effectsSQL = `
SELECT at, id, thing, label, actor, did, result, reason
FROM (
    (SELECT h.at, h.saga_id AS id, 'saga' AS thing, COALESCE(s.request_id, '') AS label, h.actor, h.event AS did,
            h.to_state AS result, h.reason
     FROM saga_history h
     LEFT JOIN saga s ON s.id = h.saga_id
     WHERE h.actor <> '' AND ($3 = '' OR h.actor = $3) AND ($1::timestamptz IS NULL OR (h.at, h.saga_id) < ($1, $2::uuid))
     ORDER BY h.at DESC, h.saga_id DESC
     LIMIT $4)
    UNION ALL
    (SELECT resolved_at, id, 'letter', request_id, actor, status, '', note
     FROM dead_letter
     WHERE saga_id IS NULL AND status <> 'open' AND ($3 = '' OR actor = $3)
       AND ($1::timestamptz IS NULL OR (resolved_at, id) < ($1, $2::uuid))
     ORDER BY resolved_at DESC, id DESC
     LIMIT $4)
    UNION ALL
    (SELECT resolved_at, id, 'finding', finding || ' ' || order_id, actor, status, '', note
     FROM audit_finding
     WHERE status = 'dismissed' AND ($3 = '' OR actor = $3)
       AND ($1::timestamptz IS NULL OR (resolved_at, id) < ($1, $2::uuid))
     ORDER BY resolved_at DESC, id DESC
     LIMIT $4)
    UNION ALL
    (SELECT at, saga_id, 'code', request_id, actor, 'revealed', '', reason
     FROM reveal
     WHERE ($3 = '' OR actor = $3) AND ($1::timestamptz IS NULL OR (at, saga_id) < ($1, $2::uuid))
     ORDER BY at DESC, id DESC
     LIMIT $4)
    UNION ALL
    (SELECT started_at, id, 'audit', from_day || ' to ' || to_day, requested_by, 'asked_for_an_audit', state, ''
     FROM audit_run
     WHERE requested_by <> '' AND ($3 = '' OR requested_by = $3)
       AND ($1::timestamptz IS NULL OR (started_at, id) < ($1, $2::uuid))
     ORDER BY started_at DESC, id DESC
     LIMIT $4)
    UNION ALL
    (SELECT created_at, id, 'replay', letters || ' dead letters', actor, 'started_a_replay', state, reason
     FROM replay
     WHERE ($3 = '' OR actor = $3) AND ($1::timestamptz IS NULL OR (created_at, id) < ($1, $2::uuid))
     ORDER BY created_at DESC, id DESC
     LIMIT $4)
    UNION ALL
    (SELECT at, '00000000-0000-0000-0000-000000000000'::uuid, 'gate', what || ' ' || name, actor, action || 'd', '', reason
     FROM gate_trail
     WHERE ($3 = '' OR actor = $3)
       AND ($1::timestamptz IS NULL OR (at, '00000000-0000-0000-0000-000000000000'::uuid) < ($1, $2::uuid))
     ORDER BY id DESC
     LIMIT $4)
) AS trail
ORDER BY at DESC, id DESC
LIMIT $4`

// effects lists what was changed, the last one first.
func (c *console) effects(ctx context.Context, actor string, after *time.Time, id uuid.UUID, limit int) ([]deed, error) {
	rows, err := c.DB.Query(ctx, effectsSQL, after, id, actor, limit)
	if err != nil {
		return nil, fmt.Errorf("ops: effects: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[deed])
	if err != nil {
		return nil, fmt.Errorf("ops: effects: %w", err)
	}
	return all, nil
}

const revealsSQL = `
SELECT at, saga_id AS id, 'code' AS thing, request_id AS label, actor, 'revealed' AS did, '' AS result, reason
FROM reveal
WHERE saga_id = $1
ORDER BY at DESC
LIMIT 20`

// reveals lists who was shown a saga's activation codes, the last one first.
func (c *console) reveals(ctx context.Context, id uuid.UUID) ([]deed, error) {
	rows, err := c.DB.Query(ctx, revealsSQL, id)
	if err != nil {
		return nil, fmt.Errorf("ops: reveals: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[deed])
	if err != nil {
		return nil, fmt.Errorf("ops: reveals: %w", err)
	}
	return all, nil
}

// fold makes one line of what was done to many things in a row, as by a replay.
func fold(deeds []deed) []deed {
	var folded []deed
	for _, d := range deeds {
		if n := len(folded); n > 0 {
			last := &folded[n-1]
			if last.Actor == d.Actor && last.Did == d.Did && last.Reason == d.Reason && last.Result == d.Result && last.Thing == d.Thing {
				last.More++
				continue
			}
		}
		folded = append(folded, d)
	}
	return folded
}

type trailView struct {
	Actor   string
	Effects bool // what was changed, rather than what was asked for
	Deeds   []deed
	Actions []Recorded
	Next    string
	First   string
}

// trailSize is how many lines a page has. Deeds in a row are folded to one.
const trailSize = 100

// Href is the trail of somebody, or of everybody; of what was asked for, or of what was changed.
func (v trailView) Href(actor string, effects bool, more ...any) string {
	show := ""
	if effects {
		show = "effects"
	}
	return href("/trail", append([]any{"actor", actor, "show", show}, more...)...)
}

// showTrail shows what people asked for, which is all that is in action, or what was changed.
func (c *console) showTrail(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	v := trailView{Actor: strings.TrimSpace(q.Get("actor")), Effects: q.Get("show") == "effects"}
	before, id, err := cursorOf(q.Get("after"))
	if err != nil {
		return err
	}
	if before != nil {
		v.First = v.Href(v.Actor, v.Effects)
	}
	next := func(at time.Time, id uuid.UUID) string {
		return v.Href(v.Actor, v.Effects, "after", cursorTo(at, id))
	}
	if v.Effects {
		deeds, err := c.effects(r.Context(), v.Actor, before, id, trailSize+1)
		if err != nil {
			return err
		}
		if len(deeds) > trailSize {
			deeds = deeds[:trailSize]
			v.Next = next(deeds[trailSize-1].At, deeds[trailSize-1].ID)
		}
		v.Deeds = fold(deeds)
	} else {
		v.Actions, err = c.trail().List(r.Context(), TrailFilter{Actor: v.Actor, Before: before, BeforeID: id, Limit: trailSize + 1})
		if err != nil {
			return err
		}
		if len(v.Actions) > trailSize {
			v.Actions = v.Actions[:trailSize]
			v.Next = next(v.Actions[trailSize-1].At, v.Actions[trailSize-1].ID)
		}
	}
	return c.show(w, r, http.StatusOK, "trail", view{Title: "Trail", Section: "trail", Data: v})
}

// cursorTo is where a page ends, as it stands in the next one's address.
func cursorTo(at time.Time, id uuid.UUID) string {
	return at.UTC().Format(time.RFC3339Nano) + "_" + id.String()
}

// cursorOf reads where a page ended; nothing is the first page.
func cursorOf(s string) (*time.Time, uuid.UUID, error) {
	if s == "" {
		return nil, uuid.Nil, nil
	}
	when, name, _ := strings.Cut(s, "_")
	t, err := time.Parse(time.RFC3339Nano, when)
	id, bad := uuid.Parse(name)
	if err != nil || bad != nil {
		return nil, uuid.Nil, usageError("that page does not exist: its address does not say where the one before it ended")
	}
	return &t, id, nil
}

// trail lists what was asked for: ?actor=, what=, limit=.
func (a api) trail(r *http.Request) (any, error) {
	q := r.URL.Query()
	n, err := limit(q.Get("limit"))
	if err != nil {
		return nil, err
	}
	return a.recorded().List(r.Context(), TrailFilter{Actor: strings.TrimSpace(q.Get("actor")), What: q.Get("what"), Limit: n})
}

// About is Target as it is read: of an id, which nobody reads, its end.
func (a Recorded) About() string {
	if _, err := uuid.Parse(a.Target); err == nil {
		return short(a.Target)
	}
	return a.Target
}

// Href is where what an action was about is shown, if it is in one place.
func (a Recorded) Href() string {
	id, err := uuid.Parse(a.Target)
	switch {
	case a.What == didPause || a.What == didResume:
		return "/"
	case a.What == didStartAudit || a.What == didDismiss:
		return "/audit"
	case err != nil:
		return ""
	}
	switch a.What {
	case didAdopt, didConfirmAbsent, didDiscardSaga, didReveal:
		return "/sagas/" + id.String()
	case didDiscardLetter, didResubmit, didReplayLetter:
		return "/dead-letters/" + id.String()
	case didAbortReplay:
		return "/replays/" + id.String()
	}
	return ""
}
