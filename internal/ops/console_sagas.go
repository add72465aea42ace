package ops

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"esimflow/internal/deadletter"
	"esimflow/internal/message"
	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// pageSize is how many rows a page has.
const pageSize = 50

type sagasView struct {
	Query string
	Kind  string
	State string
	Sagas []saga.Summary
	Next  string // the address of the next page; empty: there is none
	First string // the address of the first page; empty: this is it
	// Ask is the address that asks PressOne whose order or eSIM the text is; Asked says
	// that it was asked.
	Ask   string
	Asked bool
	Heard string // why it could not be asked
	Codes bool   // the text may be the code of dead letters
}

func (c *console) showSagas(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	v := sagasView{Query: strings.TrimSpace(q.Get("q")), Kind: q.Get("kind"), State: q.Get("state")}
	var err error
	if v.Query != "" {
		err = c.search(r.Context(), &v, q.Get("ask") != "" && !fromElsewhere(r))
	} else {
		err = c.page(r.Context(), &v, q.Get("before"))
	}
	if err != nil {
		return err
	}
	if v.Query != "" && len(v.Sagas) == 1 && q.Get("list") == "" {
		http.Redirect(w, r, "/sagas/"+v.Sagas[0].ID.String(), http.StatusSeeOther)
		return nil
	}
	return c.show(w, r, http.StatusOK, "sagas", view{Title: "Sagas", Section: "sagas", Data: v})
}

func (c *console) page(ctx context.Context, v *sagasView, before string) error {
	f := saga.PageFilter{Kind: message.Kind(v.Kind), State: saga.State(v.State), Limit: pageSize + 1}
	if before != "" {
		var err error
		if f.Before, err = uuid.Parse(before); err != nil {
			return usageError("that page does not exist: its address names no saga")
		}
		v.First = href("/sagas", "kind", v.Kind, "state", v.State)
	}
	all, err := c.Store.Page(ctx, f)
	if err != nil {
		return err
	}
	if len(all) > pageSize {
		all = all[:pageSize]
		v.Next = href("/sagas", "kind", v.Kind, "state", v.State, "before", all[pageSize-1].ID)
	}
	v.Sagas = all
	return nil
}

// search looks for what the text names. What only PressOne knows, whose order an eSIM or an
// order's code belongs to, it is asked for when somebody says so: its limits are the
// account's.
func (c *console) search(ctx context.Context, v *sagasView, ask bool) (err error) {
	var orders []int64
	if n, err := strconv.ParseInt(strings.TrimPrefix(v.Query, "#"), 10, 64); err == nil && n > 0 {
		orders = append(orders, n)
	}
	v.Codes = len(v.Query) <= 32 && !strings.ContainsAny(v.Query, " \t")
	digits := strings.Trim(v.Query, "0123456789") == ""
	filter := pressone.OrderFilter{Code: v.Query}
	if digits && len(v.Query) >= 18 {
		filter = pressone.OrderFilter{ICCID: v.Query}
	}
	if ask {
		v.Asked = true
		found, err := c.Auditor.Provider.Orders(ctx, filter)
		if err != nil {
			v.Heard = "PressOne could not be asked now."
			c.Log.WarnContext(ctx, "PressOne could not be asked for an operator", "err", err)
		}
		for _, o := range found {
			orders = append(orders, o.ID)
		}
	} else if _, err := uuid.Parse(v.Query); err != nil && len(v.Query) >= 6 {
		v.Ask = href("/sagas", "q", v.Query, "ask", "pressone")
	}
	all, err := c.Store.Search(ctx, v.Query, orders, pageSize)
	v.Sagas = slices.DeleteFunc(all, func(s saga.Summary) bool {
		return v.Kind != "" && string(s.Kind) != v.Kind || v.State != "" && string(s.State) != v.State
	})
	return err
}

// sagaView is one saga with its timeline.
type sagaView struct {
	saga.Saga

	Start    time.Time
	Steps    []step
	Path     []stop
	Order    *pressone.Order // without what installs its eSIMs: see hidden
	ICCIDs   []string
	Codes    int                // how many activation codes are on record
	Sims     []pressone.Sim     // revealed
	Reveals  []deed             // who was shown them before
	Letter   *deadletter.Letter // the open one
	Metadata string
	Live     bool // it may move by itself
}

// step is an entry of the timeline.
type step struct {
	saga.Entry

	After time.Duration // since the first one
	Wait  time.Duration // until it was due next; negative: it was not put off
}

// stop is a state on the way of every saga, and whether this one has been there.
type stop struct {
	State saga.State
	Been  bool
	Here  bool
}

func (c *console) showSaga(w http.ResponseWriter, r *http.Request) error {
	v, err := c.readSaga(r)
	if err != nil {
		return err
	}
	return c.showSagaView(w, r, v)
}

