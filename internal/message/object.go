package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
)

// object reads exactly one JSON object and returns those of its members that are asked for.
// Names are matched to the letter, which encoding/json's structs would not do, and none of
// them may come twice: readers differ on which of two values counts, and this is about
// money.
func object(data []byte, names ...string) (map[string]json.RawMessage, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	switch start, err := dec.Token(); {
	case errors.Is(err, io.EOF):
		return nil, errors.New("empty")
	case err != nil:
		return nil, fmt.Errorf("not JSON: %w", err)
	case start != json.Delim('{'):
		return nil, errors.New("not a JSON object")
	}
	members := make(map[string]json.RawMessage, len(names))
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		name, ok := key.(string)
		if !ok || !slices.Contains(names, name) {
			continue
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("not clear: it has two values for %s", name)
		}
		members[name] = value
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON object")
	}
	return members, nil
}
