package ops

import (
	"net/http"
	"time"

	"esimflow/internal/audit"
	"esimflow/internal/deadletter"
)

// AuditRequest is the body of a request for an audit: the days, both included, as
// 2026-11-22; empty ones are the worker's window.
type AuditRequest struct {
	From  string `json:"from,omitempty"`
	To    string `json:"to,omitempty"`
	Actor string `json:"actor"`
}

func (a api) audits(r *http.Request) (any, error) {
	n, err := limit(r.URL.Query().Get("limit"))
	if err != nil {
		return nil, err
	}
	return a.Auditor.Runs(r.Context(), n)
}

func (a api) startAudit(r *http.Request) (any, error) {
	var in AuditRequest
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	from, err := dayOf("from", in.From)
	if err != nil {
		return nil, err
	}
	to, err := dayOf("to", in.To)
	if err != nil {
		return nil, err
	}
	run, err := a.Auditor.Request(r.Context(), from, to, outcomeOf(r).by.Actor)
	if err == nil {
		noteID(r, "audit", run.ID)
	}
	return run, err
}

func dayOf(name, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}, usageError(name + " has to be a day, like 2026-11-22")
	}
	return t, nil
}

func (a api) audit(r *http.Request) (any, error) {
	id, err := idOf(r, "an audit")
	if err != nil {
		return nil, err
	}
	return a.Auditor.Audit(r.Context(), id)
}

func (a api) findings(r *http.Request) (any, error) {
	q := r.URL.Query()
	n, err := limit(q.Get("limit"))
	if err != nil {
		return nil, err
	}
	return a.Auditor.Findings(r.Context(), audit.Status(statusOf(q)), n)
}

func (a api) dismiss(r *http.Request) (any, error) {
	var in deadletter.By
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	by := outcomeOf(r).by
	id, err := idOf(r, "a finding")
	if err != nil {
		return nil, err
	}
	return a.Auditor.Dismiss(r.Context(), id, by.Actor, by.Reason)
}