func (c *console) showSagaView(w http.ResponseWriter, r *http.Request, v sagaView) error {
	return c.show(w, r, http.StatusOK, "saga", view{Title: v.RequestID, Section: "sagas", Live: v.Live, Data: v})
}

func (c *console) readSaga(r *http.Request) (v sagaView, err error) {
	ctx := r.Context()
	found, err := api{c.APIConfig}.find(ctx, r.PathValue("id"))
	if err != nil {
		return v, err
	}
	if v.Saga, err = c.Store.Get(ctx, found.ID); err != nil {
		return v, err
	}
	entries, err := c.Store.Timeline(ctx, v.ID)
	if err != nil {
		return v, err
	}
	v.Start = v.CreatedAt
	for i, e := range entries {
		if i == 0 {
			v.Start = e.At
		}
		s := step{Entry: e, After: e.At.Sub(v.Start), Wait: -1}
		if !e.DueAt.IsZero() {
			s.Wait = max(0, e.DueAt.Sub(e.At))
		}
		v.Steps = append(v.Steps, s)
	}
	v.Path = pathOf(v.State, entries)
	v.Live = v.State.Mover() == saga.Worker || v.State.Mover() == saga.Publisher
	if p := v.Purchase; p != nil {
		o := p.Order
		for _, sim := range o.Sims {
			v.ICCIDs = append(v.ICCIDs, sim.ICCID)
			if sim.QRCode != "" || sim.MatchingID != "" {
				v.Codes++
			}
		}
		o.Sims = nil
		v.Order = &o
	}
	v.Purchase = nil // no template gets hold of what installs an eSIM
	if v.State == saga.DeadLettered {
		l, err := c.Desk.Get(ctx, v.DeadLetter())
		if err != nil && !errors.Is(err, deadletter.ErrNotFound) {
			return v, err
		}
		if err == nil {
			v.Letter = &l
		}
	}
	if m := string(v.Source.Metadata); m != "{}" && m != "null" && readable(m) {
		v.Metadata = hide(m)
	}
	if v.Codes > 0 {
		v.Reveals, err = c.reveals(ctx, v.ID)
	}
	return v, err
}

// pathOf is the way of every saga, and how far this one has come.
func pathOf(now saga.State, entries []saga.Entry) []stop {
	been := map[saga.State]bool{now: true}
	for _, e := range entries {
		been[e.To] = true
	}
	var path []stop
	for _, s := range []saga.State{saga.Pending, saga.Submitting, saga.Unknown, saga.Polling, saga.Notifying, saga.Completed, saga.DeadLettered, saga.Discarded} {
		detour := s == saga.Unknown || s == saga.DeadLettered || s == saga.Discarded
		goesOn := now.Mover() == saga.Worker || now.Mover() == saga.Publisher
		if !been[s] && (detour || !goesOn) {
			continue // it is not on this saga's way, or not any more
		}
		path = append(path, stop{State: s, Been: been[s], Here: s == now})
	}
	return path
}

// reveal shows what installs a saga's eSIMs, once, in the answer to the form: no address
// leads there, and each time is on record.
func (c *console) reveal(w http.ResponseWriter, r *http.Request) error {
	by := outcomeOf(r).by
	found, err := api{c.APIConfig}.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	sims, err := c.Store.Reveal(r.Context(), found.ID, by.Actor, by.Reason)
	if err != nil {
		return err
	}
	c.Log.WarnContext(r.Context(), "operator was shown activation codes", "saga_id", found.ID, "actor", by.Actor, "reason", by.Reason)
	v, err := c.readSaga(r)
	if err != nil {
		return err
	}
	v.Sims, v.Live = sims, false // it must not be replaced while it is read
	return c.showSagaView(w, r, v)
}

func (c *console) adopt(w http.ResponseWriter, r *http.Request) error {
	order, err := strconv.ParseInt(strings.TrimSpace(r.PostFormValue("order")), 10, 64)
	if err != nil || order <= 0 {
		return usageError("the order has to be PressOne's number of it")
	}
	return c.act(w, r, "adopted", func(ctx context.Context, id, letter uuid.UUID, by deadletter.By) (saga.State, error) {
		return c.Desk.Adopt(ctx, id, letter, order, by)
	})
}

func (c *console) confirmAbsent(w http.ResponseWriter, r *http.Request) error {
	return c.act(w, r, "confirmed", c.Desk.ConfirmAbsent)
}

func (c *console) act(w http.ResponseWriter, r *http.Request, did string,
	do func(ctx context.Context, id, letter uuid.UUID, by deadletter.By) (saga.State, error),
) error {
	by := outcomeOf(r).by
	id, err := uuid.Parse(r.PathValue("id"))
	letter, bad := uuid.Parse(r.PostFormValue("letter"))
	if err := cmp.Or(err, bad); err != nil {
		return usageError("the form does not say which stop it is about")
	}
	if _, err := do(r.Context(), id, letter, by); err != nil {
		return err
	}
	c.back(w, r, "/sagas/"+id.String(), did)
	return nil
}
