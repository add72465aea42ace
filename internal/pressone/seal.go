package pressone

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// sealFormat is the first byte of everything sealed: AES-256-GCM, then 12 bytes of nonce.
const sealFormat = 1

// seal encrypts small values for storage. The first key encrypts, any of them decrypts, so that a new key can be put in front
// of the old one.
type seal struct {
	ciphers []cipher.AEAD
	bound   []byte // associated data: a value that was moved elsewhere does not decrypt
}

// newSeal takes keys of 32 bytes. Without any it derives one from the client secret: that protects a dump of the database as
// well as a key of its own would, since whoever has the client secret can get a token anyway.
func newSeal(keys [][]byte, clientSecret, bound string) (*seal, error) {
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
	s := &seal{bound: []byte(bound)}
	for i, key := range keys {
		if len(key) != 32 {
			return nil, fmt.Errorf("pressone: encryption key %d is not 32 bytes", i+1)
		}
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
func (s *seal) close(plain []byte) []byte {
	aead := s.ciphers[0]
	out := make([]byte, 1+aead.NonceSize(), 1+aead.NonceSize()+len(plain)+aead.Overhead())
	out[0] = sealFormat
	nonce := out[1:]
	_, _ = rand.Read(nonce) // never fails: the program ends instead
	return aead.Seal(out, nonce, plain, s.bound)
}

// open decrypts under whichever key fits; false when none does.
func (s *seal) open(sealed []byte) ([]byte, bool) {
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
