package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/saga"
)

// judge compares the simulator's ledger, the sagas, their history, the dead letters and
// the three streams, once everything has come to its end.
func (c *campaign) judge() {
	c.t.Helper()
	b := c.readBooks()
	for _, s := range b.sagas {
		c.judgePurchases(b, s)
		c.judgeHistory(b, s)
		c.judgeEvents(b, s)
		c.judgeEnd(b, s)
	}
	c.judgeLedger(b)
	c.judgeLetters(b)
	c.judgeRequests(b)
	c.judgeCopies(b)
	c.judgeGate()
	c.judgeAudit(b)
	c.checkContracts()
	c.judgeSecrets(b)
	c.deliver(b)
}

// judgePurchases: at most one order is sold under a saga's reference, and that is the one
// it owns; PressOne saw no more submissions than there were intents.
func (c *campaign) judgePurchases(b books, s campaignSaga) {
	sold := c.sim.Sold(s.Reference)
	switch {
	case len(sold) > 1:
		c.find(s.ID, "bought %d times", len(sold))
	case len(sold) == 1 && s.OrderID != int64(sold[0].ID):
		c.find(s.ID, "PressOne sold it order %d, and it owns %d", sold[0].ID, s.OrderID)
	case len(sold) == 0 && s.OrderID != 0:
		c.find(s.ID, "owns order %d, and PressOne sold it none", s.OrderID)
	}
	if posts := c.provider.seen(s.Reference); len(posts) > s.Attempts {
		c.find(s.ID, "submitted %d times with %d intents", len(posts), s.Attempts)
	}
	found := slices.ContainsFunc(b.history[s.ID], func(e saga.Entry) bool { return e.Event == saga.Found || e.Event == saga.Adopted })
	if found {
		c.count1("answers of sales that were lost")
	}
}

// judgeLedger: every order sold belongs to one saga, and there are as many as sagas that
// own one.
func (c *campaign) judgeLedger(b books) {
	owners := map[int64]uuid.UUID{}
	for _, s := range b.sagas {
		if s.OrderID != 0 {
			if other, taken := owners[s.OrderID]; taken {
				c.find(s.ID, "owns order %d, as does %s", s.OrderID, other)
			}
			owners[s.OrderID] = s.ID
		}
	}
	for _, o := range b.ledger.Sold {
		if _, owned := owners[int64(o.ID)]; !owned {
			c.find(uuid.Nil, "order %d (%s, %q) was sold and nobody owns it", o.ID, o.Kind, o.Sent)
		}
	}
	if len(owners) != b.ledger.Count() {
		c.find(uuid.Nil, "%d sagas own an order, and %d were sold", len(owners), b.ledger.Count())
	}
}

// judgeHistory replays a saga's history through the table.
func (c *campaign) judgeHistory(b books, s campaignSaga) {
	state, version, attempts, ends := saga.State(""), int64(0), 0, 0
	for _, e := range b.history[s.ID] {
		if e.From != state || e.Version <= version {
			c.find(s.ID, "history: %s from %q in version %d follows %q in version %d", e.Event, e.From, e.Version, state, version)
		}
		allowed := slices.ContainsFunc(saga.Rules(), func(r saga.Rule) bool { return r.From == e.From && r.On == e.Event && r.To == e.To })
		if !allowed {
			c.find(s.ID, "history: %s from %q to %q is not in the table", e.Event, e.From, e.To)
		}
		if e.To == saga.Submitting {
			attempts++
		}
		if e.To == saga.Notifying || e.To == saga.DeadLettered {
			ends++
		}
		if e.Attempt != attempts {
			c.find(s.ID, "history: %s says attempt %d and is of attempt %d", e.Event, e.Attempt, attempts)
		}
		state, version = e.To, e.Version
	}
	if state != s.State || version > s.Version || attempts != s.Attempts || ends != s.Ends {
		c.find(s.ID, "history ends %s in version %d after %d attempts and %d ends; the saga is %s in version %d after %d and %d",
			state, version, attempts, ends, s.State, s.Version, s.Attempts, s.Ends)
	}
}

