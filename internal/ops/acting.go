package ops

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"esimflow/internal/deadletter"
	"esimflow/internal/pressone"
)

// asked is what the trail needs to know of a request to act, whether it is a form or JSON.
type asked struct {
	deadletter.By

	DryRun bool   `json:"dry_run"`
	From   string `json:"from"`
	To     string `json:"to"`

	body []byte // of JSON
	do   string // of a form about the gate
}

// askedInJSON reads what is asked for, and leaves the body to be read again.
func askedInJSON(r *http.Request) (in asked, err error) {
	if err := checkJSON(r); err != nil {
		return in, err
	}
	if in.body, err = io.ReadAll(r.Body); err != nil {
		return in, unreadable(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(in.body))
	if err := json.Unmarshal(in.body, &in); err != nil {
		return in, unreadable(err)
	}
	return in, nil
}

// actWith records what is asked for, does it, and records what came of it. What does not say
// who asks and why is refused before.
func (t Trail) actWith(r *http.Request, who caller, rt Route, in asked, do func(*http.Request) error) error {
	var err error
	if in.By, err = byOf(in.By, rt.Reasoned); err != nil {
		return err
	}
	a := Recorded{Actor: in.Actor, Role: who.Role, How: who.How, What: rt.Does, Target: r.PathValue("id"), Reason: in.Reason}
	if rt.AboutWhat != nil {
		a.Target = rt.AboutWhat(r, in)
	}
	if rt.Does == didMoveGate && (in.do == didPause || in.do == didResume) { // one form for both
		a.What = in.do
	}
	ctx := r.Context()
	id, err := t.Begin(ctx, a)
	if err != nil {
		return err
	}
	came := &outcome{by: in.By, result: resultFailed, note: "the worker's log says why"}
	defer func() { t.End(ctx, id, came.result, came.note) }()
	err = do(r.WithContext(context.WithValue(ctx, outcomeKey{}, came)))
	came.is(err)
	return err
}

// byOf is who asks and why, fit for every place that keeps, logs or shows it.
func byOf(given deadletter.By, reasoned bool) (deadletter.By, error) {
	by := deadletter.By{Actor: nameOf(given.Actor), Reason: strings.TrimSpace(brief(given.Reason))}
	switch {
	case by.Actor == "":
		return by, usageError("actor is required: it is recorded")
	case reasoned && by.Reason == "":
		return by, usageError("reason is required: it is recorded")
	}
	return by, nil
}

// outcome is what is known of an action while it is done.
type outcome struct {
	by     deadletter.By // who has asked, and why
	result string
	note   string
	said   string // by whoever has done it: what came of it
	not    string // by whoever has not: why not
}

type outcomeKey struct{}

func outcomeOf(r *http.Request) *outcome {
	came, ok := r.Context().Value(outcomeKey{}).(*outcome)
	if !ok {
		return &outcome{} // nothing is recorded: a dry run
	}
	return came
}

// is takes the error that the action has ended with.
func (o *outcome) is(err error) {
	switch {
	case err == nil && o.not != "":
		o.result, o.note = resultRefused, o.not
	case err == nil:
		o.result, o.note = resultDone, o.said
	default:
		if p := problemOf(err); p.status < http.StatusInternalServerError {
			o.result, o.note = resultRefused, p.Error
		}
	}
}

// filterInBody is which letters a body of JSON chooses.
func filterInBody(_ *http.Request, in asked) string {
	var f deadletter.Filter
	if json.Unmarshal(in.body, &f) != nil {
		return "" // it will be refused
	}
	return lettersInWords(f)
}

// filterInForm is which letters a form chooses.
func filterInForm(r *http.Request, _ asked) string {
	f, err := formFilter(r)
	if err != nil {
		return ""
	}
	return lettersInWords(f)
}

// lettersInWords is wordsOf without a whole ICCID, which is somebody's.
func lettersInWords(f deadletter.Filter) string {
	if n := len(f.ICCID); n > 4 {
		f.ICCID = "…" + f.ICCID[n-4:]
	}
	if len(f.IDs) == 1 {
		id := f.IDs[0]
		f.IDs = nil
		return strings.Join(append(wordsOf(f), "letter "+id.String()), ", ")
	}
	return strings.Join(wordsOf(f), ", ")
}

func gateTarget(r *http.Request, in asked) string {
	if in.body == nil {
		return r.PostFormValue("what")
	}
	var t pressone.Target
	if json.Unmarshal(in.body, &t) != nil || t.Check() != nil {
		return ""
	}
	return t.String()
}

func daysAsked(r *http.Request, in asked) string {
	if in.body == nil {
		in.From, in.To = r.PostFormValue("from"), r.PostFormValue("to")
	}
	if in.From == "" && in.To == "" {
		return "the usual days"
	}
	return in.From + " to " + in.To
}

// noteID says which thing an action has made.
func noteID(r *http.Request, what string, id uuid.UUID) { outcomeOf(r).said = what + " " + id.String() }
