package ops

import (
	"net/http"

	"github.com/google/uuid"

	"esimflow/internal/deadletter"
)

// ReplayPreview is the body of a request for a preview: what would be replayed.
type ReplayPreview struct {
	deadletter.Filter
}

// Resubmission is the body of a request to publish a letter without a saga again.
type Resubmission struct {
	deadletter.By
	Body []byte `json:"body,omitempty"` // base64; without one, what arrived
}

func (a api) previewReplay(r *http.Request) (any, error) {
	var in ReplayPreview
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	return a.Desk.Preview(r.Context(), in.Filter)
}

func (a api) startReplay(r *http.Request) (any, error) {
	var in deadletter.NewReplay
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	in.By = outcomeOf(r).by
	started, err := a.Desk.Start(r.Context(), in)
	if err == nil {
		noteID(r, "replay", started.ID)
	}
	return started, err
}

func (a api) replays(r *http.Request) (any, error) {
	n, err := limit(r.URL.Query().Get("limit"))
	if err != nil {
		return nil, err
	}
	return a.Desk.Replays(r.Context(), n)
}

func (a api) replayOf(r *http.Request) (any, error) {
	id, err := idOf(r, "a replay")
	if err != nil {
		return nil, err
	}
	report, err := a.Desk.ReplayOf(r.Context(), id)
	if r.URL.Query().Get("set") == "no" { // whoever follows its progress
		report.Set = nil
	}
	return report, err
}

func (a api) abortReplay(r *http.Request) (any, error) {
	var in deadletter.By
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	id, err := idOf(r, "a replay")
	if err != nil {
		return nil, err
	}
	return a.Desk.Abort(r.Context(), id, outcomeOf(r).by)
}

func (a api) groups(r *http.Request) (any, error) {
	f, err := letterFilter(r.URL.Query())
	if err != nil {
		return nil, err
	}
	return a.Desk.Groups(r.Context(), f)
}

func (a api) resubmit(r *http.Request) (any, error) {
	var in Resubmission
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if err := mended(in.Body); err != nil {
		return nil, err
	}
	id, err := idOf(r, "a dead letter")
	if err != nil {
		return nil, err
	}
	return struct {
		ID     uuid.UUID `json:"id"`
		Status string    `json:"status"`
	}{id, "replayed"}, a.Desk.Resubmit(r.Context(), id, in.Body, outcomeOf(r).by)
}
