package saga

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// A top-up that an operator replays after RETENTION must not take the order of one whose saga
// has left, and with it the proof that the order had an owner.
func TestNobodyTakesTheOrderOfASagaThatHasLeft(t *testing.T) {
	t.Parallel()
	s := Saga{Kind: message.Topup, PackageID: "p", ICCID: ourICCID}
	accepted := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration, iccids ...string) pressone.Order {
		o := listed(1, "-", "completed", iccids...)
		o.CreatedAt = accepted.Add(d)
		return o
	}
	undated := at(0, ourICCID)
	undated.CreatedAt = time.Time{}
	const day = 24 * time.Hour
	tests := []struct {
		name  string
		gone  time.Duration // since when none has left; 0: none ever has
		order pressone.Order
		want  EventName
	}{
		{"none has left", 0, at(time.Hour, ourICCID), Found},
		{"all that has left is older", -2 * day, at(time.Hour, ourICCID), Found},
		{"its owner may have left", 2 * day, at(time.Hour, ourICCID), GaveUp},
		{"its owner may have left, and it names nobody", 2 * day, at(time.Hour), GaveUp},
		{"its owner may have left, and it has no time", 2 * day, undated, GaveUp},
		{"in another zone its owner may have left", time.Hour, at(10*time.Hour, ourICCID), GaveUp},
		{"it is from after that", 2 * day, at(4*day, ourICCID), Found},
		{"it names another eSIM", 2 * day, at(time.Hour, otherICCID), ""},
		{"it is of long before", 2 * day, at(-30*day, ourICCID), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := listings{byICCID: []pressone.Order{tt.order}, from: accepted, to: accepted.Add(100 * day)}
			if tt.gone != 0 {
				l.rivals.GoneBefore = accepted.Add(tt.gone)
			}
			require.Equal(t, tt.want, matchTopup(s, l).Name)
		})
	}
}
