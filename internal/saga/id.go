package saga

import (
	"time"

	"github.com/google/uuid"
)

// Sagas' ids are UUIDs of version 7, which begin with the time of acceptance by the clock of
// whoever accepted, in milliseconds: so the primary key is in the order of acceptance.

// FirstID is the least id of a moment.
func FirstID(t time.Time) uuid.UUID {
	ms := t.UnixMilli()
	var id uuid.UUID
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
	return id
}

// AcceptedAt is the moment that an id begins with.
func AcceptedAt(id uuid.UUID) time.Time {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms)
}
