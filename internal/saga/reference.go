package saga

import (
	"encoding/base32"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"esimflow/internal/pressone"
)

var (
	referenceEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	referencePattern  = regexp.MustCompile(`^[a-z2-7]{26}$`)
)

// newReference mints the token that is sent to PressOne as description: 26 lower-case
// letters and digits, and never % or _, which PressOne's filters would interpret. It is a
// UUID of version 7: 74 bits of chance behind the time, so that those of one time are
// neighbours in the index, however long the table.
func newReference() string {
	id := uuid.Must(uuid.NewV7())
	return referenceEncoding.EncodeToString(id[:])
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
