package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"esimflow/internal/audit"
	"esimflow/internal/ops"
)

// audit has a worker read PressOne's books, once everything has come to its end, and keeps
// its report for the verdict.
func (c *campaign) audit() {
	c.t.Helper()
	today := time.Now().UTC()
	body, err := json.Marshal(ops.AuditRequest{
		From: today.AddDate(0, 0, -1).Format(time.DateOnly), To: today.AddDate(0, 0, 1).Format(time.DateOnly), Actor: "ann",
	})
	require.NoError(c.t, err)
	var run audit.Run
	for worker := range 3 { // one of them runs it, sooner when it is asked itself
		require.Eventually(c.t, func() bool {
			return c.ask(worker, http.MethodPost, "audits", string(body), &run) == nil
		}, time.Minute, 300*time.Millisecond, "no audit begins")
	}
	require.Eventually(c.t, func() bool {
		return c.ask(0, http.MethodGet, "audits/"+run.ID.String(), "", &c.audited) == nil && c.audited.FinishedAt != nil
	}, 5*time.Minute, 100*time.Millisecond, "the audit does not end")
	c.note("PressOne's books are audited")
}

// ask asks a worker's API, and reads its answer.
func (c *campaign) ask(worker int, method, path, body string, into any) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	res, err := c.request(ctx, method, worker, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// judgeAudit: the audit has seen every order that was sold, and paired each with a saga.
func (c *campaign) judgeAudit(b books) {
	if n := c.audited.Open(); n != 0 || c.audited.State != "done" || c.audited.Paired != int64(b.ledger.Count()) {
		c.find(uuid.Nil, "the audit is %s, with %d findings, and has paired %d of %d orders sold",
			c.audited.State, n, c.audited.Paired, b.ledger.Count())
	}
	for _, f := range c.audited.Findings {
		id := uuid.Nil
		if f.SagaID != nil {
			id = *f.SagaID
		}
		c.find(id, "the audit found %s: order %d, %s: %s", f.Finding, f.OrderID, f.Status, f.Why)
	}
}
