package message

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
)

const cloudEventsJSON = event.ApplicationCloudEventsJSON

// payload unwraps body if it is a structured CloudEvent. In binary mode, and in plain
// JSON, the body is the payload.
func payload(h nats.Header, body []byte) ([]byte, error) {
	contentType := strings.ToLower(Header(h, "content-type"))
	if !strings.HasPrefix(contentType, "application/cloudevents") {
		return body, nil
	}
	if !strings.HasPrefix(contentType, cloudEventsJSON) {
		return nil, fmt.Errorf("message: content type %q is not supported, only %s", contentType, cloudEventsJSON)
	}
	var e event.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, fmt.Errorf("message: the body is not a CloudEvent: %w", err)
	}
	if len(e.Data()) == 0 {
		return nil, errors.New("message: the CloudEvent has no data")
	}
	return e.Data(), nil
}

// Header reads a header whatever its case: NATS keeps case, and senders differ.
func Header(h nats.Header, name string) string {
	for key, values := range h {
		if len(values) > 0 && strings.EqualFold(key, name) {
			return values[0]
		}
	}
	return ""
}

// SenderHeaders is h without what NATS itself acts on: a Nats-Msg-Id that is published a
// second time inside the duplicate window would be acknowledged and not stored.
func SenderHeaders(h nats.Header) nats.Header {
	kept := nats.Header{}
	for key, values := range h {
		if !strings.HasPrefix(strings.ToLower(key), "nats-") {
			kept[key] = values
		}
	}
	return kept
}
