// Package apitest holds what travels on NATS against the schemas of package api. It is for
// tests; programs that serve do not validate what they have made themselves.
package apitest

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"esimflow/api"
	"esimflow/internal/message"
)

// CheckRequest validates a request of kind k, and returns what the schema holds against it.
func CheckRequest(tb testing.TB, k message.Kind, body []byte) error {
	tb.Helper()
	return Validate(tb, string(k)+"-request.json", body)
}

// CheckEvent fails tb unless body is a result of that kind and outcome, to the letter.
func CheckEvent(tb testing.TB, k message.Kind, o message.Outcome, body []byte) {
	tb.Helper()
	if err := Validate(tb, string(o)+"-event.json", body); err != nil {
		tb.Fatalf("apitest: the %s event of this %s: %v\n%s", o, k, err, body)
	}
	event := decode(tb, body)
	data := member(event, "data")
	id, _ := event["id"].(string)
	saga, _ := data["saga_id"].(string)
	switch {
	case event["type"] != fmt.Sprintf("esimflow.%s.%s.v1", k, o):
		tb.Fatalf("apitest: the event's type is %v, and this is a %s", event["type"], k)
	case event["subject"] != data["request_id"]:
		tb.Fatalf("apitest: the event's subject is %q, and the request_id is %q", event["subject"], data["request_id"])
	case !strings.HasPrefix(id, saga+"."):
		tb.Fatalf("apitest: the event's id is %q, and the saga's %q", id, saga)
	}
}

// CheckDeadLetter fails tb unless the headers of a message on ESIM_DLQ are as they should
// be. Those of the sender may be anything.
func CheckDeadLetter(tb testing.TB, header nats.Header) {
	tb.Helper()
	schema := compiled(tb, "dead-letter-headers.json")
	ours := map[string]any{}
	for name, values := range header {
		isOurs := false
		for property := range schema.Properties {
			isOurs = isOurs || strings.EqualFold(property, name)
		}
		_, exactly := schema.Properties[name]
		isNATSs := strings.HasPrefix(strings.ToLower(name), "nats-")
		switch {
		case exactly && len(values) != 1:
			tb.Fatalf("apitest: %s has %d values", name, len(values))
		case exactly:
			ours[name] = values[0]
		case isOurs, isNATSs && !slices.Contains(served, name):
			tb.Fatalf("apitest: the sender's %s was not taken away", name)
		}
	}
	if err := schema.Validate(ours); err != nil {
		tb.Fatalf("apitest: the headers of the dead letter: %v\n%v", err, header)
	}
	if id := header.Get(nats.MsgIdHdr); id != "" && id != ours["Esim-Dead-Letter-Id"] {
		tb.Fatalf("apitest: the Nats-Msg-Id is %q, and the dead letter's %q", id, ours["Esim-Dead-Letter-Id"])
	}
}

// served are the headers of NATS's own that a dead letter has: its id, and what a server adds
// to what it takes from a stream directly.
var served = []string{nats.MsgIdHdr, "Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Last-Sequence", "Nats-Num-Pending", "Nats-UpTo-Sequence"}

// Validate holds a JSON document against a schema of package api, by its file's name.
func Validate(tb testing.TB, schema string, document []byte) error {
	tb.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return fmt.Errorf("apitest: not JSON: %w", err)
	}
	return compiled(tb, schema).Validate(value)
}

func compiled(tb testing.TB, name string) *jsonschema.Schema {
	tb.Helper()
	all, err := compileAll()
	if err != nil {
		tb.Fatal(err)
	}
	schema, ok := all[name]
	if !ok {
		tb.Fatalf("apitest: there is no schema %s", name)
	}
	return schema
}

// compileAll compiles every schema, formats asserted.
var compileAll = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	names, err := fs.Glob(api.Schemas(), "*.json")
	if err != nil {
		return nil, err
	}
	all := map[string]*jsonschema.Schema{}
	for _, name := range names {
		file, err := fs.ReadFile(api.Schemas(), name)
		if err != nil {
			return nil, err
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
		if err != nil {
			return nil, fmt.Errorf("apitest: %s: %w", name, err)
		}
		if err := compiler.AddResource("api:///schemas/"+name, document); err != nil {
			return nil, fmt.Errorf("apitest: %s: %w", name, err)
		}
	}
	for _, name := range names {
		if all[name], err = compiler.Compile("api:///schemas/" + name); err != nil {
			return nil, fmt.Errorf("apitest: %s: %w", name, err)
		}
	}
	return all, nil
})

func decode(tb testing.TB, document []byte) map[string]any {
	tb.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	object, ok := value.(map[string]any)
	if err != nil || !ok {
		tb.Fatalf("apitest: not a JSON object: %v", err)
	}
	return object
}

func member(object map[string]any, name string) map[string]any {
	m, _ := object[name].(map[string]any)
	return m
}
