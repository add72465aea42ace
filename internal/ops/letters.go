package ops

import (
	"bytes"
	"cmp"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"esimflow/internal/deadletter"
	"esimflow/internal/message"
)

// ReplayRequest is the body of a replay of one letter, at once and by itself; with DryRun,
// it may choose many. Many are replayed by a job: see NewReplay.
type ReplayRequest struct {
	deadletter.Filter
	deadletter.By
	DryRun bool `json:"dry_run,omitempty"`
}

// letterFilter reads which letters are wanted.
func letterFilter(q url.Values) (f deadletter.Filter, err error) {
	f = deadletter.Filter{
		Kind: message.Kind(q.Get("kind")), Code: q.Get("code"), Class: q.Get("class"),
		Package: q.Get("package"), ICCID: q.Get("iccid"),
	}
	if older := q.Get("older"); older != "" {
		if f.Older, err = time.ParseDuration(older); err != nil {
			return f, usageError("older has to be a duration, like 1h30m")
		}
	}
	return f, nil
}

// statusOf is the status that is asked for, of letters and of findings: open, unless another is named; empty is any.
func statusOf(q url.Values) string {
	status := cmp.Or(q.Get("status"), "open")
	if status == "any" {
		return ""
	}
	return status
}

func (a api) letters(r *http.Request) (any, error) {
	q := r.URL.Query()
	n, err := limit(q.Get("limit"))
	if err != nil {
		return nil, err
	}
	f, err := letterFilter(q)
	if err != nil {
		return nil, err
	}
	return a.Desk.List(r.Context(), f, statusOf(q), n)
}

func (a api) letter(r *http.Request) (any, error) {
	id, err := idOf(r, "a dead letter")
	if err != nil {
		return nil, err
	}
	l, err := a.Desk.Get(r.Context(), id)
	l.Reason, l.Note, l.Headers = hide(l.Reason), hide(l.Note), shownHeaders(l.Headers)
	l.Body = codePattern.ReplaceAll(l.Body, []byte(hiddenCode))
	return l, err
}

// shownHeaders are headers without what is nobody's business, and without activation codes.
func shownHeaders(h nats.Header) nats.Header {
	shown := make(nats.Header, len(h))
	for name, values := range h {
		for _, v := range values {
			if secretHeader.MatchString(name) {
				v = "[hidden]"
			}
			shown[name] = append(shown[name], hide(v))
		}
	}
	return shown
}

// mended checks what a letter is to be published as, in the place of what arrived.
func mended(body []byte) error {
	if bytes.Contains(body, []byte(hiddenCode)) {
		return usageError("it says " + hiddenCode + " where one was taken out: nothing is published with that in it")
	}
	return nil
}

func (a api) replay(r *http.Request) (any, error) {
	var in ReplayRequest
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if in.DryRun {
		return a.wouldReplay(r, in.Filter)
	}
	switch {
	case in.Empty():
		return nil, deadletter.ErrEmptyFilter
	case len(in.IDs) != 1:
		return nil, usageError("name one dead letter by its id; many are replayed by a job: POST /api/v1/replays")
	}
	came := outcomeOf(r)
	result, err := a.Desk.Replay(r.Context(), in.IDs[0], came.by)
	came.said, came.not = result.To, result.Why
	return []deadletter.Result{result}, err
}

func (a api) wouldReplay(r *http.Request, f deadletter.Filter) (any, error) {
	p, err := a.Desk.Preview(r.Context(), f)
	if err != nil {
		return nil, err
	}
	results := make([]deadletter.Result, 0, len(p.Set))
	for _, l := range p.Set {
		results = append(results, l.Result)
	}
	if len(f.IDs) > 0 && len(results) == 0 {
		return nil, deadletter.ErrNotFound
	}
	return results, nil
}

func (a api) discard(r *http.Request) (any, error) {
	var in Action
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	id, err := idOf(r, "a dead letter")
	if err != nil {
		return nil, err
	}
	return struct {
		ID     uuid.UUID `json:"id"`
		Status string    `json:"status"`
	}{id, "discarded"}, a.Desk.Discard(r.Context(), id, outcomeOf(r).by)
}
