package restore

import (
	"sync"

	"github.com/google/uuid"
)

// Mark is how far a database has counted. A database that was restored or has failed over has the
// same id as before; a new one has another.
type Mark struct {
	Database uuid.UUID `json:"database"`
	Beat     int64     `json:"beat"`
}

// lacks returns the highest beat of the same database that somebody has known before this row
// was read, if the row is behind it: then commits were lost. 0: it lacks nothing that is known.
//
// It is free of false alarms because nothing is known of a beat before its commit is confirmed, and
// the row is read after that, from a server that can be written to. A beat only ever rises, so a
// Postgres that has kept its commits shows that beat or a higher one. It does not matter who has known
// it, whether that was the last to be known, or how old the news are: old news are lower.
//
// It misses nothing that was acknowledged by NATS, because beats rise in turns (see Witness.turn): the
// row is locked before NATS is asked, and does not rise unless it was. So the first turn after a
// loss finds the row as the loss has left it; no other turn can have raised it past what was lost, and NATS has
// what was acknowledged before, or a higher one, since no message is replaced but by whoever has read it.
func (row Mark) lacks(known ...Mark) int64 {
	var most int64
	for _, k := range known {
		if k.Database == row.Database && k.Beat > row.Beat {
			most = max(most, k.Beat)
		}
	}
	return most
}

// next is the row after a turn: above all that is known, so that a loss is found once.
func (row Mark) next(known ...Mark) Mark {
	return Mark{Database: row.Database, Beat: max(row.Beat, row.lacks(known...)) + 1}
}

// memory is what one worker knows by itself: the last row whose commit was confirmed to it.
type memory struct {
	mu     sync.Mutex
	row    Mark
	losses int64 // as of then
}

func (m *memory) get() (row Mark, losses int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.row, m.losses
}

func (m *memory) set(row Mark, losses int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.row, m.losses = row, losses
}