// judgeEvents: every end was announced, under one id, in the same bytes.
func (c *campaign) judgeEvents(b books, s campaignSaga) {
	n := 0
	for _, e := range b.history[s.ID] {
		outcome := message.Completed
		switch e.To {
		case saga.Notifying:
		case saga.DeadLettered:
			outcome = message.Failed
		default:
			continue
		}
		n++
		id := fmt.Sprintf("%s.%d.%s", s.ID, n, outcome)
		all := b.events[id]
		if len(all) == 0 {
			c.find(s.ID, "its end %d was not announced: there is no event %s", n, id)
			continue
		}
		for _, m := range all {
			if !bytes.Equal(m.Data, all[0].Data) || m.Header.Get("Nats-Msg-Id") != id || m.Subject != message.EventSubject(s.Kind, outcome) {
				c.find(s.ID, "event %s is there in different versions", id)
			}
		}
		c.counted("events published twice", len(all)-1)
		delete(b.events, id)
		if outcome == message.Failed {
			c.judgeFailed(b, s, n, all[0].Data)
		}
	}
}

// judgeFailed: a failed event and its dead letter say the same.
func (c *campaign) judgeFailed(b books, s campaignSaga, n int, data []byte) {
	var e struct {
		Data message.FailedData `json:"data"`
	}
	require.NoError(c.t, json.Unmarshal(data, &e))
	id := saga.Saga{ID: s.ID, Ends: n}.DeadLetter()
	l, exists := b.letters[id]
	if !exists || e.Data.DeadLetterID != id.String() || e.Data.Purchased != l.Purchased || e.Data.Code != l.Code {
		c.find(s.ID, "end %d: the event says %s, purchased %s, letter %s; the letter says %s, %s, %s",
			n, e.Data.Code, e.Data.Purchased, e.Data.DeadLetterID, l.Code, l.Purchased, l.ID)
	}
}

// judgeEnd: what should have been bought was bought, and what was not stopped for the
// right reason.
func (c *campaign) judgeEnd(b books, s campaignSaga) {
	end, known := c.expected[campaignKey{s.Kind, s.RequestID}]
	if !known {
		c.find(s.ID, "nobody asked for it: %s %s", s.Kind, s.RequestID)
		return
	}
	if end.completed && s.State != saga.Completed {
		c.find(s.ID, "it should have been completed and is %s", s.State)
	}
	if !end.completed && s.State != saga.DeadLettered && s.State != saga.Discarded {
		c.find(s.ID, "it should have stopped and is %s", s.State)
	}
	for _, e := range b.history[s.ID] {
		bad := e.Code == saga.CodeRetriesExhausted || s.Kind == message.Topup && e.Code == saga.CodeOutcomeUnknown
		if e.To == saga.DeadLettered && !bad && !slices.Contains(end.codes, e.Code) {
			c.find(s.ID, "it stopped for %s, which was not to be", e.Code)
		}
	}
}

// judgeLetters: purchased is true. "no" means that nothing had been sold, and nothing was
// until an operator sent it on; "yes", that it had been sold.
func (c *campaign) judgeLetters(b books) {
	for _, l := range b.letters {
		if l.SagaID == nil {
			if l.Purchased != message.PurchasedNo {
				c.find(uuid.Nil, "letter %s has no saga and says purchased %s", l.ID, l.Purchased)
			}
			continue
		}
		s, exists := b.sagas[*l.SagaID]
		if !exists {
			c.find(*l.SagaID, "letter %s: its saga does not exist", l.ID)
			continue
		}
		for _, o := range c.sim.Sold(s.Reference) {
			at := o.CreatedAt.Add(-c.skew)
			open := l.ResolvedAt == nil || at.Before(*l.ResolvedAt)
			if l.Purchased == message.PurchasedNo && open {
				c.find(s.ID, "letter %s says purchased no, and order %d was sold at %s", l.ID, o.ID, stamp(at))
			}
			if l.Purchased == message.PurchasedYes && at.After(l.CreatedAt) {
				c.find(s.ID, "letter %s says purchased yes, and order %d was sold later, at %s", l.ID, o.ID, stamp(at))
			}
		}
		if l.Purchased == message.PurchasedYes && len(c.sim.Sold(s.Reference)) == 0 {
			c.find(s.ID, "letter %s says purchased yes, and nothing was sold", l.ID)
		}
	}
	for id, all := range b.events {
		c.find(uuid.Nil, "%d events bear id %s, which no end has", len(all), id)
	}
}

