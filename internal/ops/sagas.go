package ops

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/google/uuid"

	"esimflow/internal/deadletter"
	"esimflow/internal/message"
	"esimflow/internal/saga"
)

// Action is the body of everything that changes a saga.
//
// DeadLetter is the stop that the actor has seen; without one, it is the last one, as long
// as the saga has stopped only once.
type Action struct {
	deadletter.By
	DeadLetter uuid.UUID `json:"dead_letter_id,omitzero"`
	OrderID    int64     `json:"order_id,omitempty"` // adopt
}

// SagaView is one saga with its timeline.
type SagaView struct {
	saga.Summary
	Price  string   `json:"price,omitempty"` // with currency
	Order  string   `json:"order,omitempty"` // PressOne's code
	ICCIDs []string `json:"iccids,omitempty"`
	// DeadLetter is the open letter of a saga that has stopped.
	DeadLetter *uuid.UUID   `json:"dead_letter_id,omitempty"`
	Timeline   []saga.Entry `json:"timeline"`
}

// Moved is the answer to an action.
type Moved struct {
	ID    uuid.UUID  `json:"id"`
	State saga.State `json:"state"`
}

func (a api) adopt(r *http.Request) (any, error) {
	return a.act(r, func(ctx context.Context, id uuid.UUID, in Action) (saga.State, error) {
		if in.OrderID <= 0 {
			return "", usageError("order_id is missing")
		}
		return a.Desk.Adopt(ctx, id, in.DeadLetter, in.OrderID, in.By)
	})
}

func (a api) confirmAbsent(r *http.Request) (any, error) {
	return a.act(r, func(ctx context.Context, id uuid.UUID, in Action) (saga.State, error) {
		return a.Desk.ConfirmAbsent(ctx, id, in.DeadLetter, in.By)
	})
}

func (a api) discardSaga(r *http.Request) (any, error) {
	return a.act(r, func(ctx context.Context, id uuid.UUID, in Action) (saga.State, error) {
		return a.Desk.DiscardSaga(ctx, id, in.DeadLetter, in.By)
	})
}

func (a api) act(r *http.Request, do func(context.Context, uuid.UUID, Action) (saga.State, error)) (any, error) {
	var in Action
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	s, err := a.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if in.DeadLetter == uuid.Nil && s.Ends == 1 {
		in.DeadLetter = saga.Saga{ID: s.ID, Ends: s.Ends}.DeadLetter()
	}
	in.By = outcomeOf(r).by
	state, err := do(r.Context(), s.ID, in)
	if err == nil {
		outcomeOf(r).said = "it is " + string(state)
	}
	return Moved{ID: s.ID, State: state}, err
}

// find takes a saga's id, or a request id if only one saga has it.
func (a api) find(ctx context.Context, id string) (saga.Summary, error) {
	f := saga.ListFilter{RequestID: id, Limit: 2}
	if parsed, err := uuid.Parse(id); err == nil {
		f = saga.ListFilter{ID: &parsed, Limit: 1}
	}
	all, err := a.Store.List(ctx, f)
	switch {
	case err != nil:
		return saga.Summary{}, err
	case len(all) == 0:
		return saga.Summary{}, notFoundError(fmt.Sprintf("there is no saga with id or request id %q", id))
	case len(all) > 1:
		return saga.Summary{}, usageError(fmt.Sprintf("an order and a top-up have request id %q: give the saga's id", id))
	}
	return all[0], nil
}

func (a api) sagas(r *http.Request) (any, error) {
	q := r.URL.Query()
	f := saga.ListFilter{
		Kind: message.Kind(q.Get("kind")), State: saga.State(q.Get("state")),
		RequestID: q.Get("request_id"), ICCID: q.Get("iccid"),
	}
	var err error
	if f.Limit, err = limit(q.Get("limit")); err != nil {
		return nil, err
	}
	if n := q.Get("order_id"); n != "" {
		if f.OrderID, err = strconv.ParseInt(n, 10, 64); err != nil {
			return nil, usageError("order_id has to be a number")
		}
	}
	return a.Store.List(r.Context(), f)
}

func (a api) saga(r *http.Request) (any, error) {
	s, err := a.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	whole, err := a.Store.Get(r.Context(), s.ID)
	if err != nil {
		return nil, err
	}
	v := SagaView{Summary: s}
	if whole.State == saga.DeadLettered {
		id := whole.DeadLetter()
		v.DeadLetter = &id
	}
	if p := whole.Purchase; p != nil {
		v.Order = p.Order.Code
		v.Price = fmt.Sprintf("%s %s", p.Order.Price, p.Order.Currency)
		for _, sim := range p.Order.Sims {
			v.ICCIDs = append(v.ICCIDs, sim.ICCID)
		}
	}
	v.Timeline, err = a.Store.Timeline(r.Context(), s.ID)
	return v, err
}
