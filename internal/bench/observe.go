package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"esimflow/internal/message"
)

// observer notes the results as they arrive. They are read afterwards, so that it costs
// little while it matters.
type observer struct {
	mu     sync.Mutex
	events []arrival
	latest time.Time

	more      chan struct{} // something has arrived
	consuming jetstream.ConsumeContext
}

type arrival struct {
	at      time.Time
	subject string
	body    []byte
}

// observe follows ESIM_EVENTS from its present end on.
func observe(ctx context.Context, js jetstream.JetStream) (*observer, error) {
	last, err := lastOf(ctx, js, message.EventsStream)
	if err != nil {
		return nil, err
	}
	consumer, err := js.OrderedConsumer(ctx, message.EventsStream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: last + 1,
	})
	if err != nil {
		return nil, fmt.Errorf("bench: follow the results: %w", err)
	}
	o := &observer{latest: time.Now(), more: make(chan struct{}, 1)}
	o.consuming, err = consumer.Consume(func(m jetstream.Msg) { o.note(m) }, jetstream.PullMaxMessages(5000))
	if err != nil {
		return nil, fmt.Errorf("bench: follow the results: %w", err)
	}
	return o, nil
}

// lastOf is the sequence of a stream's last message.
func lastOf(ctx context.Context, js jetstream.JetStream, stream string) (uint64, error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("bench: stream %s: %w", stream, err)
	}
	return s.CachedInfo().State.LastSeq, nil
}

func (o *observer) note(m jetstream.Msg) {
	now := time.Now()
	o.mu.Lock()
	o.events = append(o.events, arrival{now, m.Subject(), m.Data()})
	o.latest = now
	o.mu.Unlock()
	select {
	case o.more <- struct{}{}:
	default:
	}
}

func (o *observer) count() (int, time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.events), o.latest
}

func (o *observer) stop() { o.consuming.Stop() }

// stallTimeout is how long no result may arrive while some are missing.
const stallTimeout = time.Minute

// await waits until n results have arrived, and tells progress, which may be nil.
func (o *observer) await(ctx context.Context, n int, progress func(done, of int)) error {
	if progress == nil {
		progress = func(int, int) {}
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		have, latest := o.count()
		progress(min(have, n), n)
		if have >= n {
			return nil
		}
		if time.Since(latest) > stallTimeout {
			return fmt.Errorf("bench: it stands still: %d of %d results, and none for %v", have, n, stallTimeout)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-o.more:
		case <-tick.C:
		}
	}
}

// results is what has arrived for a batch.
type results struct {
	arrived  []time.Time // the first result of each request, by number; zero for none
	ordered  []time.Time // of all that arrived, in order
	distinct int         // requests that have completed
	again    int         // completions of a request that had completed before
	failed   int
	foreign  int // of no request of this batch
	example  string
}

// read reads what has arrived.
func (o *observer) read(b batch) results {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := results{arrived: make([]time.Time, b.n)}
	for _, e := range o.events {
		r.ordered = append(r.ordered, e.at)
		var event struct {
			Subject string `json:"subject"`
			Data    struct {
				Code   string `json:"code"`
				Reason string `json:"reason"`
			} `json:"data"`
		}
		number, ours := -1, false
		if json.Unmarshal(e.body, &event) == nil {
			var text string
			if text, ours = strings.CutPrefix(event.Subject, b.prefix); ours {
				n, err := strconv.Atoi(text)
				number, ours = n, err == nil && n >= 0 && n < b.n
			}
		}
		switch {
		case !ours:
			r.foreign++
		case !strings.HasSuffix(e.subject, "."+string(message.Completed)):
			r.failed++
			r.example = fmt.Sprintf("%s ended as %s: %s", event.Subject, event.Data.Code, event.Data.Reason)
		case !r.arrived[number].IsZero():
			r.again++
		default:
			r.arrived[number] = e.at
			r.distinct++
		}
	}
	return r
}
