package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
)

// Outcome is how a saga ended, as upstream sees it.
type Outcome string

// The outcomes.
const (
	Completed Outcome = "completed"
	Failed    Outcome = "failed"
)

// EventSubject is where results go.
func EventSubject(k Kind, o Outcome) string { return "esim.event." + string(k) + "." + string(o) }

// CompletedData is the data of a completed event.
type CompletedData struct {
	SagaID      string          `json:"saga_id"`
	Kind        Kind            `json:"kind"`
	RequestID   string          `json:"request_id"`
	Order       OrderData       `json:"order"`
	ESIMs       []ESIMData      `json:"esims,omitempty"` // orders
	ICCID       string          `json:"iccid,omitempty"` // top-ups
	Attempts    int             `json:"attempts"`
	RequestedAt time.Time       `json:"requested_at"`
	CompletedAt time.Time       `json:"completed_at"`
	Metadata    json.RawMessage `json:"metadata"`
}

// OrderData is what was bought.
type OrderData struct {
	ID        int64       `json:"id"` // PressOne's
	Code      string      `json:"code"`
	PackageID string      `json:"package_id"`
	Quantity  int         `json:"quantity"`
	Price     json.Number `json:"price"` // exact, as PressOne says it; null if it could not be read
	Currency  string      `json:"currency"`
	CreatedAt *time.Time  `json:"created_at"` // null if PressOne's could not be read
}

// MarshalJSON writes an unknown price as null. encoding/json writes an empty number as 0,
// which would say that it was free.
func (o OrderData) MarshalJSON() ([]byte, error) {
	type plain OrderData
	var price *json.Number
	if o.Price != "" {
		price = &o.Price
	}
	return json.Marshal(struct {
		plain
		Price *json.Number `json:"price"`
	}{plain(o), price})
}

// ESIMData is one eSIM, with everything needed to install it: whoever has it can.
type ESIMData struct {
	ICCID                      string  `json:"iccid"`
	LPA                        string  `json:"lpa"` // the SM-DP+ address
	MatchingID                 string  `json:"matching_id"`
	ActivationCode             string  `json:"activation_code"` // LPA:1$address$matching-id
	QRCodeURL                  string  `json:"qrcode_url"`
	DirectAppleInstallationURL string  `json:"direct_apple_installation_url"`
	APNType                    string  `json:"apn_type"`
	APNValue                   *string `json:"apn_value"`
	IsRoaming                  *bool   `json:"is_roaming"`
	ConfirmationCode           *string `json:"confirmation_code"`
	MSISDN                     *string `json:"msisdn"`
}

// Purchased says whether money was spent.
type Purchased string

// The answers. An upstream that refunds its customer does so only on PurchasedNo.
const (
	PurchasedNo      Purchased = "no"
	PurchasedYes     Purchased = "yes"
	PurchasedUnknown Purchased = "unknown"
)

// FailedData is the data of a failed event.
type FailedData struct {
	SagaID       string          `json:"saga_id"`
	Kind         Kind            `json:"kind"`
	RequestID    string          `json:"request_id"`
	Code         string          `json:"code"`
	Class        string          `json:"class"`
	Reason       string          `json:"reason"`
	Purchased    Purchased       `json:"purchased"`
	Replayable   bool            `json:"replayable"`
	DeadLetterID string          `json:"dead_letter_id"`
	Attempts     int             `json:"attempts"`
	Metadata     json.RawMessage `json:"metadata"`
}

// Message is something to publish. ID is its Nats-Msg-Id.
type Message struct {
	Subject string
	ID      string
	Header  nats.Header
	Body    []byte
}

// Size is what NATS counts when m is published: the body and all headers, the Nats-Msg-Id
// among them. In bytes.
func (m Message) Size() int {
	h := maps.Clone(m.Header)
	if h == nil {
		h = nats.Header{}
	}
	if m.ID != "" {
		h[nats.MsgIdHdr] = []string{m.ID}
	}
	return headersSize(h) + len(m.Body)
}

// cloudEvent is a structured CloudEvent 1.0.
type cloudEvent struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	Data            any       `json:"data"`
}

// Event is a result as a structured CloudEvent. end counts the ends of the saga, from 1;
// traceparent is carried through from the request and may be empty.
func Event(k Kind, o Outcome, sagaID string, end int, requestID, traceparent string, at time.Time, data any) (Message, error) {
	e := cloudEvent{
		SpecVersion: cloudEventsVersion, ID: fmt.Sprintf("%s.%d.%s", sagaID, end, o), Source: "esimflow",
		Type: fmt.Sprintf("esimflow.%s.%s.v1", k, o), Subject: requestID, Time: at.UTC(),
		DataContentType: applicationJSON, Data: data,
	}
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // metadata comes back as it was written
	if err := enc.Encode(e); err != nil {
		return Message{}, fmt.Errorf("message: event: %w", err)
	}
	h := nats.Header{"Content-Type": {cloudEventsJSON}}
	if carriable(traceparent) {
		h["traceparent"] = []string{traceparent}
	}
	return Message{Subject: EventSubject(k, o), ID: e.ID, Header: h, Body: bytes.TrimSpace(body.Bytes())}, nil
}

// maxTraceparent is twice what W3C Trace Context 1 needs, in bytes.
const maxTraceparent = 128

// carriable reports whether a traceparent is carried through: whoever reads it decides
// whether it is a good one, but a message full of it could never be published.
func carriable(traceparent string) bool {
	return traceparent != "" && len(traceparent) <= maxTraceparent && publishable(traceparent)
}
