package ops

import (
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"esimflow/internal/deadletter"
	"esimflow/internal/message"
)

// ReplayRequest is the body of a replay.
type ReplayRequest struct {
	deadletter.Filter
	deadletter.By
	DryRun bool `json:"dry_run,omitempty"`
}

func (a api) letters(r *http.Request) (any, error) {
	q := r.URL.Query()
	f := deadletter.Filter{
		Kind: message.Kind(q.Get("kind")), Code: q.Get("code"), Class: q.Get("class"),
		Package: q.Get("package"), ICCID: q.Get("iccid"),
	}
	n, err := limit(q.Get("limit"))
	if err != nil {
		return nil, err
	}
	if older := q.Get("older"); older != "" {
		if f.Older, err = time.ParseDuration(older); err != nil {
			return nil, usageError("older has to be a duration, like 1h30m")
		}
	}
	status := q.Get("status")
	switch status {
	case "any":
		status = ""
	case "":
		status = "open"
	}
	return a.Desk.List(r.Context(), f, status, n)
}

func (a api) letter(r *http.Request) (any, error) {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		return nil, notFoundError(fmt.Sprintf("%q is not the id of a dead letter", r.PathValue("id")))
	}
	return a.Desk.Get(r.Context(), id)
}

func (a api) replay(r *http.Request) (any, error) {
	var in ReplayRequest
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if !in.DryRun {
		if err := checkBy(in.By); err != nil {
			return nil, err
		}
	}
	results, err := a.Desk.Replay(r.Context(), in.Filter, in.By, in.DryRun)
	if err == nil && len(in.IDs) > 0 && len(results) == 0 {
		return nil, deadletter.ErrNotFound
	}
	return results, err
}

func (a api) discard(r *http.Request) (any, error) {
	var in Action
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if err := checkBy(in.By); err != nil {
		return nil, err
	}
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		return nil, notFoundError(fmt.Sprintf("%q is not the id of a dead letter", r.PathValue("id")))
	}
	return struct {
		ID     uuid.UUID `json:"id"`
		Status string    `json:"status"`
	}{id, "discarded"}, a.Desk.Discard(r.Context(), id, in.By)
}
