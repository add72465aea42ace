package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// Mark is the first byte of everything that is sealed.
const Mark = 0x02

const (
	idSize    = 4
	nonceSize = 12
	tagSize   = 16
	// Overhead is how much longer a sealed value is, in bytes.
	Overhead = 1 + idSize + nonceSize + tagSize
	// HeadSize is how many bytes of a sealed value say which key it needs.
	HeadSize = 1 + idSize
)

// Why something cannot be opened.
var (
	// ErrKeyMissing: it was sealed under a key that is not in ENCRYPTION_KEY.
	ErrKeyMissing = errors.New("seal: its key is not in ENCRYPTION_KEY")
	// ErrBroken: it was changed, cut off, or sealed for another place.
	ErrBroken = errors.New("seal: it was altered, or belongs elsewhere")
)

// ID names a key without telling anything about it.
type ID [idSize]byte

// String is the id as operators see it: eight hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Keys seals and opens. A nil *Keys has no key: it seals nothing, and opens nothing.
type Keys struct {
	ring []key
}

type key struct {
	id   ID
	aead cipher.AEAD
}

// New takes keys of 32 bytes: the first one seals, all open. Without any it returns nil.
func New(keys [][]byte) (*Keys, error) {
	if len(keys) == 0 {
		return nil, nil //nolint:nilnil // a nil *Keys is one without a key
	}
	k := &Keys{}
	for i, raw := range keys {
		if len(raw) != 32 {
			return nil, fmt.Errorf("seal: key %d has %d bytes, not 32", i+1, len(raw))
		}
		id, err := hkdf.Key(sha256.New, raw, nil, "esimflow key id v1", idSize)
		if err != nil {
			return nil, fmt.Errorf("seal: key %d: %w", i+1, err)
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return nil, fmt.Errorf("seal: key %d: %w", i+1, err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("seal: key %d: %w", i+1, err)
		}
		k.ring = append(k.ring, key{ID(id), aead})
	}
	return k, nil
}

// On reports whether there is a key.
func (k *Keys) On() bool { return k != nil }

// IDs lists the keys, the one that seals first.
func (k *Keys) IDs() []ID {
	if k == nil {
		return nil
	}
	ids := make([]ID, len(k.ring))
	for i, key := range k.ring {
		ids[i] = key.id
	}
	return ids
}

// Place is what a value is bound to: a table's column, written table|column, and whose it is.
func Place(column string, owner uuid.UUID) []byte {
	place := make([]byte, 0, len(column)+1+36)
	place = append(append(place, column...), '|')
	text, _ := owner.MarshalText() // never fails
	return append(place, text...)
}

// Seal encrypts plain under the first key, for a place. There must be a key.
func (k *Keys) Seal(plain, place []byte) []byte {
	first := k.ring[0]
	sealed := make([]byte, HeadSize, Overhead+len(plain))
	sealed[0] = Mark
	copy(sealed[1:], first.id[:])
	return first.aead.Seal(sealed, nil, plain, place)
}

// KeyOf tells under which key something is sealed; false if it is not sealed.
func KeyOf(sealed []byte) (ID, bool) {
	if len(sealed) < Overhead || sealed[0] != Mark {
		return ID{}, false
	}
	return ID(sealed[1:HeadSize]), true
}

// Open decrypts what was sealed for a place. The error is ErrKeyMissing or ErrBroken.
func (k *Keys) Open(sealed, place []byte) ([]byte, error) {
	id, ok := KeyOf(sealed)
	if !ok {
		return nil, ErrBroken
	}
	if k == nil {
		return nil, ErrKeyMissing
	}
	err := ErrKeyMissing
	for _, key := range k.ring { // ids are short: two keys may share one
		if key.id != id {
			continue
		}
		var plain []byte
		if plain, err = key.aead.Open(nil, nil, sealed[HeadSize:], place); err == nil {
			return plain, nil
		}
		err = ErrBroken
	}
	return nil, err
}

// Current reports whether something is sealed under the key that seals now.
func (k *Keys) Current(sealed []byte) bool {
	id, ok := KeyOf(sealed)
	return ok && k != nil && k.ring[0].id == id
}
