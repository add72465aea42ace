package ops

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"esimflow/internal/deadletter"
)

type lettersView struct {
	Groups  []deadletter.Group
	Total   int
	Filter  deadletter.Filter
	Status  string
	Listed  bool // letters are listed rather than groups alone
	Letters []deadletter.Letter
	Next    string
	First   string
	Replay  string // the address of a preview of all that is listed; empty: that cannot be replayed so
}

// Narrow reports whether more is chosen by than a code and a class: then the filter is open.
func (v lettersView) Narrow() bool {
	f := v.Filter
	return f.Package != "" || f.ICCID != "" || f.Kind != "" || v.Status != "open" || f.Code == "" && f.Class == ""
}

// lettersFilter reads a filter from an address. Its ids may be given several times.
func lettersFilter(q url.Values) (deadletter.Filter, error) {
	f, err := letterFilter(q)
	if err != nil {
		return f, err
	}
	for _, s := range q["id"] {
		id, err := uuid.Parse(s)
		if err != nil {
			return f, usageError(fmt.Sprintf("%q is not the id of a dead letter", s))
		}
		f.IDs = append(f.IDs, id)
	}
	return f, nil
}

// formFilter reads the filter that a preview was of, which its form sends back.
func formFilter(r *http.Request) (deadletter.Filter, error) {
	return lettersFilter((&url.URL{RawQuery: r.PostFormValue("filter")}).Query())
}

// lettersHref is the address that a filter is read from.
func lettersHref(path string, f deadletter.Filter, more ...any) string {
	older := ""
	if f.Older > 0 {
		older = f.Older.String()
	}
	address := href(path, append([]any{
		"kind", f.Kind, "code", f.Code, "class", f.Class, "package", f.Package, "iccid", f.ICCID, "older", older,
	}, more...)...)
	for _, id := range f.IDs {
		sep := "&"
		if !strings.Contains(address, "?") {
			sep = "?"
		}
		address += sep + "id=" + id.String()
	}
	return address
}

func (c *console) showLetters(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f, err := lettersFilter(q)
	if err != nil {
		return err
	}
	v := lettersView{Filter: f, Status: cmp.Or(q.Get("status"), "open")}
	if v.Listed = !f.Empty() || q.Get("status") != "" || q.Get("list") != ""; v.Listed {
		err = c.listLetters(r, &v)
	} else if v.Groups, err = c.Desk.Groups(r.Context(), deadletter.Filter{}); err == nil {
		for _, g := range v.Groups {
			v.Total += g.Count
		}
	}
	if err != nil {
		return err
	}
	return c.show(w, r, http.StatusOK, "letters", view{Title: "Dead letters", Section: "letters", Data: v})
}

func (c *console) listLetters(r *http.Request, v *lettersView) error {
	q := r.URL.Query()
	before, id, err := cursorOf(q.Get("after"))
	if err != nil {
		return err
	}
	var after *deadletter.Cursor
	if before != nil {
		after = &deadletter.Cursor{At: *before, ID: id}
		v.First = lettersHref("/dead-letters", v.Filter, "status", v.Status)
	}
	all, err := c.Desk.Page(r.Context(), v.Filter, statusOf(q), after, pageSize+1)
	if err != nil {
		return err
	}
	if len(all) > pageSize {
		all = all[:pageSize]
		last := all[pageSize-1]
		v.Next = lettersHref("/dead-letters", v.Filter, "status", v.Status, "after", cursorTo(last.CreatedAt, last.ID))
	}
	v.Letters = all
	replayable := slices.ContainsFunc(all, func(l deadletter.Letter) bool { return l.Replayable })
	if v.Status == "open" && !v.Filter.Empty() && replayable {
		v.Replay = lettersHref("/replays/new", v.Filter)
	}
	return nil
}

type letterView struct {
	deadletter.Letter

	Bytes   bytesView
	Headers []headerView
	Replay  string // the address of its preview; empty: it cannot be replayed
	Edited  string // what is in the form to edit it
}

type headerView struct{ Name, Value string }

func (c *console) showLetter(w http.ResponseWriter, r *http.Request) error {
	id, err := idOf(r, "a dead letter")
	if err != nil {
		return err
	}
	l, err := c.Desk.Get(r.Context(), id)
	if err != nil {
		return err
	}
	v := letterView{Letter: l, Bytes: viewBytes(l.Body)}
	v.Body, v.Letter.Headers = nil, nil // they are shown by what follows only
	headers := shownHeaders(l.Headers)
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		v.Headers = append(v.Headers, headerView{name, strings.Join(headers[name], ", ")})
	}
	if l.SagaID == nil && l.Status == "open" && v.Bytes.Text != "" && !v.Bytes.Cut && !v.Bytes.Hidden {
		v.Edited = v.Bytes.Text
	}
	if l.Status == "open" && l.Replayable {
		v.Replay = lettersHref("/replays/new", deadletter.Filter{IDs: []uuid.UUID{l.ID}})
	}
	title := cmp.Or(l.RequestID, "A letter without a request id")
	return c.show(w, r, http.StatusOK, "letter", view{Title: title, Section: "letters", Data: v})
}

func (c *console) discardLetter(w http.ResponseWriter, r *http.Request) error {
	id, err := idOf(r, "a dead letter")
	if err != nil {
		return err
	}
	if err := c.Desk.Discard(r.Context(), id, outcomeOf(r).by); err != nil {
		return err
	}
	c.back(w, r, "/dead-letters/"+id.String(), "discarded")
	return nil
}
