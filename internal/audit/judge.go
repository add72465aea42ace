package audit

import (
	"fmt"
	"slices"

	"github.com/google/uuid"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// kin is a saga that has to do with an order.
type kin struct {
	ID        uuid.UUID
	Kind      message.Kind
	RequestID string
	State     saga.State
	StoppedIn saga.State
	Reference string
	PackageID string
	ICCID     string `db:"iccid"`
	OrderID   int64
}

// kinship is the sagas that one order could belong to.
type kinship struct {
	owner  *kin  // owns it
	named  []kin // their reference is in its description
	exact  bool  // it is the whole of the description
	minted bool  // its description is of the form of our references
	rivals []kin // top-ups of its package of which it is not known whether they were bought
}

// verdict is what is thought of one order.
type verdict struct {
	kind   Kind // empty: nothing is wrong
	saga   *kin
	why    string
	advice string

	adopt     bool // by saga, if it is still so
	free      bool // it cost nothing in the end
	unsettled bool // its saga is about to find it
}

// The slugs of orders that cost nothing in the end.
const (
	statusFailed   = "failed"
	statusRefunded = "refunded"
)

const seeSaga = "see esimctl saga show %s"

// judge says what is to be thought of an order that PressOne lists. It is pure.
func judge(o pressone.Order, k kinship) verdict {
	switch {
	case k.owner != nil && o.Status == statusFailed:
		return verdict{
			kind: Phantom, saga: k.owner, why: "PressOne's record says that the order failed, and a saga owns it",
			advice: fmt.Sprintf("ask PressOne whether it was charged and whether its eSIM works; "+seeSaga, k.owner.ID),
		}
	case k.owner != nil:
		return verdict{saga: k.owner}
	case o.Status == statusFailed, o.Status == statusRefunded:
		return verdict{free: true}
	case len(k.named) > 1:
		return verdict{kind: Orphan, why: "its description holds the references of several sagas", advice: adviceByHand}
	case len(k.named) == 1:
		return judgeNamed(o, k)
	case k.minted:
		return verdict{
			kind: Orphan, why: "it has a reference of ours, and no saga has that: was the database restored from an older point, or does another installation use this account?",
			advice: "do not publish its request again, which would buy again: if its request has a saga that waits, esimctl saga adopt REQUEST_ID --order ID; " +
				"else deliver the eSIM from PressOne's console, then dismiss this; docs/operations.md has the whole procedure",
		}
	case o.Type == "topup" || o.Type == "":
		return judgeNameless(o, k.rivals)
	}
	return verdict{kind: Orphan, why: "nobody here has asked for it", advice: adviceByHand}
}

const adviceByHand = "find out in PressOne's console who bought it; dismiss this when it is explained"

// judgeNamed is for an order with the reference of one saga, which does not own it.
func judgeNamed(o pressone.Order, k kinship) verdict {
	s := k.named[0]
	v := verdict{kind: Orphan, saga: &s}
	switch {
	case s.OrderID != 0:
		v.kind = Double
		v.why = fmt.Sprintf("it has the reference of a saga that owns order %d: it was bought twice", s.OrderID)
		v.advice = fmt.Sprintf("ask PressOne to refund order %d, and whether it keeps to LIST_LAG and SETTLE_DELAY; "+seeSaga, o.ID, s.ID)
	case s.State == saga.Submitting || s.State == saga.Unknown:
		return verdict{saga: &s, unsettled: true}
	case !k.exact:
		v.why = "its description holds the reference of a saga that owns no order, and more"
		v.advice = fmt.Sprintf("if it is that saga's: esimctl saga adopt %s --order %d --reason TEXT", s.ID, o.ID)
	case s.State == saga.Pending || s.State == saga.DeadLettered:
		v.adopt = true
		v.why = "it has the reference of a saga that knows nothing of it"
		v.advice = fmt.Sprintf("esimctl saga adopt %s --order %d --reason TEXT", s.ID, o.ID)
	case s.State == saga.Discarded:
		v.why = "it has the reference of a saga that an operator has discarded"
		v.advice = fmt.Sprintf("use its eSIM or ask PressOne for a refund, then dismiss this; "+seeSaga, s.ID)
	default:
		v.why = fmt.Sprintf("it has the reference of a saga in the state %s, which this version does not know", s.State)
		v.advice = "audit again with the version that the other workers have"
	}
	return v
}

// judgeNameless is for a top-up that bears no reference of ours: PressOne may have
// replaced it. The saga that it could belong to looks for it itself, as long as it may.
func judgeNameless(o pressone.Order, rivals []kin) verdict {
	v := verdict{kind: Orphan, why: "nobody here has asked for it", advice: adviceByHand}
	iccids := saga.NamedICCIDs(o)
	var stopped []kin
	for _, s := range rivals {
		switch {
		case s.PackageID != o.PackageID || s.OrderID != 0:
		case len(iccids) > 0 && !slices.ContainsFunc(iccids, func(n string) bool { return saga.SameICCID(n, s.ICCID) }):
		case s.State == saga.Submitting || s.State == saga.Unknown:
			return verdict{saga: &s, unsettled: true}
		case s.State == saga.DeadLettered:
			stopped = append(stopped, s)
		}
	}
	switch len(stopped) {
	case 0:
	case 1:
		v.saga = &stopped[0]
		v.why = "it could be the top-up of a saga of which that is not known"
		v.advice = fmt.Sprintf("if it is that saga's: esimctl saga adopt %s --order %d --reason TEXT", stopped[0].ID, o.ID)
	default:
		v.why = fmt.Sprintf("it could be the top-up of any of %d sagas of which that is not known", len(stopped))
		v.advice = "find out in PressOne's console which eSIM it is for, and adopt it for that one: esimctl dlq list --code outcome_unknown"
	}
	return v
}
