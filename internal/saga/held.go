package saga

import (
	"sync"

	"github.com/google/uuid"
)

// held is the sagas that this process is working on, whoever Postgres says holds them.
//
// A claim may be committed and its answer lost. So what Postgres says we hold and what we
// know we hold are compared now and then; claiming and comparing exclude each other, for
// a claim is under way between its commit and its entry here.
type held struct {
	claiming sync.RWMutex // read: claiming; write: comparing

	mu    sync.Mutex
	sagas map[uuid.UUID]struct{}
}

func newHeld() *held { return &held{sagas: map[uuid.UUID]struct{}{}} }

// add reports false if the saga is being worked on already.
func (h *held) add(id uuid.UUID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.sagas[id]; ok {
		return false
	}
	h.sagas[id] = struct{}{}
	return true
}

func (h *held) remove(id uuid.UUID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sagas, id)
}

func (h *held) has(id uuid.UUID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.sagas[id]
	return ok
}
