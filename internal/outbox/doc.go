// Package outbox is how messages leave: appended in the transaction that decides them,
// published after, and only if, that transaction commits.
//
//	saga's transaction ──► outbox (row) ──► Relay ──► JetStream ──ack──► row deleted,
//	                                          │                          Hooks.Published
//	                                     one is active, by a lease       in one commit
//
// Invariants: a row is deleted only in the commit that follows JetStream's ack, together
// with whatever its acknowledgement means (a saga completed, a dead letter's copy noted).
// A message keeps its Nats-Msg-Id across retries, so JetStream drops what a crash makes
// us publish twice, and readers can drop what comes after its duplicate window. No
// transaction is open while NATS is spoken to.
//
// Failure handling: NATS away, the rows wait. One message that is refused (a full stream,
// say) is tried again later and holds up nobody else. Two relays at once, a stalled one
// waking up, do no harm: publishing and deleting are both idempotent.
package outbox
