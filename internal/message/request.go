package message

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// Limits of a request.
const (
	MaxQuantity  = 50 // PressOne's own limit for one order
	maxRequestID = 128
	maxPackageID = 255
	maxMetadata  = 8 << 10
)

// Request is what upstream asks for.
type Request struct {
	Kind        Kind
	RequestID   string // upstream's idempotency key, unique per kind
	PackageID   string
	Quantity    int             // 1 for a top-up
	ICCID       string          // of a top-up; empty for an order
	Description string          // for humans; PressOne never sees it
	Metadata    json.RawMessage // an object, as it arrived
}

// requestFields are the fields that are read; all others are ignored.
var requestFields = map[Kind][]string{
	Order: {"request_id", "package_id", "quantity", "description", "metadata"},
	Topup: {"request_id", "package_id", "iccid", "description", "metadata"},
}

// DecodeRequest reads a request of kind k: plain JSON, or a CloudEvent whose data it is
// (structured by its content type, binary by its ce- headers). The error says what the
// sender did wrong, in a few words: it quotes nothing long that they sent.
func DecodeRequest(k Kind, h nats.Header, body []byte) (Request, error) {
	if !k.Valid() {
		return Request{}, fmt.Errorf("message: there is no kind %q", clip(string(k), 64))
	}
	data, err := payload(h, body)
	if err != nil {
		return Request{}, err
	}
	fields, err := object(data, requestFields[k]...)
	if err != nil {
		return Request{}, fmt.Errorf("message: the request is %w", err)
	}
	r := Request{Kind: k, Quantity: 1, Metadata: json.RawMessage("{}")}
	var errs []error
	text := func(name string, into *string) {
		if raw := fields[name]; isSet(raw) && json.Unmarshal(raw, into) != nil {
			errs = append(errs, fmt.Errorf("message: %s must be a string", name))
		}
	}
	text("request_id", &r.RequestID)
	text("package_id", &r.PackageID)
	text("iccid", &r.ICCID)
	text("description", &r.Description)
	if raw := fields["quantity"]; isSet(raw) {
		var ok bool
		if r.Quantity, ok = wholeNumber(raw); !ok {
			errs = append(errs, errors.New("message: quantity must be a whole number"))
		}
	}
	if raw := fields["metadata"]; isSet(raw) {
		r.Metadata = raw
	}
	if len(errs) > 0 {
		return Request{}, errors.Join(errs...)
	}
	if err := r.validate(); err != nil {
		return Request{}, err
	}
	return r, nil
}

// maxNumber is the longest spelling of a number that is read: a float64 tells all numbers
// of 15 digits apart.
const maxNumber = 16

// wholeNumber reads a JSON number that is whole. Like JSON Schema it takes 2.0 and 2e0 for
// 2, which is how some languages write it.
func wholeNumber(raw json.RawMessage) (int, bool) {
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || len(raw) > maxNumber || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
		return 0, false
	}
	return int(f), true
}

// ICCIDPattern is what an ICCID looks like: 18 to 22 digits.
var ICCIDPattern = regexp.MustCompile(`^[0-9]{18,22}$`)

func (r Request) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("message: "+format, args...)) }
	if !printable(r.RequestID, maxRequestID) {
		bad("request_id must be 1 to %d printable characters", maxRequestID)
	}
	if !printable(r.PackageID, maxPackageID) {
		bad("package_id must be 1 to %d printable characters", maxPackageID)
	}
	if r.Kind == Order && (r.Quantity < 1 || r.Quantity > MaxQuantity) {
		bad("quantity must be 1 to %d", MaxQuantity)
	}
	if r.Kind == Topup && !ICCIDPattern.MatchString(r.ICCID) {
		bad("iccid must be 18 to 22 digits")
	}
	if len(r.Metadata) > maxMetadata {
		bad("metadata is larger than %d bytes", maxMetadata)
	} else if r.Metadata[0] != '{' {
		bad("metadata must be a JSON object")
	}
	return errors.Join(errs...)
}

// Fingerprint is the meaning of the request: what is to be bought, and for whom. Two
// requests with one key must have one fingerprint. Description and metadata are not part
// of it: a sender that stamps its retries buys the same thing.
func (r Request) Fingerprint() string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s\n%s\n%d\n%s", r.Kind, r.PackageID, r.Quantity, r.ICCID)
	return hex.EncodeToString(h.Sum(nil))
}

// printable reports whether s is 1 to most characters, all of them visible, or the ASCII
// space. U+FFFD is not: it stands for whatever could not be read, such as half a surrogate
// pair, and two keys must not become one by that. Spaces alone are not either: a
// CloudEvent's subject must not be blank.
func printable(s string, most int) bool {
	n, blank := 0, true
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return false
		}
		blank = blank && r == ' '
		n++
	}
	return !blank && n <= most
}