// judgeRequests: every message on ESIM_REQUESTS is a saga, or a duplicate of one, or a dead
// letter that holds its bytes; and none that was acknowledged is missing.
func (c *campaign) judgeRequests(b books) {
	type source struct {
		subject  string
		sequence uint64
	}
	letters := map[source]campaignLetterRow{}
	for _, l := range b.letters {
		if l.SagaID == nil {
			letters[source{l.Subject, l.Sequence}] = l
		}
	}
	there := map[uint64]bool{}
	for _, m := range b.requests {
		there[m.Sequence] = true
		kind := message.Kind(strings.TrimPrefix(m.Subject, "esim.request."))
		want := ""
		request, err := message.DecodeRequest(kind, m.Header, m.Data)
		s, exists := b.byKey[campaignKey{kind, request.RequestID}]
		switch {
		case err != nil:
			want = saga.CodeMalformed
		case !exists:
			c.find(uuid.Nil, "request %s %s was lost: message %d", kind, request.RequestID, m.Sequence)
		case s.Fingerprint != request.Fingerprint():
			want = saga.CodeConflict
		}
		from := source{m.Subject, m.Sequence}
		if l := letters[from]; l.Code != want || want != "" && !bytes.Equal(l.Body, m.Data) {
			c.find(s.ID, "message %d should have become letter %q and became %q, %d of %d bytes", m.Sequence, want, l.Code, len(l.Body), len(m.Data))
		}
		delete(letters, from)
	}
	for from, l := range letters {
		c.find(uuid.Nil, "letter %s is of message %v, which does not exist", l.ID, from)
	}
	for _, sequence := range c.acked {
		if !there[sequence] {
			c.find(uuid.Nil, "message %d was acknowledged and is not there", sequence)
		}
	}
	for key := range c.expected {
		if _, exists := b.byKey[key]; !exists {
			c.find(uuid.Nil, "request %s %s has no saga", key.kind, key.id)
		}
	}
}

// judgeCopies: ESIM_DLQ shows the open letters, each once.
func (c *campaign) judgeCopies(b books) {
	open := map[string]campaignLetterRow{}
	for id, l := range b.letters {
		if l.Status == "open" {
			open[id.String()] = l
		}
	}
	for _, m := range b.copies {
		id := m.Header.Get(message.HeaderDeadLetterID)
		l, is := open[id]
		if !is || !bytes.Equal(l.Body, m.Data) || m.Header.Get(message.HeaderPurchased) != string(l.Purchased) {
			c.find(uuid.Nil, "ESIM_DLQ has a copy of letter %s, which is not open, or differs, or is there twice", id)
		}
		delete(open, id)
	}
	for id := range open {
		c.find(uuid.Nil, "letter %s is open and not on ESIM_DLQ", id)
	}
}

// judgeGate: no clock that was off has closed a lane for longer than PressOne asked.
func (c *campaign) judgeGate() {
	var seconds float64
	err := c.db.QueryRow(context.Background(), `
		SELECT max(extract(epoch FROM greatest(closed_until, now()) - now()))::float8
		FROM provider_gate`).Scan(&seconds)
	require.NoError(c.t, err)
	if seconds > 10 {
		c.find(uuid.Nil, "a lane of the gate is closed for another %.0f s", seconds)
	}
}

// judgeSecrets looks for what may be nowhere but in results. It does not print what it
// finds.
func (c *campaign) judgeSecrets(b books) {
	var kept string
	require.NoError(c.t, c.db.QueryRow(context.Background(), `
		SELECT COALESCE((SELECT string_agg(h::text, '') FROM saga_history h), '') ||
		       COALESCE((SELECT string_agg(reason, '') FROM dead_letter), '')`).Scan(&kept))
	places := map[string]string{"the history": kept}
	for _, p := range c.programs {
		text, err := p.log.whole()
		require.NoError(c.t, err)
		places[p.name+"'s log"] = text
	}
	secrets := map[string]string{"the client secret": campaignSecret, "an activation code": "LPA:1$", "a token": "Bearer "}
	for _, o := range b.ledger.Sold {
		for i, sim := range o.Sims {
			secrets[fmt.Sprintf("the matching id of eSIM %d of order %d", i, o.ID)] = sim.MatchingID
		}
	}
	for place, text := range places {
		for what, secret := range secrets {
			if strings.Contains(text, secret) {
				c.find(uuid.Nil, "%s is in %s", what, place)
			}
		}
	}
}
