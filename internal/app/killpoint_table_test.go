package app_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"esimflow/internal/saga"
)

// notKilled is the sides of transitions without a kill point, and why.
var notKilled = map[saga.Rule]map[moment]string{
	{From: saga.Pending, On: saga.Found, To: saga.Polling}: {
		before: "PressOne has broken its bounds by then, and the one who knew of the order is dead: it is submitted again, and the audit finds two",
	},
}

// Every transition there is has a kill point on either side of its commit, and every journey
// that is told belongs to one.
func TestKillPointsAreComplete(t *testing.T) {
	t.Parallel()
	sides := map[saga.Rule]map[moment]bool{}
	var told []string
	for _, p := range killPoints() {
		if sides[p.edge] == nil {
			sides[p.edge] = map[moment]bool{}
		}
		for when := range p.sides {
			sides[p.edge][when] = true
			told = append(told, p.name+"-"+string(when)+".txt")
		}
	}
	for _, r := range saga.Rules() {
		r.Note = ""
		for _, when := range []moment{before, after} {
			why, excused := notKilled[r][when]
			require.NotEqual(t, excused, sides[r][when], "is anybody killed %s the commit of %+v? %s", when, r, why)
		}
	}
	entries, err := os.ReadDir("../../docs/journeys/killed")
	require.NoError(t, err)
	var files []string
	for _, e := range entries {
		files = append(files, e.Name())
	}
	require.ElementsMatch(t, told, files)
}
