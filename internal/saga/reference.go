package saga

import (
	"crypto/rand"
	"encoding/base32"
	"regexp"
	"strings"

	"esimflow/internal/pressone"
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

var referenceRun = regexp.MustCompile(`[a-z2-7]{26}`)

// References lists what could be our references in an order's description: the whole of it
// (exact), or, where PressOne has written more around it, parts of it.
func References(o pressone.Order) (refs []string, exact bool) {
	if o.Description == nil {
		return nil, false
	}
	text := strings.ToLower(strings.TrimSpace(*o.Description))
	if referencePattern.MatchString(text) {
		return []string{text}, true
	}
	return referenceRun.FindAllString(text, -1), false
}
