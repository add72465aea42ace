package saga

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

var (
	referenceEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	referencePattern  = regexp.MustCompile(`^[a-z2-7]{26}$`)
)

// newReference mints the token that is sent to PressOne as description: 26 lower-case
// letters and digits, and never % or _, which PressOne's filters would interpret. It has the
// form of a UUID of version 7, so that those of one time are neighbours in the index, however
// long the table: the time, and behind it 74 bits of a digest.
//
// It is the message's own, however often that is delivered: where the database was restored
// from an older point, a request that is delivered again gets the reference that it had, and
// the audit gives it the order that was bought under it. Two installations that share an
// account do not share a reference: no two streams store a message in the same nanosecond with
// the same number and the same bytes. The number alone would not do, nor the request_id, which
// is free again after RETENTION.
func newReference(r message.Request, src Source, requestedAt time.Time) string {
	name := fmt.Appendf(nil, "%s\x00%s\x00%s\x00%d\x00%d\x00", r.Kind, r.RequestID, src.Subject, src.Sequence, requestedAt.UnixNano())
	digest := sha256.Sum256(append(name, src.Body...))
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(requestedAt.UnixMilli())<<16)
	copy(id[6:], digest[:])
	id[6] = id[6]&0x0f | 0x70 // version 7
	id[8] = id[8]&0x3f | 0x80 // variant
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
