package saga

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// statusFailed is the slug of an order that came to nothing: it is not a purchase.
const statusFailed = "failed"

// matchReference finds the order that bears our reference, whole: PressOne's filter
// matches substrings. No event: there is none.
func matchReference(s Saga, orders []pressone.Order) Event {
	var failed []int64
	var best *pressone.Order
	for i, o := range orders {
		switch {
		case !o.Described(s.Reference):
		case o.Status != statusFailed:
			if best == nil || o.ID < best.ID {
				best = &orders[i] // should there be two, the audit finds the other
			}
		case !slices.Contains(s.FailedOrders, o.ID): // an earlier submission's tells nothing about this one
			failed = append(failed, o.ID)
		}
	}
	if best != nil {
		return found(*best, "our reference")
	}
	if len(failed) > 0 {
		return Event{Name: FoundFailed, FailedOrders: failed, Seen: "PressOne's record says that the order failed"}
	}
	return Event{}
}

// matchTopup finds a top-up of ours whose description PressOne has replaced: by type,
// package and time, and by the ICCID wherever it shows. An order that names another ICCID
// or bears another saga's reference is not ours; owned ones are not among the orders.
// Where two could still match nobody guesses. No event: there is none.
//
// byICCID is what PressOne lists for our ICCID, others what it lists otherwise.
func matchTopup(s Saga, byICCID, others []pressone.Order, from, to time.Time, rivals bool) Event {
	listed := map[int64]bool{}
	for _, o := range byICCID {
		if names := namedICCIDs(o); len(names) > 0 && !slices.Contains(names, s.ICCID) {
			clear(listed) // that filter does not filter
			break
		}
		listed[o.ID] = true
	}
	seen := map[int64]bool{}
	var ours, nameless []pressone.Order
	for _, o := range append(slices.Clone(byICCID), others...) {
		if seen[o.ID] || !plausible(s, o, from, to) {
			continue
		}
		seen[o.ID] = true
		names := namedICCIDs(o)
		switch {
		case slices.Contains(names, s.ICCID), len(names) == 0 && listed[o.ID]:
			ours = append(ours, o)
		case len(names) == 0:
			nameless = append(nameless, o)
		}
	}
	switch {
	case len(ours) == 1:
		return found(ours[0], "a top-up of this eSIM, in the right package and time")
	case len(ours) > 1:
		return ambiguous(len(ours), "of this eSIM")
	case len(nameless) == 1 && !rivals:
		return found(nameless[0], "the only top-up without an owner in the right package and time")
	case len(nameless) > 0:
		return ambiguous(len(nameless), "that name no eSIM")
	}
	return Event{}
}

// plausible reports whether o could be the order of s, whatever eSIM it is for.
func plausible(s Saga, o pressone.Order, from, to time.Time) bool {
	if o.Status == statusFailed || o.PackageID != s.PackageID || o.Type != "" && o.Type != "topup" {
		return false
	}
	if !o.CreatedAt.IsZero() && (o.CreatedAt.Before(from) || o.CreatedAt.After(to)) {
		return false
	}
	// A description like one of our references, but not ours, is another saga's.
	return o.Description == nil || !referencePattern.MatchString(*o.Description)
}

// Unlike says why o cannot be what s has bought, or nothing: an operator names orders by
// hand.
func (s Saga) Unlike(o pressone.Order) string {
	names := namedICCIDs(o)
	switch {
	case o.Status == statusFailed:
		return fmt.Sprintf("PressOne says that order %d failed: it is not a purchase", o.ID)
	case o.PackageID != s.PackageID:
		return fmt.Sprintf("order %d is for package %s, not %s", o.ID, o.PackageID, s.PackageID)
	case o.Type == "topup" != (s.Kind == message.Topup):
		return fmt.Sprintf("order %d is of type %s", o.ID, o.Type)
	case s.Kind == message.Order && o.Quantity != s.Quantity:
		return fmt.Sprintf("order %d has quantity %d, not %d", o.ID, o.Quantity, s.Quantity)
	case s.Kind == message.Topup && len(names) > 0 && !slices.Contains(names, s.ICCID):
		return fmt.Sprintf("order %d is for another eSIM", o.ID)
	}
	return ""
}

var iccidRun = regexp.MustCompile(`[0-9]{18,22}`)

// namedICCIDs lists the ICCIDs that an order shows, in its sims or its description.
func namedICCIDs(o pressone.Order) []string {
	var names []string
	for _, sim := range o.Sims {
		names = append(names, sim.ICCID)
	}
	if o.Description != nil {
		names = append(names, iccidRun.FindAllString(*o.Description, -1)...)
	}
	return names
}
