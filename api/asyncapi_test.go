package api_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"esimflow/api"
	"esimflow/internal/message"
)

// document is the AsyncAPI document as JSON has it.
func document(t *testing.T) object {
	t.Helper()
	dec := yaml.NewDecoder(bytes.NewReader(api.AsyncAPI()))
	var d object
	require.NoError(t, dec.Decode(&d))
	return d
}

// resolve finds what a reference refers to: in the document, or one of our schemas.
func resolve(t *testing.T, d object, ref string) any {
	t.Helper()
	if name, ok := strings.CutPrefix(ref, "./schemas/"); ok {
		return schema(t, name)
	}
	pointer, ok := strings.CutPrefix(ref, "#/")
	require.True(t, ok, "%s is no reference of ours", ref)
	var path []any
	for step := range strings.SplitSeq(pointer, "/") {
		path = append(path, step)
	}
	return at[any](t, d, path...)
}

// follow follows references until there is an object.
func follow(t *testing.T, d object, v any) object {
	t.Helper()
	o := at[object](t, v)
	if ref, ok := o["$ref"].(string); ok {
		require.Len(t, o, 1, "nothing may stand beside %s", ref)
		return follow(t, d, resolve(t, d, ref))
	}
	return o
}

// references lists every $ref below v.
func references(v any) []string {
	var all []string
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			all = append(all, ref)
		}
		for _, child := range v {
			all = append(all, references(child)...)
		}
	case []any:
		for _, child := range v {
			all = append(all, references(child)...)
		}
	}
	return all
}

func TestEveryReferenceResolves(t *testing.T) {
	t.Parallel()
	d := document(t)
	require.Equal(t, "3.0.0", d["asyncapi"])
	used := map[string]bool{}
	for _, ref := range references(d) {
		require.NotNil(t, resolve(t, d, ref), ref)
		used[ref] = true
	}
	names, err := fs.Glob(api.Schemas(), "*.json")
	require.NoError(t, err)
	for _, name := range names {
		require.True(t, used["./schemas/"+name], "nothing refers to %s", name)
	}
	for kind, all := range at[object](t, d, "components") {
		for name := range at[object](t, all) {
			require.True(t, used["#/components/"+kind+"/"+name], "nothing refers to %s %s", kind, name)
		}
	}
}

// TestChannelsAreTheStreamsSubjects compares both ways.
func TestChannelsAreTheStreamsSubjects(t *testing.T) {
	t.Parallel()
	d := document(t)
	var addresses, subjects, built []string
	for name, c := range at[object](t, d, "channels") {
		channel := follow(t, d, c)
		address := at[string](t, channel, "address")
		addresses = append(addresses, strings.ReplaceAll(address, "{code}", "*"))
		parameters, _ := channel["parameters"].(map[string]any)
		require.Equal(t, strings.Contains(address, "{code}"), parameters["code"] != nil, name)
		require.NotEmpty(t, channel["messages"], name)
		for _, stream := range message.Streams(1) {
			for _, subject := range stream.Subjects {
				if subject == addresses[len(addresses)-1] {
					require.Contains(t, channel["description"], stream.Name, name)
				}
			}
		}
	}
	for _, stream := range message.Streams(1) {
		if stream.Name != message.WitnessStream { // workers', among themselves
			subjects = append(subjects, stream.Subjects...)
		}
	}
	for _, k := range message.Kinds() {
		built = append(built, message.RequestSubject(k), message.EventSubject(k, message.Completed), message.EventSubject(k, message.Failed),
			strings.Replace(message.DeadLetterSubject(k, "CODE"), "CODE", "*", 1))
	}
	require.ElementsMatch(t, subjects, addresses)
	require.ElementsMatch(t, built, addresses)
}

// TestOperationsCoverEveryMessage holds to AsyncAPI's rule that an operation names messages
// of its own channel, and to ours that it names all of them, in the right direction.
func TestOperationsCoverEveryMessage(t *testing.T) {
	t.Parallel()
	d := document(t)
	covered := map[string]bool{}
	for name, o := range at[object](t, d, "operations") {
		operation := follow(t, d, o)
		channel := at[string](t, operation, "channel", "$ref")
		address := at[string](t, follow(t, d, operation["channel"]), "address")
		want := "send"
		if strings.HasPrefix(address, "esim.request.") {
			want = "receive"
		}
		require.Equal(t, want, operation["action"], name)
		require.True(t, strings.HasPrefix(name, want), name)
		for _, m := range at[[]any](t, operation, "messages") {
			ref := at[string](t, m, "$ref")
			require.True(t, strings.HasPrefix(ref, channel+"/messages/"), "%s: %s is not a message of its channel", name, ref)
			require.False(t, covered[ref], "%s is covered twice", ref)
			covered[ref] = true
		}
	}
	for name, c := range at[object](t, d, "channels") {
		for m := range at[object](t, follow(t, d, c), "messages") {
			require.True(t, covered["#/channels/"+name+"/messages/"+m], "no operation has %s of %s", m, name)
		}
	}
}

