package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"esimflow/internal/message"
	"esimflow/internal/saga"
)

// traffic publishes samples and watches how they end.
type traffic struct {
	*dev
	samples []sample
	started time.Time

	mu    sync.Mutex
	ends  map[string]string // by kind and request id: completed, or a dead letter's code
	seen  map[string]bool   // ids of events: they come at least once
	sagas map[string]saga.Summary
}

func newTraffic(d *dev, all []sample) *traffic {
	return &traffic{dev: d, samples: all, ends: map[string]string{}, seen: map[string]bool{}, sagas: map[string]saga.Summary{}}
}

// patience is how long dev --once waits for the samples to end.
const patience = 5 * time.Minute

// run publishes all samples and shows what becomes of them, until all have ended.
func (t *traffic) run(ctx context.Context) error {
	t.started = time.Now()
	stop, err := t.watch(ctx)
	if err != nil {
		return err
	}
	defer stop()
	for _, s := range t.samples {
		if s.pkg.ID != "" {
			t.sim.AddPackage(s.pkg)
		}
		if s.fault.Action != "" {
			t.sim.Inject(s.fault)
		}
	}
	published := make(chan error, 1)
	go func() { published <- t.publish(ctx) }()
	v := newView(t)
	defer v.close()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-published:
			if err != nil {
				return err
			}
			published = nil
		case <-tick.C:
		}
		t.refresh(ctx)
		v.draw()
		open := t.open()
		if published == nil && len(open) == 0 && t.taken(ctx) {
			return nil
		}
		if time.Since(t.started) > patience {
			return fmt.Errorf("these have not ended after %v: %s", patience, strings.Join(open, ", "))
		}
	}
}

func (t *traffic) publish(ctx context.Context) error {
	for _, s := range t.samples {
		if s.before != nil {
			s.before(t.sim.Sim)
		}
		m := &nats.Msg{Subject: message.RequestSubject(s.kind), Data: []byte(s.body), Header: nats.Header{}}
		for i := 0; i+1 < len(s.header); i += 2 {
			m.Header[s.header[i]] = []string{s.header[i+1]}
		}
		if _, err := t.js.PublishMsg(ctx, m); err != nil {
			return fmt.Errorf("publish %s: %w", s.id, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(30 * time.Millisecond):
		}
	}
	return nil
}

// watch follows the results, and the dead letters that have no saga and so no result.
func (t *traffic) watch(ctx context.Context) (stop func(), err error) {
	follow := func(stream string, handle func(jetstream.Msg)) (jetstream.ConsumeContext, error) {
		s, err := t.js.Stream(ctx, stream)
		if err != nil {
			return nil, err
		}
		// By its number: a consumer of what is new that is made again before anything has come would miss what came meanwhile.
		c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: s.CachedInfo().State.LastSeq + 1,
		})
		if err != nil {
			return nil, err
		}
		return c.Consume(handle)
	}
	results, err := follow(message.EventsStream, t.result)
	if err != nil {
		return nil, err
	}
	letters, err := follow(message.DeadLettersStream, t.letter)
	if err != nil {
		results.Stop()
		return nil, err
	}
	return func() {
		results.Stop()
		letters.Stop()
	}, nil
}

func (t *traffic) result(m jetstream.Msg) {
	var e struct {
		ID   string `json:"id"`
		Data struct {
			Kind      message.Kind `json:"kind"`
			RequestID string       `json:"request_id"`
			Code      string       `json:"code"`
		} `json:"data"`
	}
	if json.Unmarshal(m.Data(), &e) != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen[e.ID] {
		return
	}
	t.seen[e.ID] = true
	end := e.Data.Code
	if end == "" {
		end = wantCompleted
	}
	key := string(e.Data.Kind) + " " + e.Data.RequestID
	if t.ends[key] != "" {
		end = t.ends[key] + " and " + end // ended twice: the summary will say so
	}
	t.ends[key] = end
}

func (t *traffic) letter(m jetstream.Msg) {
	code := m.Headers().Get(message.HeaderCode)
	if m.Headers().Get(message.HeaderSagaID) != "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ends[code] = code
}

// end is how a sample has ended, or nothing yet.
func (t *traffic) end(s sample) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch s.want {
	case wantDuplicate:
		return wantDuplicate // it has no end of its own: the books will tell
	case "malformed", "conflict":
		return t.ends[s.want]
	}
	return t.ends[string(s.kind)+" "+s.id]
}

func (t *traffic) open() []string {
	var open []string
	for _, s := range t.samples {
		if t.end(s) == "" {
			open = append(open, s.id)
		}
	}
	return open
}

// taken reports whether intake has acknowledged every request.
func (t *traffic) taken(ctx context.Context) bool {
	for _, k := range message.Kinds() {
		c, err := t.js.Consumer(ctx, message.RequestsStream, message.Consumer(k))
		if err != nil || c.CachedInfo().NumPending > 0 || c.CachedInfo().NumAckPending > 0 {
			return false
		}
	}
	return true
}

// refresh reads the sagas from the worker's API, as esimctl saga list does.
func (t *traffic) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.apiURL+"/api/v1/sagas?limit=1000", http.NoBody)
	if err != nil {
		return
	}
	res, err := (&http.Client{}).Do(req)
	if err != nil {
		return // not there yet
	}
	defer func() { _ = res.Body.Close() }()
	var all []saga.Summary
	if json.NewDecoder(res.Body).Decode(&all) != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range all {
		t.sagas[string(s.Kind)+" "+s.RequestID] = s
	}
}

// trickle sends a plain order every few seconds until ctx is cancelled, and says how far it is.
func (t *traffic) trickle(ctx context.Context) error {
	status := newBar(t.err)
	defer status.done()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(2 * time.Second):
		}
		body := fmt.Sprintf(`{"request_id":"%strickle-%d","package_id":%q}`, t.prefix, n, plainPackage)
		if _, err := t.js.Publish(ctx, message.RequestSubject(message.Order), []byte(body)); err != nil && ctx.Err() == nil {
			return err
		}
		status.tell(fmt.Sprintf("%s · orders since: %d · PressOne sold %d", time.Since(t.started).Truncate(time.Second), n, t.sim.SoldCount()))
	}
}
