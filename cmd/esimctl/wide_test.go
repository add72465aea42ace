package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"esimflow/internal/audit"
	"esimflow/internal/deadletter"
	"esimflow/internal/message"
	"esimflow/internal/ops"
	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// Whoever signs in by an address of sixty characters, uses request ids of a hundred and writes reasons like letters still gets
// tables that fit: what is cut is cut visibly, reasons go on below, and ids are whole, since the next command takes them.
func TestTheWidestRowsFit(t *testing.T) {
	t.Parallel()
	id, who := uuid.New(), "somebody.with.a.long.name@an.organisation.of.many.words.example"
	long, why := strings.Repeat("request-", 15), strings.Repeat("and then ", 30)
	at := time.Now().Add(-47 * time.Hour)
	target := pressone.Target{Kind: message.Topup}
	for path, c := range map[string]struct {
		line string
		rows any
	}{
		"sagas": {"saga list", []saga.Summary{{
			ID: id, Kind: message.Topup, State: saga.DeadLettered, Attempts: 12, OrderID: 123_456_789, CreatedAt: at, RequestID: long,
		}}},
		"dead-letters": {"dlq list --status any", []deadletter.Letter{
			{ID: id, Kind: message.Topup, RequestID: long, Code: "retries_exhausted", Purchased: "unknown", Status: "confirmed_absent", CreatedAt: at},
		}},
		"dead-letter-groups": {"dlq list --group", []deadletter.Group{{
			Code: saga.CodeOutcomeUnknown, Class: pressone.ClassInsufficientCredit, Count: 1_000_000, FirstSeen: at, LastSeen: at,
		}}},
		"replays": {"replay list", []deadletter.Replay{{
			ID: id, State: deadletter.Running, Done: 99_999, Letters: 100_000, By: deadletter.By{Actor: who, Reason: why}, CreatedAt: at,
		}}},
		"audits":         {"audit list", []audit.Run{{ID: id, State: "running", Orders: 10_000_000, RequestedBy: who, StartedAt: at}}},
		"audit-findings": {"audit findings", []audit.Finding{{ID: id, RequestID: long[:80], Actor: who, Note: why}}},
		"gate/trail":     {"gate trail", []pressone.Trail{{Target: target, Actor: who, Reason: why, At: at, Action: "resume"}}},
		"trail": {"trail", []ops.Recorded{{
			At: at, Actor: who, Role: "operator", How: "oidc", What: "dismiss_finding", Target: id.String(), Reason: why, Result: "refused", Note: why,
		}}},
		"gate": {"gate show", map[string]any{"pauses": []pressone.Pause{{Target: target, Actor: who, Reason: why, Since: at}}}},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/api/v1/"+path {
				t.Errorf("%s asks for %s", c.line, r.URL.Path)
			}
			_ = json.NewEncoder(w).Encode(c.rows)
		}))
		t.Cleanup(server.Close)
		r := runIn(t, map[string]string{"ESIMFLOW_URL": server.URL}, strings.Fields(c.line)...)
		require.Equal(t, exitOK, r.code, r.err)
		checkWidth(t, "esimctl "+c.line, r.out)
		if path != "dead-letter-groups" && path != "gate" && path != "gate/trail" {
			require.Contains(t, r.out, id.String(), c.line)
		}
	}
}
