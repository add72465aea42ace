package restore

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// world is Postgres, NATS and workers, a step at a time: who has the lock, what was asked, what is
// still to be told.
type world struct {
	t       *rapid.T
	row     Mark
	past    []Mark // rows that were committed
	told    Mark   // what NATS was told last…
	place   uint64 // …and its place on the stream
	backups []Mark // what NATS was told before
	workers []turning
	locked  int // by whom; -1: nobody
	lost    bool
	missed  bool // NATS knows of a loss that nobody has found yet
}

// turning is a worker somewhere in its turn.
type turning struct {
	known   Mark // for good
	row     Mark // as it was read
	before  Mark // known before that
	seen    Mark
	at      uint64
	asked   bool
	untold  bool
	telling Mark
}

func newWorld(t *rapid.T) *world {
	row := Mark{Database: uuid.New()}
	return &world{t: t, row: row, past: []Mark{row}, workers: make([]turning, 4), locked: -1}
}

// step moves somebody on. What cannot happen now does nothing.
func (w *world) step(losses, backups bool) {
	i := rapid.IntRange(0, len(w.workers)-1).Draw(w.t, "who")
	me := &w.workers[i]
	switch rapid.SampledFrom([]string{"begin", "ask", "commit", "tell", "begin", "ask", "commit", "tell", "restart", "lose", "restore"}).Draw(w.t, "what") {
	case "begin":
		if w.locked < 0 {
			w.locked, me.before, me.row, me.asked, me.seen = i, me.known, w.row, false, Mark{}
		}
	case "ask": // or not: NATS is away
		if w.locked == i && rapid.IntRange(0, 4).Draw(w.t, "away") > 0 {
			me.seen, me.at, me.asked = w.told, w.place, true
		}
	case "commit":
		if w.locked == i {
			w.commit(me)
		}
	case "tell":
		if me.untold && me.at == w.place {
			require.Greater(w.t, me.telling.Beat, w.told.Beat, "NATS is never told less than before")
			w.backups = append(w.backups, w.told)
			w.told, w.place = me.telling, w.place+1
		}
		me.untold = false
	case "restart": // its transaction is taken back; what it was telling may still arrive
		if w.locked == i {
			w.locked = -1
		}
		me.known = Mark{}
	case "lose": // a failover: nobody's transaction survives
		if losses && !w.lost {
			w.row = rapid.SampledFrom(w.past).Draw(w.t, "row")
			w.locked, w.lost, w.missed = -1, true, w.told.lacksIn(w.row)
		}
	case "restore":
		if backups && len(w.backups) > 0 {
			w.told = rapid.SampledFrom(w.backups).Draw(w.t, "told")
		}
	}
}

// lacksIn reports whether row is behind k.
func (k Mark) lacksIn(row Mark) bool { return k.Beat > row.Beat }

func (w *world) commit(me *turning) {
	w.locked = -1
	lost := me.row.lacks(me.before, me.seen)
	if !w.lost {
		require.Zero(w.t, lost, "a false alarm")
	}
	if me.asked && w.missed {
		require.NotZero(w.t, lost, "a loss that NATS knows of is found by the first who asks")
	}
	if lost == 0 && !me.asked {
		me.known = me.row
		return
	}
	if lost > 0 {
		w.missed = false
	}
	next := me.row.next(me.before, me.seen)
	require.Greater(w.t, next.Beat, max(lost, me.row.Beat))
	w.row, me.known, w.past = next, next, append(w.past, next)
	me.telling, me.untold = next, me.asked
}

// However turns of several workers overlap, whoever restarts, whatever is told late or never, and
// however old what NATS shows is: a Postgres that has kept its commits is never said to have lost any.
func TestNobodyIsAccusedWhoHasKeptEverything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.step(false, true)
		}
	})
}

// However turns overlap with a failover that loses commits: if NATS has acknowledged a beat that was
// lost, the first turn after it in which NATS is asked finds that.
func TestALossThatNATSKnowsOfIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			w.step(true, false)
		}
	})
}

// Another database says nothing about this one, and nothing is lacking that is known to be there.
func TestMarksOfOtherDatabasesDoNotCount(t *testing.T) {
	t.Parallel()
	row := Mark{Database: uuid.New(), Beat: 5}
	other := Mark{Database: uuid.New(), Beat: 9}
	require.Zero(t, row.lacks())
	require.Zero(t, row.lacks(Mark{}, other, row, Mark{Database: row.Database, Beat: 4}))
	require.Equal(t, Mark{Database: row.Database, Beat: 6}, row.next(other))
	forgotten := Mark{Database: row.Database, Beat: 7}
	require.Equal(t, int64(7), row.lacks(Mark{Database: row.Database, Beat: 6}, forgotten))
	require.Equal(t, Mark{Database: row.Database, Beat: 8}, row.next(forgotten, Mark{Database: row.Database, Beat: 6}))
	require.Zero(t, row.next(forgotten).lacks(forgotten), "a loss is found once")
}
