package ops

import (
	"cmp"
	"net/http"
	"time"

	"esimflow/internal/audit"
)

type auditView struct {
	Status   string
	Findings []audit.Finding
	Runs     []audit.Run
	Running  bool
	Today    string
}

// mostFindings is how many findings a page has: they are rare, or something is very wrong.
const mostFindings = 200

func (c *console) showAudit(w http.ResponseWriter, r *http.Request) error {
	v := auditView{Status: cmp.Or(r.URL.Query().Get("status"), string(audit.Open)), Today: c.Now().UTC().Format(time.DateOnly)}
	var err error
	if v.Findings, err = c.Auditor.Findings(r.Context(), audit.Status(statusOf(r.URL.Query())), mostFindings); err != nil {
		return err
	}
	if v.Runs, err = c.Auditor.Runs(r.Context(), 20); err != nil {
		return err
	}
	for _, run := range v.Runs {
		v.Running = v.Running || run.State == "running"
	}
	return c.show(w, r, http.StatusOK, "audit", view{Title: "Audit", Section: "audit", Live: v.Running, Data: v})
}

func (c *console) startAudit(w http.ResponseWriter, r *http.Request) error {
	from, err := dayOf("from", r.PostFormValue("from"))
	if err != nil {
		return err
	}
	to, err := dayOf("to", r.PostFormValue("to"))
	if err != nil {
		return err
	}
	run, err := c.Auditor.Request(r.Context(), from, to, outcomeOf(r).by.Actor)
	if err != nil {
		return err
	}
	noteID(r, "audit", run.ID)
	c.back(w, r, "/audit", "audit")
	return nil
}

func (c *console) dismiss(w http.ResponseWriter, r *http.Request) error {
	by := outcomeOf(r).by
	id, err := idOf(r, "a finding")
	if err != nil {
		return err
	}
	if _, err := c.Auditor.Dismiss(r.Context(), id, by.Actor, by.Reason); err != nil {
		return err
	}
	c.back(w, r, "/audit", "dismissed")
	return nil
}
