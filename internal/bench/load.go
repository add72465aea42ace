package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"esimflow/internal/message"
)

// What is bought.
const (
	orderPackage = "kallur-digital-7days-1gb"
	topupPackage = "bonbon-mobile-30days-3gb-topup"
)

// iccid is that of the i-th eSIM that can be topped up.
func iccid(i int) string { return fmt.Sprintf("8934999%013d", i) }

// batch is requests that belong together: a warm-up or a run.
type batch struct {
	prefix string // of their ids
	n      int
	cfg    Config
}

func (b batch) id(i int) string { return fmt.Sprintf("%s%09d", b.prefix, i) }

// request is the i-th one.
func (b batch) request(i int) *nats.Msg {
	if b.cfg.topup(i) {
		return &nats.Msg{Subject: message.RequestSubject(message.Topup), Data: fmt.Appendf(nil,
			`{"request_id":%q,"iccid":%q,"package_id":%q,"metadata":{"customer":"c-%d"}}`,
			b.id(i), iccid(b.cfg.topups(i)), topupPackage, i)}
	}
	return &nats.Msg{Subject: message.RequestSubject(message.Order), Data: fmt.Appendf(nil,
		`{"request_id":%q,"package_id":%q,"quantity":1,"metadata":{"customer":"c-%d"}}`,
		b.id(i), orderPackage, i)}
}

// patient waits where too many acknowledgements are outstanding.
var patient = jetstream.WithStallWait(30 * time.Second)

// publishAll puts all requests on the stream and waits until JetStream has them.
func (b batch) publishAll(ctx context.Context, js jetstream.JetStream) error {
	var last jetstream.PubAckFuture
	for i := range b.n {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		ack, err := js.PublishMsgAsync(b.request(i), patient)
		if err != nil {
			return fmt.Errorf("bench: publish: %w", err)
		}
		last = ack
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-last.Err():
		return fmt.Errorf("bench: publish: %w", err)
	default:
		return nil // one that was refused has no result, and the run fails
	}
}

// publishEvenly puts requests on the stream at so many a second and returns when each one
// was, and by how much one was late at the most.
func (b batch) publishEvenly(ctx context.Context, js jetstream.JetStream, rate float64) (sent []time.Time, late time.Duration, err error) {
	sent = make([]time.Time, b.n)
	begin := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range b.n {
		due := begin.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil, 0, context.Cause(ctx)
			}
		}
		m := b.request(i)
		sent[i] = time.Now()
		late = max(late, sent[i].Sub(due))
		if _, err := js.PublishMsgAsync(m, patient); err != nil {
			return nil, 0, fmt.Errorf("bench: publish: %w", err)
		}
	}
	return sent, late, nil
}
