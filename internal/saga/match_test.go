package saga

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

const (
	ourReference   = "aaaaaaaaaaaaaaaaaaaaaaaaaa"
	otherReference = "bbbbbbbbbbbbbbbbbbbbbbbbbb"
	ourICCID       = "8934000000000008728"
	otherICCID     = "8934000000000008729"
)

// listed is an order as PressOne lists it; description "-" is null.
func listed(id int64, description, status string, iccids ...string) pressone.Order {
	o := pressone.Order{ID: id, PackageID: "p", Type: "topup", Status: status, CreatedAt: time.Unix(1000, 0)}
	if description != "-" {
		o.Description = &description
	}
	for _, iccid := range iccids {
		o.Sims = append(o.Sims, pressone.Sim{ICCID: iccid})
	}
	return o
}

func TestMatchReference(t *testing.T) {
	s := Saga{Reference: ourReference, Attempts: 2}
	tests := []struct {
		name   string
		orders []pressone.Order
		want   EventName
		order  int64
	}{
		{"nothing", nil, "", 0},
		{"ours", []pressone.Order{listed(1, ourReference, "completed")}, Found, 1},
		{"no status given", []pressone.Order{listed(1, ourReference, "")}, Found, 1},
		{"refunded was bought", []pressone.Order{listed(1, ourReference, "refunded")}, Found, 1},
		{"another description", []pressone.Order{listed(1, otherReference, "completed")}, "", 0},
		{"a longer description", []pressone.Order{listed(1, ourReference+"a", "completed")}, GaveUp, 0},
		{"in capitals, and a space after it", []pressone.Order{listed(1, strings.ToUpper(ourReference)+" ", "completed")}, Found, 1},
		{"a description that holds ours, failed", []pressone.Order{listed(1, "x "+ourReference, "failed")}, "", 0},
		{"a description that holds ours", []pressone.Order{listed(1, "x "+ourReference, "completed")}, GaveUp, 0},
		{"one of two submissions failed", []pressone.Order{listed(3, ourReference, "failed")}, "", 0},
		{"both failed", []pressone.Order{listed(3, ourReference, "failed"), listed(4, ourReference, "failed")}, FoundFailed, 0},
		{"failed, and bought", []pressone.Order{listed(4, ourReference, "failed"), listed(5, ourReference, "completed")}, Found, 5},
		{"another saga's, and ours by its reference", []pressone.Order{listed(40, ourReference, "completed")}, GaveUp, 0},
		{"another saga's, beside ours", []pressone.Order{listed(40, ourReference, "completed"), listed(41, ourReference, "completed")}, Found, 41},
		{"two: the first", []pressone.Order{listed(7, ourReference, "completed"), listed(6, ourReference, "completed")}, Found, 6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := matchReference(s, tt.orders, map[int64]bool{40: true})
			require.Equal(t, tt.want, e.Name)
			if tt.order != 0 {
				require.Equal(t, tt.order, e.Purchase.Order.ID)
			}
		})
	}
}

