package saga

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// statusFailed is the slug of an order that came to nothing: it is not a purchase.
const statusFailed = "failed"

// matchReference finds the order that bears our reference, whole: PressOne's filter
// matches substrings. One that another saga owns is not ours to take, and yet it is there:
// nothing may be submitted again. No event: there is none.
func matchReference(s Saga, orders []pressone.Order, owned map[int64]bool) Event {
	failed := 0
	var best, taken, altered *pressone.Order
	for i, o := range orders {
		switch {
		case !Bears(o, s.Reference):
			if o.Status != statusFailed && o.Description != nil && strings.Contains(strings.ToLower(*o.Description), s.Reference) {
				altered = &orders[i]
			}
		case owned[o.ID]:
			taken = &orders[i]
		case o.Status != statusFailed:
			if best == nil || o.ID < best.ID {
				best = &orders[i] // should there be two, the audit finds the other
			}
		default:
			failed++
		}
	}
	if best != nil {
		return found(*best, "our reference")
	}
	if taken != nil {
		return unresolved(fmt.Sprintf("order %d has our reference, and another saga owns it: an operator has to say which is whose", taken.ID))
	}
	if altered != nil {
		return unresolved(fmt.Sprintf("the description of order %d holds our reference and more: an operator has to look", altered.ID))
	}
	// A failed order of an earlier submission tells nothing about this one: there has to be
	// one for each.
	if failed > 0 && failed >= s.Attempts {
		return Event{Name: FoundFailed, Seen: "PressOne's record says that the order failed"}
	}
	return Event{}
}

// Bears reports whether the whole of an order's description is this reference, in any
// case and with any space around it.
func Bears(o pressone.Order, reference string) bool {
	return o.Description != nil && strings.EqualFold(strings.TrimSpace(*o.Description), reference)
}

// listings is what is known when a top-up is looked for.
type listings struct {
	byICCID  []pressone.Order // what PressOne lists for our ICCID
	others   []pressone.Order // what it lists otherwise
	owned    map[int64]bool   // by other sagas
	from, to time.Time        // when ours can have been made
	rivals   Rivals           // whose a nameless order could be
}

// Rivals is other top-ups of the same package whose order could be nameless too.
type Rivals struct {
	InFlight   bool // some of the same time are being submitted: they will own theirs in a moment
	Unresolved bool // of some of the same time it is not known whether they were bought
	Busy       bool // some are being submitted now
	Same       bool // some of the same time are of the same eSIM: an order that names it could be theirs

	GoneBefore time.Time // sagas that ended before that may have left, and whoever owned an order may be one
}

// matchTopup finds a top-up of ours whose description PressOne has replaced: by type,
// package and time, and by the ICCID wherever it shows. An order that names another
// ICCID, bears another saga's reference or is owned is not ours. Where two could still
// match nobody guesses. No event: there is none.
func matchTopup(s Saga, l listings) Event {
	filters := filtersICCID(s, l.byICCID)
	seen := map[int64]bool{}
	var ours, nameless, oursElsewhen, namelessElsewhen, perhapsOwned []pressone.Order
	for i, o := range slices.Concat(l.byICCID, l.others) {
		if seen[o.ID] || l.owned[o.ID] || !plausible(s, o) {
			continue
		}
		seen[o.ID] = true
		names := NamedICCIDs(o)
		isOurs := s.namedBy(names) || len(names) == 0 && filters && i < len(l.byICCID)
		inTime := within(o, l.from, l.to)
		switch near := o.CreatedAt.IsZero() || within(o, l.from.Add(-anyZone), l.to.Add(anyZone)); {
		case near && (isOurs || len(names) == 0) && l.mayBeOfGone(o):
			perhapsOwned = append(perhapsOwned, o)
		case isOurs && inTime:
			ours = append(ours, o)
		case isOurs && near:
			oursElsewhen = append(oursElsewhen, o)
		case len(names) == 0 && inTime:
			nameless = append(nameless, o)
		case len(names) == 0 && near:
			namelessElsewhen = append(namelessElsewhen, o)
		}
	}
	const lookAgain = "%d orders name no eSIM, and other top-ups are in flight: look again"
	switch {
	case len(perhapsOwned) > 0:
		return ambiguous(len(perhapsOwned), "of a time of which sagas have left after RETENTION")
	case len(ours)+len(oursElsewhen) > 1:
		return ambiguous(len(ours)+len(oursElsewhen), "of this eSIM")
	case len(ours) == 1 && l.rivals.Same:
		return ambiguous(1, "of this eSIM, of which another top-up is unresolved,")
	case len(ours) == 1:
		return found(ours[0], "a top-up of this eSIM, in the right package and time")
	case len(oursElsewhen) == 1:
		return ambiguous(1, "of this eSIM, of no time or one that only another zone explains,")
	case len(nameless) == 1 && !l.rivals.InFlight && !l.rivals.Unresolved:
		return found(nameless[0], "the only top-up without an owner in the right package and time")
	case len(nameless) > 0 && l.rivals.InFlight:
		return Event{Name: LookupFailed, Seen: fmt.Sprintf(lookAgain, len(nameless))}
	case len(nameless) > 0:
		return ambiguous(len(nameless), "that name no eSIM")
	case len(namelessElsewhen) > 0 && l.rivals.Busy:
		return Event{Name: LookupFailed, Seen: fmt.Sprintf(lookAgain, len(namelessElsewhen))}
	case len(namelessElsewhen) > 0:
		return ambiguous(len(namelessElsewhen), "that name no eSIM, of no time or one that only another zone explains,")
	}
	return Event{}
}