// inline replaces references by what they refer to, so that a schema stands alone.
func inline(t *testing.T, d object, v any) any {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			return inline(t, d, resolve(t, d, ref))
		}
		out := map[string]any{}
		for name, child := range v {
			if name != "$id" && name != "$schema" && name != "examples" {
				out[name] = inline(t, d, child)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, child := range v {
			out[i] = inline(t, d, child)
		}
		return out
	}
	return v
}

// validate holds a value against a schema of the document.
func validate(t *testing.T, d object, schema, value any) error {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	require.NoError(t, compiler.AddResource("asyncapi:///schema", asJSON(t, inline(t, d, schema))))
	compiled, err := compiler.Compile("asyncapi:///schema")
	require.NoError(t, err)
	return compiled.Validate(asJSON(t, value))
}

func asJSON(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	require.NoError(t, err)
	return value
}

func TestExamplesInTheDocumentAreGood(t *testing.T) {
	t.Parallel()
	d := document(t)
	checked := 0
	for name, m := range at[object](t, d, "components", "messages") {
		msg := follow(t, d, m)
		require.NotEmpty(t, msg["summary"], name)
		require.NoError(t, validate(t, d, msg["headers"], map[string]any{
			"Nats-Msg-Id": "019b8d3e-5c1a-7c44-9a55-3d1f6f0c2b11.1.completed", "Content-Type": "application/cloudevents+json",
			"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t",
			"Esim-Dead-Letter-Id": "6f2b8f0e-2f4e-5f0a-8c3d-7f1f0d2c9a10", "Esim-Code": "conflict", "Esim-Class": "conflict", "Esim-Reason": "r",
			"Esim-Attempts": "0", "Esim-Purchased": "no", "Esim-Replayable": "true", "Esim-Time": "2026-05-04T10:15:31Z",
			"Esim-Source-Subject": "esim.request.order", "Esim-Source-Sequence": "1",
		}), name)
		examples, _ := msg["examples"].([]any)
		for _, e := range examples {
			example := at[object](t, e)
			require.NoError(t, validate(t, d, msg["payload"], example["payload"]), name)
			if headers, ok := example["headers"]; ok {
				require.NoError(t, validate(t, d, msg["headers"], headers), name)
			}
			require.Error(t, validate(t, d, msg["payload"], map[string]any{}), name)
			checked++
		}
	}
	require.GreaterOrEqual(t, checked, 3)
	trace := follow(t, d, at[any](t, d, "components", "schemas", "traceparent"))
	require.NoError(t, validate(t, d, trace, at[any](t, trace, "examples", 0)))
}

func TestNumbersInTheDocumentAreTheCodes(t *testing.T) {
	t.Parallel()
	info := at[string](t, document(t), "info", "description")
	n := strconv.Itoa(message.MaxRequestSize)
	require.Contains(t, info, n[:1]+","+n[1:4]+","+n[4:]+" bytes")
	require.InDelta(t, message.MaxQuantity, at[float64](t, schema(t, "order-request.json"), "properties", "quantity", "maximum"), 0)
	iccid := message.ICCIDPattern.String()
	require.Equal(t, iccid, at[string](t, schema(t, "topup-request.json"), "properties", "iccid", "pattern"))
	data := at[object](t, schema(t, "completed-event.json"), "properties", "data", "properties")
	require.Equal(t, iccid, at[string](t, data, "iccid", "pattern"))
	require.Equal(t, iccid, at[string](t, data, "esims", "items", "properties", "iccid", "pattern"))
	for _, file := range []string{"order-request.json", "topup-request.json"} {
		for field, most := range map[string]int{"request_id": 128, "package_id": 255} {
			require.InDelta(t, most, at[float64](t, schema(t, file), "properties", field, "maxLength"), 0, file)
		}
	}
}
