package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
	"esimflow/internal/saga"
)

// books is everything that is compared.
type books struct {
	sagas    map[uuid.UUID]campaignSaga
	byKey    map[campaignKey]campaignSaga
	history  map[uuid.UUID][]saga.Entry
	letters  map[uuid.UUID]campaignLetterRow
	events   map[string][]*jetstream.RawStreamMsg // by id
	requests []*jetstream.RawStreamMsg
	copies   []*jetstream.RawStreamMsg
	ledger   pressonesim.Ledger
}

// campaignSaga is a saga's row.
type campaignSaga struct {
	ID          uuid.UUID
	Kind        message.Kind
	RequestID   string
	State       saga.State
	Version     int64
	Reference   string
	Fingerprint string
	Attempts    int
	OrderID     int64
	Ends        int
}

// campaignLetterRow is a dead letter's row.
type campaignLetterRow struct {
	ID         uuid.UUID
	SagaID     *uuid.UUID
	Kind       message.Kind
	RequestID  string
	Code       string
	Purchased  message.Purchased
	Status     string
	CreatedAt  time.Time
	ResolvedAt *time.Time
	Subject    string
	Sequence   uint64
	Body       []byte
}

// readBooks reads everything, once it has come to its end, and counts it.
func (c *campaign) readBooks() books {
	c.t.Helper()
	b := books{
		sagas: map[uuid.UUID]campaignSaga{}, byKey: map[campaignKey]campaignSaga{}, history: map[uuid.UUID][]saga.Entry{},
		letters: map[uuid.UUID]campaignLetterRow{}, events: map[string][]*jetstream.RawStreamMsg{},
		requests: c.messages(message.RequestsStream), copies: c.messages(message.DeadLettersStream), ledger: c.sim.Ledger(),
	}
	ctx := context.Background()
	rows, err := c.db.Query(ctx, `
		SELECT id, kind, request_id, state, version, reference, fingerprint, attempts, COALESCE(order_id, 0) AS order_id, ends
		FROM saga`)
	require.NoError(c.t, err)
	sagas, err := pgx.CollectRows(rows, pgx.RowToStructByName[campaignSaga])
	require.NoError(c.t, err)
	store := saga.NewStore(c.db, saga.NewMetrics(prometheus.NewRegistry()))
	for _, s := range sagas {
		b.sagas[s.ID] = s
		b.byKey[campaignKey{s.Kind, s.RequestID}] = s
		b.history[s.ID], err = store.Timeline(ctx, s.ID)
		require.NoError(c.t, err)
		for _, e := range b.history[s.ID] {
			c.count1("event " + string(e.Event))
		}
		c.count1("saga " + string(s.State))
	}
	rows, err = c.db.Query(ctx, `
		SELECT id, saga_id, kind, request_id, code, purchased, status, created_at, resolved_at, subject, sequence, body
		FROM dead_letter`)
	require.NoError(c.t, err)
	letters, err := pgx.CollectRows(rows, pgx.RowToStructByName[campaignLetterRow])
	require.NoError(c.t, err)
	for _, l := range letters {
		b.letters[l.ID] = l
		c.count1(fmt.Sprintf("dead letter %s, purchased %s, %s", l.Code, l.Purchased, l.Status))
	}
	for _, m := range c.messages(message.EventsStream) {
		var e event
		require.NoError(c.t, json.Unmarshal(m.Data, &e))
		b.events[e.ID] = append(b.events[e.ID], m)
	}
	c.counted("orders sold", b.ledger.Count())
	c.counted("messages on ESIM_REQUESTS", len(b.requests))
	return b
}
