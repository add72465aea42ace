package ops

import (
	"net/http"

	"esimflow/internal/deadletter"
	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// GateAction is the body of a pause and of a resumption: of a lane, or of a kind.
type GateAction struct {
	pressone.Target
	deadletter.By
}

// GateView is the gate: its lanes, and what operators have paused.
type GateView struct {
	pressone.View
	// Waiting is how many requests wait for their submission; it stops counting at ten thousand.
	Waiting []saga.Waiting `json:"waiting"`
}

func (a api) gate(r *http.Request) (any, error) {
	v, err := a.Gate.View(r.Context())
	if err != nil {
		return nil, err
	}
	waiting, err := a.Store.Waiting(r.Context())
	return GateView{View: v, Waiting: waiting}, err
}

func (a api) gateTrail(r *http.Request) (any, error) {
	n, err := limit(r.URL.Query().Get("limit"))
	if err != nil {
		return nil, err
	}
	return a.Gate.Trail(r.Context(), n)
}

func (a api) pause(r *http.Request) (any, error) {
	in, err := gateAction(r)
	if err != nil {
		return nil, err
	}
	p, err := a.Gate.Pause(r.Context(), in.Target, in.Actor, in.Reason)
	if err != nil {
		return nil, err
	}
	a.Log.WarnContext(r.Context(), "paused", "what", p.String(), "actor", p.Actor, "reason", p.Reason)
	return a.after(r, p)
}

// after is the gate after an action, which has happened whether the gate can be shown or not.
func (a api) after(r *http.Request, paused ...pressone.Pause) (any, error) {
	v, err := a.gate(r)
	if err != nil {
		a.Log.WarnContext(r.Context(), "the gate cannot be shown", "err", err)
		return GateView{View: pressone.View{Pauses: paused}}, nil
	}
	return v, nil
}

func (a api) resume(r *http.Request) (any, error) {
	in, err := gateAction(r)
	if err != nil {
		return nil, err
	}
	if err := a.Gate.Resume(r.Context(), in.Target, in.Actor, in.Reason); err != nil {
		return nil, err
	}
	a.Log.WarnContext(r.Context(), "resumed", "what", in.String(), "actor", in.Actor, "reason", in.Reason)
	return a.after(r)
}

func gateAction(r *http.Request) (GateAction, error) {
	var in GateAction
	if err := decode(r, &in); err != nil {
		return in, err
	}
	in.By = outcomeOf(r).by
	if err := in.Check(); err != nil {
		return in, usageError(err.Error())
	}
	return in, nil
}
