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
//
// One letter is replayed at once, many by a replay: a frozen set in rows, of which the
// worker that holds the lease releases some each second.
//
//	Start ─► replay, replay_letter (waiting) ─► Replayer: beat ─► move ─► saga, letter, row
//	                                              │
//	                 pace (ramp, rate) · purse (balance) · watch (canaries, new refusals)
//
// Moving a saga and saying so is one commit, so a crash leaves nothing half-done, and
// whoever goes on repeats nothing. When Postgres or PressOne does not answer, the replay
// waits and says why in its note.
package deadletter
