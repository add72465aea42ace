package message

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// What a CloudEvent says of itself.
const (
	cloudEventsVersion = "1.0"
	cloudEventsJSON    = "application/cloudevents+json"
	applicationJSON    = "application/json"
)

// payload unwraps body if it is a structured CloudEvent. In binary mode, and in plain
// JSON, the body is the payload.
func payload(h nats.Header, body []byte) ([]byte, error) {
	switch mediaType := mediaType(Header(h, "content-type")); {
	case mediaType == cloudEventsJSON:
		data, err := unwrap(body)
		if err != nil {
			return nil, fmt.Errorf("message: the CloudEvent: %w", err)
		}
		return data, nil
	case strings.HasPrefix(mediaType, "application/cloudevents"):
		return nil, fmt.Errorf("message: content type %q is not supported, only %s", clip(mediaType, 64), cloudEventsJSON)
	}
	return body, nil
}

// unwrap reads the data of a structured CloudEvent 1.0. Of its attributes only those that
// say how to read the data matter: what is to be bought is in there, and nowhere else.
//
// It is written here because the bytes come from anywhere: the CloudEvents SDK (2.16)
// panics on {"specversion":"1.0","data_base64":1}, and a request must not be able to end
// the process. The tests compare the two.
func unwrap(body []byte) ([]byte, error) {
	e, err := object(body, "specversion", "datacontenttype", "data", "data_base64")
	if err != nil {
		return nil, err
	}
	var version, contentType string
	if json.Unmarshal(e["specversion"], &version) != nil || version != cloudEventsVersion {
		return nil, errors.New("specversion must be " + cloudEventsVersion)
	}
	if raw := e["datacontenttype"]; isSet(raw) && json.Unmarshal(raw, &contentType) != nil {
		return nil, errors.New("datacontenttype must be a string")
	}
	data, encoded := e["data"], e["data_base64"]
	switch {
	case isSet(data) && isSet(encoded):
		return nil, errors.New("it has data and data_base64")
	case isSet(encoded):
		var text string
		if json.Unmarshal(encoded, &text) != nil {
			return nil, errors.New("data_base64 must be a string")
		}
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, errors.New("data_base64 is not base64")
		}
		return decoded, nil
	case !isSet(data):
		return nil, errors.New("it has no data")
	}
	return content(data, mediaType(contentType))
}

// content reads data as CloudEvents' JSON format, 3.1, has it: JSON is a value, anything
// else is in a string. The CloudEvents SDK puts what is application/…+json into a string,
// too.
func content(data json.RawMessage, mediaType string) ([]byte, error) {
	isJSON := mediaType == "" || mediaType == applicationJSON || mediaType == "text/json"
	switch {
	case data[0] == '"' && !isJSON:
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		return []byte(text), nil
	case !isJSON && !strings.HasSuffix(mediaType, "+json"):
		return nil, errors.New("data must be a string, as datacontenttype is not JSON")
	}
	return data, nil
}

// isSet reports whether a member of an object is there, and not null.
func isSet(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// mediaType is a content type without its parameters.
func mediaType(contentType string) string {
	t, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(t))
}
