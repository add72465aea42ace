package message

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Headers of a dead letter's copy on ESIM_DLQ.
const (
	HeaderDeadLetterID   = "Esim-Dead-Letter-Id"
	HeaderSagaID         = "Esim-Saga-Id" // absent where the bytes never became a saga
	HeaderRequestID      = "Esim-Request-Id"
	HeaderCode           = "Esim-Code"
	HeaderClass          = "Esim-Class"
	HeaderReason         = "Esim-Reason"
	HeaderState          = "Esim-State"
	HeaderAttempts       = "Esim-Attempts"
	HeaderPurchased      = "Esim-Purchased"
	HeaderReplayable     = "Esim-Replayable"
	HeaderTime           = "Esim-Time"
	HeaderSourceSubject  = "Esim-Source-Subject"
	HeaderSourceSequence = "Esim-Source-Sequence"
)

// deadLetterHeaders are the names that are ours: what a sender says under them, for
// instance because they have published a dead letter's copy again, is not believed.
var deadLetterHeaders = []string{
	HeaderDeadLetterID, HeaderSagaID, HeaderRequestID, HeaderCode, HeaderClass, HeaderReason, HeaderState,
	HeaderAttempts, HeaderPurchased, HeaderReplayable, HeaderTime, HeaderSourceSubject, HeaderSourceSequence,
}

// DeadLetter is a request that stopped, or bytes that never became one.
type DeadLetter struct {
	ID         string
	Kind       Kind
	SagaID     string
	RequestID  string
	Code       string
	Class      string
	Reason     string
	State      string // where it stopped; empty without a saga
	Attempts   int
	Purchased  Purchased
	Replayable bool
	Time       time.Time

	SourceSubject  string
	SourceSequence uint64
	Header         nats.Header // as it arrived
	Body           []byte      // as it arrived
}

// Message is the copy for ESIM_DLQ: the bytes as they arrived, the sender's headers, and
// ours. It can always be published: of the sender's headers, those that would be too much
// for a message are left out, the largest ones first. It is a copy; the record is in
// Postgres.
func (d DeadLetter) Message() Message {
	h := nats.Header{}
	set := func(name, value string) {
		if value = headerValue(value); value != "" {
			h[name] = []string{value}
		}
	}
	set(HeaderDeadLetterID, d.ID)
	set(HeaderSagaID, d.SagaID)
	set(HeaderRequestID, d.RequestID)
	set(HeaderCode, token(d.Code))
	set(HeaderClass, d.Class)
	set(HeaderReason, d.Reason)
	set(HeaderState, d.State)
	set(HeaderAttempts, strconv.Itoa(d.Attempts))
	set(HeaderPurchased, string(d.Purchased))
	set(HeaderReplayable, strconv.FormatBool(d.Replayable))
	set(HeaderTime, d.Time.UTC().Format(time.RFC3339Nano))
	set(HeaderSourceSubject, d.SourceSubject)
	set(HeaderSourceSequence, strconv.FormatUint(d.SourceSequence, 10))
	m := Message{Subject: DeadLetterSubject(d.Kind, d.Code), ID: d.ID, Header: h, Body: d.Body}

	size := m.Size()
	room := min(maxPayload-size, maxHeaders-(size-len(m.Body)))
	sender := SenderHeaders(d.Header)
	size = 0
	for _, name := range smallestFirst(sender) {
		size += headerSize(name, sender[name]...)
		if size > room {
			break
		}
		if !containsFold(deadLetterHeaders, name) {
			h[name] = sender[name]
		}
	}
	return m
}
