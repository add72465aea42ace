package pressonesim

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
)

// shape is the type that the documentation's example shows for a field.
type shape bool

const (
	asNumber shape = false
	asString shape = true
)

// renderer decides for one answer which JSON type each wavering field gets.
type renderer struct {
	mode  Rendering
	codes bool // error codes as strings
	rng   *rand.Rand
}

// text tells whether a field is to be a string.
func (r *renderer) text(documented shape) bool {
	switch r.mode {
	case Numbers:
		return false
	case Strings:
		return true
	case Mixed:
		return r.flip()
	case Documented:
	}
	return documented == asString
}

func (r *renderer) flip() bool {
	return r.rng != nil && r.rng.IntN(2) == 0
}

func (r *renderer) int(n int, documented shape) any {
	if r.text(documented) {
		return strconv.Itoa(n)
	}
	return n
}

func (r *renderer) money(c Cents, documented shape) any {
	if r.text(documented) {
		return c.String()
	}
	return c.dollars()
}

func (r *renderer) code(n int) any {
	if r.codes || r.mode == Strings || r.flip() {
		return strconv.Itoa(n)
	}
	return n
}

// netPrice may also be null or absent (section 13).
func (r *renderer) netPrice(c Cents) any {
	if r.mode == Mixed {
		switch r.rng.IntN(4) {
		case 0:
			return nil // absent
		case 1:
			return json.RawMessage("null")
		}
	}
	return r.money(c, asNumber)
}

// apn may be null, "", "N/A" or a name (section 13).
func (r *renderer) apn(value string) *string {
	if value == "" && r.flip() {
		return &value
	}
	if value == "" {
		return nil
	}
	return &value
}
