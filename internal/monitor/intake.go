package monitor

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"esimflow/internal/message"
)

var (
	pendingDesc = prometheus.NewDesc("esimflow_intake_pending_messages",
		"Requests on the stream that were not delivered yet. Read from JetStream by every worker: use max by (consumer), not sum.",
		[]string{"consumer"}, nil)
	ackPendingDesc = prometheus.NewDesc("esimflow_intake_ack_pending_messages",
		"Requests that were delivered and are not acknowledged yet. Read from JetStream by every worker: use max by (consumer), not sum.",
		[]string{"consumer"}, nil)
	redeliveredDesc = prometheus.NewDesc("esimflow_intake_redelivered_messages",
		"Of the requests that are not acknowledged yet: those that were delivered more than once. Read from JetStream by every worker: "+
			"use max by (consumer), not sum.", []string{"consumer"}, nil)
)

// Intake shows what waits on the stream.
func Intake(js jetstream.JetStream) *Part {
	return &Part{name: "intake", descs: []*prometheus.Desc{pendingDesc, ackPendingDesc, redeliveredDesc}, read: func(ctx context.Context) ([]sample, error) {
		var samples []sample
		for _, k := range message.Kinds() {
			name := message.Consumer(k)
			c, err := js.Consumer(ctx, message.RequestsStream, name) // it asks for the consumer's info
			if err != nil {
				return nil, fmt.Errorf("monitor: consumer %s: %w", name, err)
			}
			info := c.CachedInfo()
			samples = append(samples,
				sample{desc: pendingDesc, value: float64(info.NumPending), labels: []string{name}},
				sample{desc: ackPendingDesc, value: float64(info.NumAckPending), labels: []string{name}},
				sample{desc: redeliveredDesc, value: float64(info.NumRedelivered), labels: []string{name}})
		}
		return samples, nil
	}}
}
