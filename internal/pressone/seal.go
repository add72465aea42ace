package pressone

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"esimflow/internal/seal"
)

// sealFormat is the first byte of what is sealed without a key id: AES-256-GCM, then 12 bytes of nonce. Versions before have
// written that, and it is written where the key is derived.
const sealFormat = 1

// tokenSeal encrypts the token for storage. The first key encrypts, any of them decrypts, so that a new key can be put in front
// of the old one.
type tokenSeal struct {
	keys    *seal.Keys // of ENCRYPTION_KEY; nil: there are none, and the one below is derived
	ciphers []cipher.AEAD
	bound   []byte // associated data: a value that was moved elsewhere does not decrypt
}

// newSeal takes keys of 32 bytes. Without any it derives one from the client secret: that protects a dump of the database as
// well as a key of its own would, since whoever has the client secret can get a token anyway.
func newSeal(keys [][]byte, clientSecret, bound string) (*tokenSeal, error) {
	named, err := seal.New(keys)
	if err != nil {
		return nil, fmt.Errorf("pressone: %w", err)
	}
	if len(keys) == 0 {
		if clientSecret == "" {
			return nil, errors.New("pressone: neither an encryption key nor a client secret")
		}
		key, err := hkdf.Key(sha256.New, []byte(clientSecret), nil, "esimflow provider_token v1", 32)
		if err != nil {
			return nil, fmt.Errorf("pressone: derive key: %w", err)
		}
		keys = [][]byte{key}
	}
	s := &tokenSeal{keys: named, bound: []byte(bound)}
	for i, key := range keys {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("pressone: encryption key %d: %w", i+1, err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("pressone: encryption key %d: %w", i+1, err)
		}
		s.ciphers = append(s.ciphers, aead)
	}
	return s, nil
}

// close encrypts under the first key, with a random nonce.
func (s *tokenSeal) close(plain []byte) []byte {
	if s.keys.On() {
		return s.keys.Seal(plain, s.bound)
	}
	aead := s.ciphers[0]
	out := make([]byte, 1+aead.NonceSize(), 1+aead.NonceSize()+len(plain)+aead.Overhead())
	out[0] = sealFormat
	nonce := out[1:]
	_, _ = rand.Read(nonce) // never fails: the program ends instead
	return aead.Seal(out, nonce, plain, s.bound)
}

// open decrypts under whichever key fits; false when none does.
func (s *tokenSeal) open(sealed []byte) ([]byte, bool) {
	if plain, err := s.keys.Open(sealed, s.bound); err == nil {
		return plain, true
	}
	for _, aead := range s.ciphers {
		if len(sealed) < 1+aead.NonceSize() || sealed[0] != sealFormat {
			return nil, false
		}
		nonce, rest := sealed[1:1+aead.NonceSize()], sealed[1+aead.NonceSize():]
		if plain, err := aead.Open(nil, nonce, rest, s.bound); err == nil {
			return plain, true
		}
	}
	return nil, false
}
