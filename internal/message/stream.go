package message

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The streams.
const (
	RequestsStream    = "ESIM_REQUESTS"
	EventsStream      = "ESIM_EVENTS"
	DeadLettersStream = "ESIM_DLQ"
	WitnessStream     = "ESIM_WITNESS"
)

// WitnessSubject is where workers say how far Postgres has counted: see package restore. Only
// the last message is kept.
const WitnessSubject = "esim.witness"

// Hints on core NATS: they save a wait and carry nothing that may not be lost.
const (
	OutboxHint = "esimflow.hint.outbox" // the outbox has something to publish
	GateHint   = "esimflow.hint.gate"   // a lane of the gate has changed
)

// A request must fit on ESIM_DLQ with our headers added, so ESIM_REQUESTS takes a little
// less than the 1 MiB that a NATS server takes by default. Headers count: ours, with all of
// them at their longest, take less than headerRoom.
const (
	// MaxRequestSize is the largest message that ESIM_REQUESTS takes, headers included, in
	// bytes.
	MaxRequestSize = maxPayload - headerRoom

	maxPayload = 1 << 20   // NATS's default
	maxHeaders = 1<<16 - 1 // JetStream's limit for all headers of a message; it cannot be changed
	headerRoom = 16 << 10

	maxWitnessSize = 1 << 10
)

const duplicateWindow = 10 * time.Minute

// RequestSubject is where requests of kind k arrive.
func RequestSubject(k Kind) string { return "esim.request." + string(k) }

// maxCode is the longest code that a subject carries, in bytes.
const maxCode = 64

// DeadLetterSubject is where copies of dead letters of kind k with this code go.
func DeadLetterSubject(k Kind, code string) string {
	return "esim.dlq." + string(k) + "." + token(code)
}

// token makes a code, which may be PressOne's, fit for the last token of a subject: cleaned,
// cut, and never empty.
func token(code string) string {
	if code == "" {
		return "_"
	}
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, clip(code, maxCode))
}

// Consumer is the durable consumer of the requests of kind k.
func Consumer(k Kind) string { return "esimflow-" + string(k) }

// Streams is what esimflow needs, with that many replicas. Requests and dead letters
// refuse when they are full; they never drop what is open. The witness is its last message: who
// reads it asks the stream's leader, not a replica that may be behind.
func Streams(replicas int) []jetstream.StreamConfig {
	return []jetstream.StreamConfig{
		{
			Name: RequestsStream, Description: "eSIM order and top-up requests",
			Subjects: []string{RequestSubject(Order), RequestSubject(Topup)},
			Storage:  jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
			MaxMsgSize: MaxRequestSize, Replicas: replicas, Duplicates: duplicateWindow,
		},
		{
			Name: EventsStream, Description: "results of eSIM orders and top-ups",
			Subjects: []string{
				EventSubject(Order, Completed), EventSubject(Order, Failed),
				EventSubject(Topup, Completed), EventSubject(Topup, Failed),
			},
			Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
			Replicas: replicas, Duplicates: duplicateWindow,
		},
		{
			Name: DeadLettersStream, Description: "open dead letters of esimflow",
			Subjects: []string{"esim.dlq.order.*", "esim.dlq.topup.*"},
			Storage:  jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
			Replicas: replicas, Duplicates: duplicateWindow, AllowDirect: true,
		},
		{
			Name: WitnessStream, Description: "how far esimflow's Postgres has counted",
			Subjects: []string{WitnessSubject},
			Storage:  jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
			MaxMsgSize: maxWitnessSize, MaxMsgsPerSubject: 1, Replicas: replicas, Duplicates: duplicateWindow,
		},
	}
}

// Consumers is the durable consumers of ESIM_REQUESTS. Nothing is ever given up on
// (MaxDeliver -1): a request leaves only by being committed.
func Consumers() []jetstream.ConsumerConfig {
	var all []jetstream.ConsumerConfig
	for _, k := range Kinds() {
		all = append(all, jetstream.ConsumerConfig{
			Durable: Consumer(k), FilterSubject: RequestSubject(k),
			AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second, MaxDeliver: -1,
			MaxAckPending: 10_000, DeliverPolicy: jetstream.DeliverAllPolicy,
		})
	}
	return all
}
