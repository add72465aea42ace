package app_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/pressonesim"
	"esimflow/internal/saga"
)

// press asks a worker's API for something and returns its answer, or why there is none.
func (b *bench) press(api, path, body string) string {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+api+"/api/v1/"+path, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return "no answer"
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return "no answer"
	}
	return string(text)
}

// act is an operator's action on the journey's saga, pressed when it has stopped.
type act struct {
	path, body string
	change     func(b *bench) // what makes sense of it, beforehand
}

// first presses it at the worker that is going to be killed; nobody gets an answer.
func (a act) first(b *bench, api string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return b.count("SELECT count(*) FROM dead_letter") == 1 },
		unhurried, 5*time.Millisecond, "it does not stop")
	if a.change != nil {
		a.change(b)
	}
	a = a.about(b)
	answer := make(chan string, 1)
	go func() { answer <- b.press(api, a.path, a.body) }()
	b.t.Cleanup(func() { require.Equal(b.t, "no answer", <-answer) })
}

// about names the letter, where the action is about one.
func (a act) about(b *bench) act {
	b.t.Helper()
	if strings.Contains(a.body, "%s") {
		var id string
		require.NoError(b.t, b.db.QueryRow(b.t.Context(), `SELECT id::text FROM dead_letter ORDER BY created_at LIMIT 1`).Scan(&id))
		a.body = fmt.Sprintf(a.body, id)
	}
	return a
}

// again presses it once more, at another worker.
func (a act) again(b *bench, w *app.Worker) string {
	b.t.Helper()
	a = a.about(b)
	answer := b.press(w.APIAddr(), a.path, a.body)
	done := strings.Contains(answer, `"done":true`) || strings.Contains(answer, `"state":`)
	if !done {
		require.NotContains(b.t, answer, `"failed":true`)
	}
	return fmt.Sprintf("The operator presses again: %s.", map[bool]string{true: "it is done", false: "it is refused, for it was done before"}[done])
}

// What operators do is a commit like any other. Nobody tells them whether it was done, so
// they press again; what was done is not done twice.
func operatorPoints() []killPoint {
	hidden := pressonesim.Config{Knobs: pressonesim.Knobs{ListLag: time.Hour}}
	hold := map[string]string{"UNKNOWN_POLICY": "hold"}
	point := func(name, what string, edge saga.Rule, a act, p killPoint, stopped, gone string) killPoint {
		edge.From = saga.DeadLettered
		p.name, p.what, p.edge, p.press = name, what, edge, a.first
		if p.ends == 0 {
			p.ends = 2
		}
		p.sides = map[moment]killed{
			before: {
				books: stopped, again: a.again,
				story: "The operator gets no answer, nothing is on record, and the dead letter is still open. Pressing again does it.",
			},
			after: {
				books: gone, again: a.again,
				story: "The operator gets no answer, but it is done. Pressing again is refused, and says by whom it was done; the saga goes on by itself.",
			},
		}
		return p
	}
	return []killPoint{
		point("90-replayed", "the commit of its replay", saga.Rule{On: saga.Replayed, To: saga.Pending},
			replay(addCredit),
			killPoint{arrange: func(b *bench) { b.sim.SetBalance(0) }},
			"dead_lettered, 1 open letter, 2 messages in the outbox, PressOne has sold 0",
			"pending, 3 messages in the outbox, PressOne has sold 0"),
		point("91-replayed-unknown", "the commit of the replay of what may have been bought", saga.Rule{On: saga.Replayed, To: saga.Unknown},
			replay(showOrders),
			killPoint{sim: hidden, env: hold, arrange: lostAfter},
			"dead_lettered, 1 open letter, 2 messages in the outbox, PressOne has sold 1",
			"unknown, 3 messages in the outbox, PressOne has sold 1"),
		point("92-replayed-bought", "the commit of the replay of what was bought", saga.Rule{On: saga.Replayed, To: saga.Polling},
			replay(func(b *bench) { b.sim.Tune(func(k *pressonesim.Knobs) { k.ReadyAfter = 0 }) }),
			killPoint{
				sim: pressonesim.Config{Knobs: pressonesim.Knobs{ReadyAfter: time.Hour, NotReadyAs: pressonesim.NoQRCode}},
				env: map[string]string{"POLL_DEADLINE": "1us"},
			},
			"dead_lettered, 1 answer kept, 1 open letter, 2 messages in the outbox, PressOne has sold 1",
			"polling, 1 answer kept, 3 messages in the outbox, PressOne has sold 1"),
		point("93-adopted", "the commit that adopts its order", saga.Rule{On: saga.Adopted, To: saga.Polling},
			act{path: "sagas/journey/adopt", body: `{"order_id":9666,"actor":"ann","reason":"found in PressOne's console"}`},
			killPoint{sim: hidden, env: hold, arrange: lostAfter},
			"dead_lettered, 1 open letter, 2 messages in the outbox, PressOne has sold 1",
			"polling, 3 messages in the outbox, PressOne has sold 1"),
		point("94-confirmed-absent", "the commit that confirms its absence", saga.Rule{On: saga.ConfirmedAbsent, To: saga.Pending},
			act{path: "sagas/journey/confirm-absent", body: `{"actor":"ann","reason":"PressOne's support says there is none"}`},
			killPoint{env: hold, arrange: lostBefore},
			"dead_lettered, 1 open letter, 2 messages in the outbox, PressOne has sold 0",
			"pending, 3 messages in the outbox, PressOne has sold 0"),
		point("95-discarded", "the commit that discards it", saga.Rule{On: saga.WasDiscarded, To: saga.Discarded},
			act{path: "sagas/journey/discard", body: `{"actor":"ann","reason":"cancelled"}`},
			killPoint{arrange: fault(pressonesim.Fault{Action: pressonesim.Status, Status: 422, Code: 33}), sold: -1, ends: 1},
			"dead_lettered, 1 open letter, 2 messages in the outbox, PressOne has sold 0",
			"discarded, 3 messages in the outbox, PressOne has sold 0"),
		{
			name: "96-republished", what: "the commit of the replay of a request that could not be understood", body: "not JSON", sold: -1,
			stop: writes("AND saga_id IS NULL"), press: replay(nil).first,
			sides: map[moment]killed{
				before: {
					books: "no saga, 1 open letter, 1 message in the outbox, PressOne has sold 0", again: replay(nil).again, tell: tellLetters(2),
					story: "The operator gets no answer, nothing is on record, and the dead letter is still open. Pressing again publishes the " +
						"request again, as it was. It cannot be understood any better.",
				},
				after: {
					books: "no saga, 3 messages in the outbox, PressOne has sold 0", again: replay(nil).again, tell: tellLetters(2),
					story: "The operator gets no answer, but it is done: the request is in the outbox, and will be published once. Pressing again " +
						"is refused. It cannot be understood any better.",
				},
			},
		},
	}
}

func replay(change func(b *bench)) act {
	return act{path: "dead-letters/replay", body: `{"ids":["%s"],"actor":"ann","reason":"again"}`, change: change}
}

func addCredit(b *bench) { b.sim.SetBalance(1_000_00) }

func showOrders(b *bench) { b.sim.Tune(func(k *pressonesim.Knobs) { k.ListLag = 0 }) }
