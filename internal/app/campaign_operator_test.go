package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/message"
	"esimflow/internal/saga"
)

// campaignLetter is an open dead letter, as the operator of the campaign sees it.
type campaignLetter struct {
	ID         uuid.UUID
	SagaID     *uuid.UUID
	Kind       message.Kind
	RequestID  string
	Code       string
	Replayable bool
	Reference  string
	Settled    bool // whatever was submitted has taken effect by now, or never will
}

// openLetters lists the open dead letters, oldest first. It returns nothing while Postgres
// is away.
func (c *campaign) openLetters(ctx context.Context) ([]campaignLetter, error) {
	rows, err := c.db.Query(ctx, `
		SELECT l.id, l.saga_id, l.kind, l.request_id, l.code, l.replayable, COALESCE(s.reference, '') AS reference,
		       COALESCE(s.intent_deadline + $1 < now(), true) AS settled
		FROM dead_letter l
		LEFT JOIN saga s ON s.id = l.saga_id
		WHERE l.status = 'open'
		ORDER BY l.created_at, l.id`, campaignSettle)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[campaignLetter])
}

// operate does what an operator does who does not know what else is going on: every now and
// then one of the open dead letters is replayed, adopted, confirmed absent or discarded,
// sometimes at two workers at once.
func (c *campaign) operate(ctx context.Context) {
	roll := c.dice(campaignOperatorDice)
	var wg sync.WaitGroup
	defer wg.Wait()
	for at := 2 * time.Second; c.until(ctx, at); at += time.Duration(100+roll.IntN(600)) * time.Millisecond {
		seed := roll.Uint64()
		letters, err := c.openLetters(ctx)
		if err != nil || len(letters) == 0 {
			continue
		}
		own := rand.New(rand.NewPCG(seed, 0))
		path, body := c.action(letters[own.IntN(len(letters))], own, true)
		if path == "" {
			continue
		}
		presses := 1 + own.IntN(3)/2
		for range presses {
			worker := own.IntN(3)
			wg.Go(func() { _ = c.press(ctx, worker, path, body) }) // whoever is away is away
		}
	}
}

// action is what an operator does about a letter, or, if that may be wide, about all that
// are like it; no path: nothing.
func (c *campaign) action(l campaignLetter, roll *rand.Rand, wide bool) (path string, body map[string]any) {
	by := map[string]any{"actor": "ann", "reason": "campaign"}
	switch {
	case l.Code == saga.CodeOutcomeUnknown:
		return c.askPressOne(l, by)
	case !l.Replayable:
		return "", nil
	case l.Code == "34" && roll.IntN(3) == 0:
		by["dead_letter_id"] = l.ID
		return fmt.Sprintf("sagas/%s/discard", l.SagaID), by
	case l.SagaID == nil && roll.IntN(4) == 0:
		return fmt.Sprintf("dead-letters/%s/discard", l.ID), by
	case l.SagaID == nil && roll.IntN(4) != 0: // each replay makes another message
		return "", nil
	}
	switch n := roll.IntN(4); {
	case n == 0 && wide && l.SagaID != nil:
		by["code"], by["rate"] = l.Code, 5+roll.IntN(50)
		return "replays", by
	case n <= 1:
		by["ids"] = []uuid.UUID{l.ID}
		return "replays", by
	}
	by["ids"] = []uuid.UUID{l.ID}
	return "dead-letters/replay", by
}

// askPressOne looks into the ledger, as the provider's support would, once whatever was sent
// has settled.
func (c *campaign) askPressOne(l campaignLetter, by map[string]any) (string, map[string]any) {
	if !l.Settled {
		return "", nil
	}
	by["dead_letter_id"] = l.ID
	if sold := c.sim.Sold(l.Reference); len(sold) > 0 {
		by["order_id"] = sold[0].ID
		return fmt.Sprintf("sagas/%s/adopt", l.SagaID), by
	}
	return fmt.Sprintf("sagas/%s/confirm-absent", l.SagaID), by
}

// press asks a worker's API to do something, and counts what came of it.
func (c *campaign) press(ctx context.Context, worker int, path string, body map[string]any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	res, err := c.request(ctx, http.MethodPost, worker, path, string(text))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	c.count1(fmt.Sprintf("operator's requests answered %d", res.StatusCode))
	return nil
}

// request sends a request to a worker's API, whose answer is the caller's to close.
func (c *campaign) request(ctx context.Context, method string, worker int, path, body string) (*http.Response, error) {
	address := c.programs[worker].log.api()
	if address == "" {
		return nil, fmt.Errorf("%s is away", c.programs[worker].name)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+address+"/api/v1/"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
}

// resolve waits for the end of everything. Meanwhile a careful operator resolves what has
// stopped and can go on.
func (c *campaign) resolve() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), campaignHeal)
	defer cancel()
	roll := c.dice(campaignOperatorDice)
	for worker := 0; ; worker++ {
		waiting, err := c.waiting(ctx)
		if err == nil && len(waiting) == 0 {
			c.note("everything has come to an end")
			return
		}
		if worker%30 == 0 {
			c.note("waiting for %s", strings.Join(waiting, ", "))
		}
		if ctx.Err() != nil {
			c.problem("not everything came to an end: %v %v", waiting, err)
			return
		}
		letters, err := c.openLetters(ctx)
		if err != nil { // a connection from before Postgres crashed
			c.note("letters: %v", err)
		}
		for _, l := range letters {
			if l.SagaID == nil || !c.mayGoOn(l) {
				continue
			}
			if path, body := c.action(l, roll, false); path != "" {
				_ = c.press(ctx, worker%3, path, body) // again in a moment, at the next one
			}
		}
		c.until(ctx, time.Since(c.began)+300*time.Millisecond)
	}
}

// mayGoOn reports whether a letter's request is to be completed in the end.
func (c *campaign) mayGoOn(l campaignLetter) bool {
	end := c.expected[campaignKey{l.Kind, l.RequestID}]
	return end.completed || !slices.Contains(end.codes, l.Code)
}

// waiting says what has not come to its end yet.
func (c *campaign) waiting(ctx context.Context) ([]string, error) {
	var waiting []string
	tell := func(n int, what string) {
		if n > 0 {
			waiting = append(waiting, fmt.Sprintf("%d %s", n, what))
		}
	}
	for _, k := range message.Kinds() {
		consumer, err := c.js.Consumer(ctx, message.RequestsStream, message.Consumer(k))
		if err != nil {
			return nil, err
		}
		info := consumer.CachedInfo()
		tell(int(info.NumPending)+info.NumAckPending, "requests of kind "+string(k))
	}
	var moving, outbox int
	err := c.db.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM saga WHERE state NOT IN ('completed', 'dead_lettered', 'discarded')),
		       (SELECT count(*) FROM outbox)`).Scan(&moving, &outbox)
	if err != nil {
		return nil, err
	}
	tell(moving, "sagas under way")
	tell(outbox, "messages in the outbox")
	letters, err := c.openLetters(ctx)
	if err != nil {
		return nil, err
	}
	stopped := 0
	for _, l := range letters {
		if l.SagaID != nil && c.mayGoOn(l) {
			stopped++
		}
	}
	tell(stopped, "dead letters that can go on")
	return waiting, nil
}
