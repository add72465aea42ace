package main

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
	"esimflow/internal/saga"
)

// testSubmit publishes requests and waits for their results.
func testSubmit(t *testing.T, s *stack) {
	t.Helper()
	sold := s.sim.SoldCount()

	r := s.exits(exitOK, "order", "submit", "--package", aPackage, "--quantity", "2", "--request-id", "submit-1",
		"--metadata", `{"customer":"c-19"}`, "--wait", "--json")
	first := fromJSON[submitted](t, r.out)
	require.False(t, first.Earlier)
	got, err := readOutcome(first.Event)
	require.NoError(t, err)
	require.Equal(t, "submit-1", got.completed.RequestID)
	require.JSONEq(t, `{"customer":"c-19"}`, string(got.completed.Metadata))
	require.Len(t, got.completed.ESIMs, 2)
	require.NotContains(t, r.out+r.err, "LPA:1$")

	shown := s.ok("order", "submit", "--package", aPackage, "--quantity", "2", "--request-id", "submit-1", "--wait", "--reveal")
	require.Contains(t, shown, "LPA:1$")
	again := s.exits(exitOK, "order", "submit", "--package", aPackage, "--quantity", "2", "--request-id", "submit-1", "--wait")
	require.Contains(t, again.err, "was there before")
	require.NotContains(t, again.out+again.err, "LPA:1$")
	require.Contains(t, again.out, redacted)
	require.Equal(t, sold+1, s.sim.SoldCount(), "a request that is submitted again buys nothing")

	other := s.exits(exitFailed, "order", "submit", "--package", aPackage, "--quantity", "3", "--request-id", "submit-1", "--wait")
	require.Contains(t, other.err, "used before for something else")

	iccid := pressonesim.DefaultICCIDs()[0]
	topup := s.ok("topup", "submit", "--iccid", iccid, "--package", aTopup, "--wait")
	require.Contains(t, topup, iccid)
	require.Contains(t, topup, "completed")

	failed := s.exits(exitFailed, "order", "submit", "--package", "no-such-package", "--wait")
	require.Contains(t, failed.out, "purchased    no")
	require.Contains(t, failed.err, "esimctl dlq show")

	published := okJSON[submitted](s, "order", "submit", "--package", aPackage)
	require.NotEmpty(t, published.RequestID)
	require.Empty(t, published.Event)
	s.awaitState(published.RequestID, saga.Completed)
}

func TestSubmitChecksTheRequest(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"quantity":    {"order", "submit", "--package", aPackage, "--quantity", "51"},
		"package_id":  {"order", "submit", "--package", strings.Repeat("p", 256)},
		"request_id":  {"order", "submit", "--package", aPackage, "--request-id", "a\tb"},
		"iccid":       {"topup", "submit", "--package", aTopup, "--iccid", "12"},
		"metadata":    {"order", "submit", "--package", aPackage, "--metadata", "[1]"},
		"is not JSON": {"order", "submit", "--package", aPackage, "--metadata", "{"},
		"--timeout":   {"order", "submit", "--package", aPackage, "--wait", "--timeout", "0s"},
	} {
		r := runIn(t, map[string]string{"NATS_URL": "nats://127.0.0.1:1"}, args...)
		require.Equal(t, exitUsage, r.code, "%s: %s", name, r.err)
		require.Contains(t, r.err, name)
	}
}

func TestSubmitWithoutAStream(t *testing.T) {
	s, _ := streams(t)
	r := s.exits(exitFailed, "order", "submit", "--package", aPackage)
	require.Contains(t, r.err, "run esimctl streams apply")
	r = s.exits(exitFailed, "order", "submit", "--package", aPackage, "--wait")
	require.Contains(t, r.err, "run esimctl streams apply")
}

func TestSubmitDoesNotWaitForever(t *testing.T) {
	s, _ := streams(t)
	s.ok("streams", "apply")
	for _, more := range [][]string{nil, {"--request-id", "mine"}} {
		r := s.exits(exitFailed, append([]string{"order", "submit", "--package", aPackage, "--wait", "--timeout", "100ms"}, more...)...)
		require.Contains(t, r.err, "no result within 100ms")
	}
}

// TestNothingThatInstallsAnESIMIsShown fails when a member is added to ESIMData that
// nobody has decided about.
func TestNothingThatInstallsAnESIMIsShown(t *testing.T) {
	t.Parallel()
	harmless := []string{"iccid", "apn_type", "apn_value", "is_roaming", "msisdn"}
	esim := map[string]any{}
	for f := range reflect.TypeFor[message.ESIMData]().Fields() {
		esim[f.Tag.Get("json")] = "canary"
	}
	event, err := json.Marshal(map[string]any{"data": map[string]any{"esims": []any{esim}, "order": map[string]any{"price": json.Number("4.50")}}})
	require.NoError(t, err)
	body, err := redact(event)
	require.NoError(t, err)
	require.Contains(t, string(body), `"price":4.50`)
	var got struct {
		Data struct {
			ESIMs []map[string]string `json:"esims"`
		} `json:"data"`
	}
	require.NoError(t, json.Unmarshal(body, &got))
	for name, value := range got.Data.ESIMs[0] {
		if slices.Contains(harmless, name) {
			require.Equal(t, "canary", value)
		} else {
			require.Equal(t, redacted, value, name)
		}
	}
}
