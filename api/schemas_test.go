package api_test

import (
	"encoding/json"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"esimflow/api"
	"esimflow/api/apitest"
	"esimflow/internal/message"
)

// schema reads one of our schemas as JSON.
func schema(t *testing.T, name string) object {
	t.Helper()
	b, err := fs.ReadFile(api.Schemas(), name)
	require.NoError(t, err)
	var s object
	require.NoError(t, json.Unmarshal(b, &s))
	return s
}

func TestEverySchemaIsThere(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(api.Schemas(), "*")
	require.NoError(t, err)
	require.Equal(t, []string{
		"completed-event.json", "dead-letter-headers.json", "failed-event.json", "order-request.json", "topup-request.json",
	}, names)
	for _, name := range names {
		s := schema(t, name)
		require.Equal(t, "https://json-schema.org/draft/2020-12/schema", s["$schema"], name)
		require.Equal(t, name, s["$id"])
		require.NotEmpty(t, s["title"], name)
		require.NotEmpty(t, s["description"], name)
	}
}

func TestExamplesSatisfyTheirSchemas(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(api.Schemas(), "*.json")
	require.NoError(t, err)
	for _, name := range names {
		examples, _ := schema(t, name)["examples"].([]any)
		require.NotEmpty(t, examples, name)
		for _, example := range examples {
			b, err := json.Marshal(example)
			require.NoError(t, err)
			require.NoError(t, apitest.Validate(t, name, b), "%s: %s", name, b)
			checkExample(t, name, b)
		}
	}
}

// checkExample holds an example against what the programs say, not the schema only.
func checkExample(t *testing.T, name string, example []byte) {
	t.Helper()
	kind, what, _ := strings.Cut(strings.TrimSuffix(name, ".json"), "-")
	switch what {
	case "request":
		_, err := message.DecodeRequest(message.Kind(kind), nil, example)
		require.NoError(t, err)
		require.NoError(t, apitest.CheckRequest(t, message.Kind(kind), example))
	case "event":
		var e struct{ Data struct{ Kind message.Kind } }
		require.NoError(t, json.Unmarshal(example, &e))
		apitest.CheckEvent(t, e.Data.Kind, message.Outcome(kind), example)
	default:
		var fields map[string]string
		require.NoError(t, json.Unmarshal(example, &fields))
		header := nats.Header{}
		for name, value := range fields {
			header[name] = []string{value}
		}
		apitest.CheckDeadLetter(t, header)
	}
}

// TestResultsAreClosed makes sure that a field cannot be added to a result, or left out
// always, without its schema: objects say everything that they hold, and only what depends
// on the kind may be absent.
func TestResultsAreClosed(t *testing.T) {
	t.Parallel()
	optional := map[string]bool{"/data/esims": true, "/data/iccid": true}
	for _, name := range []string{"completed-event.json", "failed-event.json"} {
		closed := 0
		var walk func(where string, s object)
		walk = func(where string, s object) {
			properties, _ := s["properties"].(object)
			if properties != nil {
				closed++
				require.Equal(t, false, s["additionalProperties"], "%s%s", name, where)
				required := map[string]bool{}
				for _, r := range at[[]any](t, s, "required") {
					required[at[string](t, r)] = true
				}
				for property := range properties {
					require.NotEqual(t, optional[where+"/"+property], required[property], "%s%s/%s", name, where, property)
				}
			}
			for property, p := range properties {
				child := at[object](t, p)
				if items, ok := child["items"].(object); ok {
					child = items
				}
				walk(path.Join(where+"/", property), child)
			}
		}
		walk("", schema(t, name))
		require.GreaterOrEqual(t, closed, 2, name)
	}
}

func TestDeadLettersThatAreNone(t *testing.T) {
	t.Parallel()
	example := func(n int) object {
		return at[object](t, schema(t, "dead-letter-headers.json"), "examples", n)
	}
	tests := map[string]struct {
		example int // 0 has a saga, 1 has none
		change  func(h object)
	}{
		"a saga without a state":         {0, func(h object) { delete(h, "Esim-State") }},
		"a state without a saga":         {1, func(h object) { h["Esim-State"] = "pending" }},
		"a state in which nothing stops": {0, func(h object) { h["Esim-State"] = "completed" }},
		"a saga that is malformed":       {0, func(h object) { h["Esim-Class"] = "malformed" }},
		"no saga, and credit is lacking": {1, func(h object) { h["Esim-Class"], h["Esim-Code"] = "insufficient_credit", "11" }},
		"no saga, and bought":            {1, func(h object) { h["Esim-Purchased"] = "yes" }},
		"no saga, and attempts":          {1, func(h object) { h["Esim-Attempts"] = "1" }},
		"attempts that are no number":    {0, func(h object) { h["Esim-Attempts"] = "-1" }},
		"an empty request_id":            {0, func(h object) { h["Esim-Request-Id"] = "" }},
		"an id that is none":             {0, func(h object) { h["Esim-Dead-Letter-Id"] = "7" }},
		"a time that is none":            {0, func(h object) { h["Esim-Time"] = "yesterday" }},
		"a code that is no token":        {0, func(h object) { h["Esim-Code"] = "1.1" }},
		"another subject":                {0, func(h object) { h["Esim-Source-Subject"] = "esim.event.order" }},
		"a replayable maybe":             {0, func(h object) { h["Esim-Replayable"] = "maybe" }},
		"sequence 0":                     {0, func(h object) { h["Esim-Source-Sequence"] = "0" }},
		"no reason":                      {0, func(h object) { delete(h, "Esim-Reason") }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := example(tt.example)
			tt.change(h)
			b, err := json.Marshal(h)
			require.NoError(t, err)
			require.Error(t, apitest.Validate(t, "dead-letter-headers.json", b))
		})
	}
}