func TestMatchTopup(t *testing.T) {
	s := Saga{Kind: message.Topup, Reference: ourReference, ICCID: ourICCID, PackageID: "p"}
	from, to := time.Unix(500, 0), time.Unix(1500, 0)
	other := func(change func(*pressone.Order)) pressone.Order {
		o := listed(1, "Topup ("+ourICCID+")", "completed")
		change(&o)
		return o
	}
	tests := []struct {
		name            string
		byICCID, others []pressone.Order
		rivals          bool
		want            EventName
	}{
		{"nothing", nil, nil, false, ""},
		{"described by our ICCID", nil, []pressone.Order{listed(1, "Topup ("+ourICCID+")", "completed")}, false, Found},
		{"rivals do not matter if it names ours", nil, []pressone.Order{listed(1, "Topup ("+ourICCID+")", "completed")}, true, Found},
		{"our ICCID among its sims", nil, []pressone.Order{listed(1, "-", "completed", ourICCID)}, false, Found},
		{"listed for our ICCID and nameless", []pressone.Order{listed(1, "-", "completed")}, nil, false, Found},
		{"listed for our ICCID and nameless, by a filter not seen to work", []pressone.Order{listed(1, "-", "completed")}, nil, true, GaveUp},
		{"listed for our ICCID and nameless, by a filter that works", []pressone.Order{listed(1, "-", "completed"), listed(40, "-", "completed", ourICCID)}, nil, true, Found},
		{"listed by a filter that does not work, as an owned order shows", []pressone.Order{listed(1, "-", "completed"), listed(40, "-", "completed", otherICCID)}, nil, true, GaveUp},
		{"owned", nil, []pressone.Order{listed(40, "-", "completed", ourICCID)}, false, ""},
		{"listed for our ICCID by a filter that does not filter", []pressone.Order{listed(1, "-", "completed"), listed(2, "-", "completed", otherICCID)}, nil, true, GaveUp},
		{"the same one twice", []pressone.Order{listed(1, "-", "completed", ourICCID)}, []pressone.Order{listed(1, "-", "completed", ourICCID)}, false, Found},
		{"two of ours", nil, []pressone.Order{listed(1, "-", "completed", ourICCID), listed(2, "-", "completed", ourICCID)}, false, GaveUp},
		{"another's ICCID", nil, []pressone.Order{listed(1, "Topup ("+otherICCID+")", "completed")}, false, ""},
		{"another's ICCID among its sims", nil, []pressone.Order{listed(1, "-", "completed", otherICCID)}, false, ""},
		{"our ICCID with a check digit", nil, []pressone.Order{listed(1, "Topup ("+ourICCID+"1)", "completed")}, false, Found},
		{"our ICCID without its check digit", nil, []pressone.Order{listed(1, "Topup ("+ourICCID[:18]+")", "completed")}, false, Found},
		{"an ICCID that holds ours", nil, []pressone.Order{listed(1, "Topup ("+ourICCID+"12)", "completed")}, false, ""},
		{"another saga's reference", nil, []pressone.Order{listed(1, otherReference, "completed", ourICCID)}, false, ""},
		{"nameless, alone", nil, []pressone.Order{listed(1, "-", "completed")}, false, Found},
		{"nameless, with a rival", nil, []pressone.Order{listed(1, "-", "completed")}, true, GaveUp},
		{"nameless, of an unreadable time", nil, []pressone.Order{other(func(o *pressone.Order) { o.Description, o.CreatedAt = nil, time.Time{} })}, false, GaveUp},
		{"two nameless", nil, []pressone.Order{listed(1, "-", "completed"), listed(2, "", "completed")}, false, GaveUp},
		{"ours beside a nameless one", nil, []pressone.Order{listed(1, "-", "completed"), listed(2, "-", "completed", ourICCID)}, false, Found},
		{"failed", nil, []pressone.Order{listed(1, "-", "failed", ourICCID)}, false, ""},
		{"another package", nil, []pressone.Order{other(func(o *pressone.Order) { o.PackageID = "q" })}, false, ""},
		{"no top-up", nil, []pressone.Order{other(func(o *pressone.Order) { o.Type = "sim" })}, false, ""},
		{"another zone, naming ours", nil, []pressone.Order{other(func(o *pressone.Order) { o.CreatedAt = from.Add(-time.Hour) })}, false, GaveUp},
		{"another zone, nameless", nil, []pressone.Order{other(func(o *pressone.Order) { o.Description, o.CreatedAt = nil, to.Add(5*time.Hour) })}, false, GaveUp},
		{"another zone, another's ICCID", nil, []pressone.Order{listed(1, "Topup ("+otherICCID+")", "completed")}, false, ""},
		{"another zone, beside ours", nil, []pressone.Order{other(func(o *pressone.Order) { o.ID, o.CreatedAt = 9, from.Add(-time.Hour) }), listed(1, "-", "completed", ourICCID)}, false, GaveUp},
		{"another zone and nameless, beside ours", nil, []pressone.Order{other(func(o *pressone.Order) { o.ID, o.Description, o.CreatedAt = 9, nil, from.Add(-time.Hour) }), listed(1, "-", "completed", ourICCID)}, false, Found},
		{"too early", nil, []pressone.Order{other(func(o *pressone.Order) { o.CreatedAt = from.Add(-anyZone - time.Second) })}, false, ""},
		{"too late", nil, []pressone.Order{other(func(o *pressone.Order) { o.CreatedAt = to.Add(anyZone + time.Second) })}, false, ""},
		{"an unreadable time", nil, []pressone.Order{other(func(o *pressone.Order) { o.CreatedAt = time.Time{} })}, false, GaveUp},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := matchTopup(s, listings{tt.byICCID, tt.others, map[int64]bool{40: true}, from, to, Rivals{Unresolved: tt.rivals}})
			require.Equal(t, tt.want, e.Name, e.Seen)
			if e.Name == GaveUp {
				require.Equal(t, CodeOutcomeUnknown, e.Code)
			}
			if tt.rivals && e.Name == GaveUp { // because of nameless ones
				again := matchTopup(s, listings{tt.byICCID, tt.others, map[int64]bool{40: true}, from, to, Rivals{InFlight: true, Busy: true}})
				require.Equal(t, LookupFailed, again.Name, "while rivals are in flight it looks again")
			}
		})
	}
}

