// Package deadletter is what operators see of requests that stopped, and do about them.
//
// Postgres is the record, a row per stop; a copy goes to ESIM_DLQ through the outbox and
// is deleted there when the letter is resolved, so that stream shows what is open.
//
// Invariants: every action moves the saga, by its table, and only if it is still where
// the operator saw it, so pressing twice does nothing twice. Where a replay goes is not the
// operator's choice but what is known about the money: not bought, it is submitted again;
// unknown, it is looked up; bought, it is polled. The saga keeps its reference. Every
// action is in the saga's history and on the letter, with actor and reason.
package deadletter
