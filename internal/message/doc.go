// Package message is what travels on NATS: streams and subjects, the requests that come
// in, the results that go out, and the copies of dead letters.
//
//	ESIM_REQUESTS  esim.request.order | topup                        upstream → worker
//	ESIM_EVENTS    esim.event.<kind>.completed | failed              publisher → upstream
//	ESIM_DLQ       esim.dlq.<kind>.<code>                            publisher → operators
//	ESIM_WITNESS   esim.witness                                      worker → worker
//
// It only reads and writes bytes: it opens no connection and imports nothing else of
// esimflow. The contract is in api/, and tests hold the two against each other.
//
// Invariants:
//   - What DecodeRequest accepts satisfies the schema. What it refuses it refuses in a few
//     words that the sender can act on; the bytes themselves are kept by whoever called.
//   - No bytes make it panic, and one message is read the same however often it arrives.
//   - A dead letter's copy can always be published: whatever its sender has put into it, it
//     stays below NATS's limits for messages and headers, and its subject is literal.
//   - An event's id depends on the saga and its end alone, so that repetitions can be told.
package message