// Of one eSIM another top-up is a dead letter, and may have been bought. The order could be
// either's, so neither gets it: the books would be swapped.
func TestAnotherTopupOfTheESIMIsUnresolved(t *testing.T) {
	s := Saga{Kind: message.Topup, Reference: ourReference, ICCID: ourICCID, PackageID: "p"}
	l := listings{
		others: []pressone.Order{listed(1, "Topup ("+ourICCID+")", "completed")},
		from:   time.Unix(500, 0), to: time.Unix(1500, 0), rivals: Rivals{Unresolved: true, Same: true},
	}
	e := matchTopup(s, l)
	require.Equal(t, GaveUp, e.Name)
	require.Contains(t, e.Seen, "another top-up is unresolved")
	l.others = nil
	require.Empty(t, matchTopup(s, l).Name)
}

func TestRivals(t *testing.T) {
	b := setupStore(t)
	topup := func(iccid string) message.Request {
		return message.Request{Kind: message.Topup, PackageID: "p", ICCID: iccid}
	}
	stop := func(s Saga) { b.apply(b.apply(s, Event{Name: OutcomeUnknown}), unresolved("x")) }
	since, until := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	stop(b.accept(topup(otherICCID), true))
	s := b.accept(topup(ourICCID), true)
	v, err := b.store.Rivals(t.Context(), s, since, until)
	require.NoError(t, err)
	require.Equal(t, Rivals{Unresolved: true}, v)
	stop(s)
	again := b.accept(topup(ourICCID), true)
	v, err = b.store.Rivals(t.Context(), again, since, until)
	require.NoError(t, err)
	require.Equal(t, Rivals{Unresolved: true, Same: true}, v)
	v, err = b.store.Rivals(t.Context(), again, until, until.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, Rivals{}, v, "of another time")
}

func TestNamelessOrdersOfAnotherTimeUnderLoad(t *testing.T) {
	s := Saga{Kind: message.Topup, Reference: ourReference, ICCID: ourICCID, PackageID: "p"}
	later := listed(1, "-", "completed")
	later.CreatedAt = time.Unix(9000, 0)
	l := listings{others: []pressone.Order{later}, from: time.Unix(500, 0), to: time.Unix(1500, 0)}
	require.Equal(t, GaveUp, matchTopup(s, l).Name)
	l.rivals.Busy = true
	require.Equal(t, LookupFailed, matchTopup(s, l).Name, "most likely it is theirs")
	l.owned = map[int64]bool{1: true}
	require.Empty(t, matchTopup(s, l).Name)
}

// Two answers have changed places on their way. Neither saga takes the other's order for its own: what it has bought is looked for.
// A description that PressOne has written itself says nothing against it.
func TestAnAnswerToAnotherSubmission(t *testing.T) {
	t.Parallel()
	s := Saga{Reference: ourReference}
	for description, want := range map[string]EventName{
		otherReference: OutcomeUnknown, ourReference: Submitted, strings.ToUpper(ourReference): Submitted, "1 sim p-7days-1gb": Submitted, "": Submitted,
	} {
		e := answered(s, pressone.Receipt{Order: listed(1, description, ""), Status: 200, Raw: []byte("raw")}, nil)
		require.Equal(t, want, e.Name, description)
		require.Equal(t, "raw", string(e.Answer.Body), "it is kept")
		require.False(t, e.Free)
	}
}