// mayBeOfGone reports whether the saga that owned o may have left after RETENTION. So it is
// only for sagas as old as that, which an operator has replayed.
func (l listings) mayBeOfGone(o pressone.Order) bool {
	gone := l.rivals.GoneBefore.Add(anyZone + clockSlack)
	if l.rivals.GoneBefore.IsZero() || !l.from.Before(gone) {
		return false
	}
	return o.CreatedAt.IsZero() || o.CreatedAt.Before(gone)
}

// anyZone is how far PressOne's times may be off, beside the clocks: it gives none with
// its zone. We take them for UTC; where that would let an order that could be ours pass
// for absent, nobody guesses.
const anyZone = 14 * time.Hour

// within reports whether o was made in that time.
func within(o pressone.Order, from, to time.Time) bool {
	return !o.CreatedAt.IsZero() && !o.CreatedAt.Before(from) && !o.CreatedAt.After(to)
}

// filtersICCID reports whether PressOne's filter is seen to work: of what it lists for our
// ICCID something names it, and nothing names another.
func filtersICCID(s Saga, byICCID []pressone.Order) bool {
	ours := false
	for _, o := range byICCID {
		names := NamedICCIDs(o)
		if len(names) > 0 && !s.namedBy(names) {
			return false
		}
		ours = ours || len(names) > 0
	}
	return ours
}

// plausible reports whether o could be the order of s, whatever eSIM it is for and
// whenever it was made.
func plausible(s Saga, o pressone.Order) bool {
	if o.Status == statusFailed || o.PackageID != s.PackageID || o.Type != "" && o.Type != "topup" {
		return false
	}
	// A description like one of our references, but not ours, is another saga's.
	return !bearsReference(o)
}

func bearsReference(o pressone.Order) bool {
	return o.Description != nil && referencePattern.MatchString(strings.ToLower(strings.TrimSpace(*o.Description)))
}

// Unlike says why o cannot be what s has bought, or nothing: an operator names orders by
// hand.
func (s Saga) Unlike(o pressone.Order) string {
	names := NamedICCIDs(o)
	switch {
	case o.Status == statusFailed:
		return fmt.Sprintf("PressOne says that order %d failed: it is not a purchase", o.ID)
	case o.PackageID != s.PackageID:
		return fmt.Sprintf("order %d is for package %s, not %s", o.ID, o.PackageID, s.PackageID)
	case o.Type == "topup" != (s.Kind == message.Topup):
		return fmt.Sprintf("order %d is of type %s", o.ID, o.Type)
	case s.Kind == message.Order && o.Quantity != s.Quantity:
		return fmt.Sprintf("order %d has quantity %d, not %d", o.ID, o.Quantity, s.Quantity)
	case bearsReference(o) && !Bears(o, s.Reference):
		return fmt.Sprintf("order %d has another saga's reference", o.ID)
	case s.Kind == message.Topup && len(names) > 0 && !s.namedBy(names):
		return fmt.Sprintf("order %d is for another eSIM", o.ID)
	}
	return ""
}

// namedBy reports whether one of these ICCIDs is the saga's.
func (s Saga) namedBy(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return SameICCID(name, s.ICCID) })
}

// SameICCID reports whether two ICCIDs are of the same eSIM. Some systems leave the last
// digit, the check digit, out.
func SameICCID(a, b string) bool {
	return a == b || len(a)+1 == len(b) && strings.HasPrefix(b, a) || len(b)+1 == len(a) && strings.HasPrefix(a, b)
}

var iccidRun = regexp.MustCompile(`[0-9]{18,22}`)

// NamedICCIDs lists the ICCIDs that an order shows, in its sims or its description.
func NamedICCIDs(o pressone.Order) []string {
	var names []string
	for _, sim := range o.Sims {
		names = append(names, sim.ICCID)
	}
	if o.Description != nil {
		names = append(names, iccidRun.FindAllString(*o.Description, -1)...)
	}
	return names
}
