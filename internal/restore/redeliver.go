package restore

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"esimflow/internal/message"
)

// Redeliver makes the consumers of requests anew, so that everything on the stream is delivered
// again: what the database knows is a duplicate and changes nothing. It returns how many
// requests that is.
func Redeliver(ctx context.Context, js jetstream.JetStream) (int, error) {
	for _, c := range message.Consumers() {
		err := js.DeleteConsumer(ctx, message.RequestsStream, c.Durable)
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return 0, fmt.Errorf("restore: consumer %s: %w", c.Durable, err)
		}
		if _, err := js.CreateConsumer(ctx, message.RequestsStream, c); err != nil {
			return 0, fmt.Errorf("restore: consumer %s: %w", c.Durable, err)
		}
	}
	return Left(ctx, js)
}

// Left counts the requests that are yet to be taken, or are out and not acknowledged.
func Left(ctx context.Context, js jetstream.JetStream) (int, error) {
	left := 0
	for _, c := range message.Consumers() {
		consumer, err := js.Consumer(ctx, message.RequestsStream, c.Durable)
		if err != nil {
			return 0, fmt.Errorf("restore: consumer %s: %w", c.Durable, err)
		}
		info := consumer.CachedInfo() // just read
		left += int(info.NumPending) + info.NumAckPending
	}
	return left, nil
}
