package ops

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"esimflow/internal/deadletter"
)

// mostReplays is how many replays are listed.
const mostReplays = 100

func (c *console) showReplays(w http.ResponseWriter, r *http.Request) error {
	all, err := c.Desk.Replays(r.Context(), mostReplays)
	if err != nil {
		return err
	}
	v := replaysView{Replays: all}
	for _, one := range all {
		v.Running = v.Running || one.State == deadletter.Running
	}
	return c.show(w, r, http.StatusOK, "replays", view{Title: "Replays", Section: "replays", Live: v.Running, Data: v})
}

type replaysView struct {
	Replays []deadletter.Replay
	Running bool
}

// readReplays adds the replays that are under way to the overview.
func (c *console) readReplays(ctx context.Context, v *overviewView) error {
	all, err := c.Desk.Replays(ctx, 20)
	for _, one := range all {
		if one.State == deadletter.Running {
			v.Replays = append(v.Replays, one)
		}
	}
	return err
}

// previewView is what a replay would do.
type previewView struct {
	deadletter.Preview

	Filter deadletter.Filter
	Query  string // the filter as an address's query, which the form sends back
	Words  []string
	Rate   float64
	Shown  []deadletter.PreviewLetter
	Hidden int // letters that are not shown
}

// mostListed is how many letters of a set are listed: those that are refused come first.
const mostListed = 200

func (c *console) showPreview(w http.ResponseWriter, r *http.Request) error {
	f, err := lettersFilter(r.URL.Query())
	if err != nil {
		return err
	}
	p, err := c.Desk.Preview(r.Context(), f)
	if err != nil {
		return err
	}
	v := previewView{Preview: p, Filter: f, Words: wordsOf(f), Rate: deadletter.DefaultRate}
	_, v.Query, _ = strings.Cut(lettersHref("", f), "?")
	for _, refused := range []bool{true, false} {
		for _, l := range p.Set {
			if (l.Why != "") == refused && len(v.Shown) < mostListed {
				v.Shown = append(v.Shown, l)
			}
		}
	}
	v.Hidden = len(p.Set) - len(v.Shown)
	return c.show(w, r, http.StatusOK, "preview", view{Title: "Replay: preview", Section: "letters", Data: v})
}

// wordsOf says what a filter chooses.
func wordsOf(f deadletter.Filter) (words []string) {
	add := func(name, value string) {
		if value != "" {
			words = append(words, name+" "+value)
		}
	}
	add("code", f.Code)
	add("class", strings.ReplaceAll(f.Class, "_", " "))
	add("kind", string(f.Kind))
	add("package", f.Package)
	add("ICCID", f.ICCID)
	if f.Older > 0 {
		words = append(words, "older than "+span(f.Older))
	}
	switch len(f.IDs) {
	case 0:
	case 1:
		words = append(words, "one letter")
	default:
		words = append(words, fmt.Sprintf("%d letters", len(f.IDs)))
	}
	return words
}

// startReplay starts what the preview has shown: the same filter, and as many letters as
// it said, or nothing.
func (c *console) startReplay(w http.ResponseWriter, r *http.Request) error {
	var err error
	n := deadletter.NewReplay{By: outcomeOf(r).by}
	if n.Filter, err = formFilter(r); err != nil {
		return err
	}
	if n.Expect, err = strconv.Atoi(r.PostFormValue("expect")); err != nil || n.Expect <= 0 {
		return usageError("the form does not say how many letters it was about: look at the preview again")
	}
	if n.Expect > mostUntyped && strings.TrimSpace(r.PostFormValue("typed")) != strconv.Itoa(n.Expect) {
		return usageError(fmt.Sprintf("these are many: type %d, their number, to replay them", n.Expect))
	}
	if rate := strings.TrimSpace(r.PostFormValue("rate")); rate != "" {
		if n.Rate, err = strconv.ParseFloat(rate, 64); err != nil {
			return usageError("the rate has to be a number of letters a second")
		}
	}
	started, err := c.Desk.Start(r.Context(), n)
	if err != nil {
		return err
	}
	noteID(r, "replay", started.ID)
	c.back(w, r, "/replays/"+started.ID.String(), "started")
	return nil
}

// mostUntyped is how many letters are replayed without typing their number.
const mostUntyped = 100

// Typed reports whether the number of letters has to be typed.
func (v previewView) Typed() bool { return v.Willing > mostUntyped }

type replayView struct {
	deadletter.ReplayReport

	Words  []string
	Shown  []deadletter.ReplayLetter
	Hidden int
	Live   bool // it goes on, or sagas that it has released do
}

func (c *console) showReplay(w http.ResponseWriter, r *http.Request) error {
	id, err := idOf(r, "a replay")
	if err != nil {
		return err
	}
	report, err := c.Desk.ReplayOf(r.Context(), id)
	if err != nil {
		return err
	}
	v := replayView{ReplayReport: report}
	var f deadletter.Filter
	if json.Unmarshal(report.Filter, &f) == nil {
		v.Words = wordsOf(f)
	}
	v.Live = report.State == deadletter.Running || report.Ends.UnderWay > 0
	for _, wanted := range []func(deadletter.ReplayLetter) bool{
		func(l deadletter.ReplayLetter) bool { return l.Why != "" || l.Again != "" },
		func(l deadletter.ReplayLetter) bool {
			return l.Why == "" && l.Again == "" && l.State != deadletter.Waiting
		},
		func(l deadletter.ReplayLetter) bool {
			return l.Why == "" && l.Again == "" && l.State == deadletter.Waiting
		},
	} {
		for _, l := range report.Set {
			if wanted(l) && len(v.Shown) < mostListed {
				v.Shown = append(v.Shown, l)
			}
		}
	}
	v.Hidden = len(report.Set) - len(v.Shown)
	return c.show(w, r, http.StatusOK, "replay", view{Title: "Replay", Section: "replays", Live: v.Live, Data: v})
}

// Took is how long it ran, or has run so far.
func (v replayView) Took(now time.Time) time.Duration {
	if v.FinishedAt != nil {
		now = *v.FinishedAt
	}
	return now.Sub(v.CreatedAt)
}

func (c *console) abortReplay(w http.ResponseWriter, r *http.Request) error {
	id, err := idOf(r, "a replay")
	if err != nil {
		return err
	}
	if _, err := c.Desk.Abort(r.Context(), id, outcomeOf(r).by); err != nil {
		return err
	}
	c.back(w, r, "/replays/"+id.String(), "aborted")
	return nil
}

// resubmit publishes a letter without a saga as a new request, as it arrived or edited.
func (c *console) resubmit(w http.ResponseWriter, r *http.Request) error {
	id, err := idOf(r, "a dead letter")
	if err != nil {
		return err
	}
	var body []byte
	if edited := r.PostFormValue("body"); strings.TrimSpace(edited) != "" && utf8.ValidString(edited) {
		body = []byte(edited)
	}
	if err := mended(body); err != nil {
		return err
	}
	if err := c.Desk.Resubmit(r.Context(), id, body, outcomeOf(r).by); err != nil {
		return err
	}
	c.back(w, r, "/dead-letters/"+id.String(), "resubmit")
	return nil
}
