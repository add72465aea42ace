package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
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
	Quantity    int    // 1 for a top-up
	ICCID       string // of a top-up; empty for an order
	Description string // for humans; PressOne never sees it
	Metadata    json.RawMessage
}

// DecodeRequest reads a request of kind k: plain JSON, or a CloudEvent whose data it is
// (structured by its content type, binary by its ce- headers). The error says what the
// sender did wrong.
func DecodeRequest(k Kind, h nats.Header, body []byte) (Request, error) {
	data, err := payload(h, body)
	if err != nil {
		return Request{}, err
	}
	if !utf8.Valid(data) {
		return Request{}, errors.New("message: the body is not UTF-8")
	}
	fields, err := object(data)
	if err != nil {
		return Request{}, fmt.Errorf("message: the body is not a JSON object: %w", err)
	}
	r := Request{Kind: k, Quantity: 1, Metadata: json.RawMessage("{}")}
	read := func(name string, into any) {
		if raw, ok := fields[name]; ok && string(raw) != "null" {
			if e := json.Unmarshal(raw, into); e != nil {
				err = errors.Join(err, fmt.Errorf("message: %s has the wrong type", name))
			}
		}
	}
	read("request_id", &r.RequestID)
	read("package_id", &r.PackageID)
	read("description", &r.Description)
	read("metadata", &r.Metadata)
	switch k {
	case Order:
		read("quantity", &r.Quantity)
	case Topup:
		read("iccid", &r.ICCID)
	}
	if err != nil {
		return Request{}, err
	}
	return r, r.validate()
}

// ICCIDPattern is what an ICCID looks like: 18 to 22 digits.
var ICCIDPattern = regexp.MustCompile(`^[0-9]{18,22}$`)

func (r Request) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("message: "+format, args...)) }
	if n := utf8.RuneCountInString(r.RequestID); n < 1 || n > maxRequestID || !printable(r.RequestID) {
		bad("request_id must be 1 to %d printable characters", maxRequestID)
	}
	if r.PackageID == "" || len(r.PackageID) > maxPackageID || !printable(r.PackageID) {
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
	} else if _, err := object(r.Metadata); err != nil {
		bad("metadata must be a JSON object")
	}
	return errors.Join(errs...)
}

// Fingerprint is the meaning of the request: what is to be bought, and for whom. Two
// requests with one key must have one fingerprint. Description and metadata are not part
// of it: a sender that stamps its retries buys the same thing.
func (r Request) Fingerprint() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%d\n%s", r.Kind, r.PackageID, r.Quantity, r.ICCID)
	return hex.EncodeToString(h.Sum(nil))
}

func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// object reads exactly one JSON object. Keys are matched to the letter, which
// encoding/json's structs would not do.
func object(data []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	var fields map[string]json.RawMessage
	if err := dec.Decode(&fields); err != nil {
		return nil, err
	}
	if fields == nil {
		return nil, errors.New("null")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows it")
	}
	return fields, nil
}
