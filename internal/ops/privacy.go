package ops

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"esimflow/internal/deadletter"
	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// PrivacyAction is the body of an export and of an erasure: of all sagas that ID names, which is a saga's id,
// a request id, or an ICCID, a top-up's or one that was bought.
type PrivacyAction struct {
	ID string `json:"id"`
	deadletter.By
}

// Erasure is what became of one saga, or of what is left of those that are gone.
type Erasure struct {
	SagaID  uuid.UUID `json:"saga_id"`           // zero: of what has none
	Remains int       `json:"remains,omitempty"` // how much that was
	Erased  bool      `json:"erased"`
	Why     string    `json:"why,omitempty"` // if it was not
}

// mostPersonal is how many sagas one name can be of: an eSIM that is topped up monthly has a dozen a year.
const mostPersonal = 1000

// concerned finds the sagas that a request names. Whose an eSIM is that was bought, PressOne is asked: here that
// is encrypted. Without its answer nothing is done: it would be half of what was asked for.
func (a api) concerned(ctx context.Context, id string) ([]saga.Summary, error) {
	if id == "" {
		return nil, usageError("id is missing: a saga's id, a request id or an ICCID")
	}
	var orders []int64
	if isICCID(id) {
		found, err := a.Auditor.Provider.Orders(ctx, pressone.OrderFilter{ICCID: id})
		if err != nil {
			return nil, fmt.Errorf("PressOne was asked whose the eSIM is: %w", err)
		}
		for _, o := range found {
			orders = append(orders, o.ID)
		}
	}
	all, err := a.Store.Search(ctx, id, orders, mostPersonal)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, notFoundError("nothing is on record by that id")
	}
	return all, nil
}

func isICCID(id string) bool {
	return len(id) >= 18 && len(id) <= 22 && strings.Trim(id, "0123456789") == ""
}

// somebody is what the trail calls whom an export or an erasure concerns: a line of it stays for ever, and must not
// say what was erased. Which sagas it was is in privacy_action.
func somebody(*http.Request, asked) string { return "somebody's data" }

func (a api) exportData(r *http.Request) (any, error) {
	var in PrivacyAction
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	sagas, err := a.concerned(r.Context(), strings.TrimSpace(in.ID))
	if err != nil {
		return nil, err
	}
	by := outcomeOf(r).by
	all := make([]saga.PersonalData, 0, len(sagas))
	for _, s := range sagas {
		data, err := a.Store.Export(r.Context(), s.ID, by.Actor, by.Reason)
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	a.Log.WarnContext(r.Context(), "personal data was exported", "sagas", len(all), "actor", by.Actor)
	return all, nil
}

func (a api) eraseData(r *http.Request) (any, error) {
	var in PrivacyAction
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	id := strings.TrimSpace(in.ID)
	sagas, err := a.concerned(r.Context(), id)
	if _, nothing := errors.AsType[notFoundError](err); err != nil && !nothing {
		return nil, err
	}
	by := outcomeOf(r).by
	remains := 0
	if err != nil || isICCID(id) { // else it is those sagas' name
		var remainsErr error
		if remains, remainsErr = a.Store.EraseRemains(r.Context(), id, by.Actor, by.Reason); remainsErr != nil {
			return nil, remainsErr
		}
	}
	if remains == 0 && err != nil {
		return nil, err
	}
	all := make([]Erasure, 0, len(sagas)+1)
	if remains > 0 {
		all = append(all, Erasure{Remains: remains, Erased: true})
		a.Log.WarnContext(r.Context(), "personal data was erased of what has no saga", "records", remains, "actor", by.Actor)
	}
	for _, s := range sagas {
		e := Erasure{SagaID: s.ID}
		err := a.Store.Erase(r.Context(), s.ID, by.Actor, by.Reason)
		refused, _ := errors.AsType[*saga.RefusedError](err)
		switch {
		case refused != nil && len(sagas) == 1:
			return nil, err
		case refused != nil:
			e.Why = refused.Why
		case err != nil:
			return nil, err
		default:
			e.Erased = true
			a.Log.WarnContext(r.Context(), "personal data was erased", "saga_id", s.ID, "actor", by.Actor)
		}
		all = append(all, e)
	}
	return all, nil
}
