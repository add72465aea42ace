// Package intake turns stream messages into sagas.
//
//	ESIM_REQUESTS ──► Consumer ──► one commit per batch: sagas ──────────────► ack
//	                               another if need be: dead letters, outbox
//
// Invariants: a message is acknowledged only after the commit that holds what became of
// it, so it is delivered again until then, and being delivered twice changes nothing. What
// cannot be understood becomes a dead letter with its bytes.
//
// Failure handling: Postgres away, the batch in hand is tried again and nothing more is
// taken. A batch that Postgres refuses because of what is in it is taken apart, so that
// one message cannot hold up the others. Deliveries that stop while messages are pending:
// the subscription is rebuilt, and if that does not help, readiness fails.
package intake
