package saga

import (
	"crypto/rand"
	"encoding/base32"
	"regexp"
)

var (
	referenceEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	referencePattern  = regexp.MustCompile(`^[a-z2-7]{26}$`)
)

// newReference mints the token that is sent to PressOne as description: 26 lower-case
// letters and digits, 128 bits of chance, and never % or _, which PressOne's filters
// would interpret.
func newReference() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it crashes the program instead
	return referenceEncoding.EncodeToString(b[:])
}
