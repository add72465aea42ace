// Package restore opens a database that was restored from an older point than JetStream and
// PressOne are at, and notices one that was opened without it.
//
//	restored copy ──▶ Begin ──▶ Redeliver ──▶ a worker starts ──▶ audit ──▶ resume
//	                  paused    consumers      poll, look up,     adopts
//	                            made anew      take
//
// # What is wrong with such a database
//
// It knows nothing of what happened since. A saga that is pending in it may have been bought;
// so may one that stopped, and was replayed. Requests that were taken since are acknowledged,
// and not in it. If workers ran on it as it is, they would buy all of that again.
//
// # What is done about it
//
// [Begin] pauses orders and top-ups, before any worker starts: what was begun is looked up,
// polled and announced, and nothing is submitted. [Redeliver] has the whole stream delivered
// again: what is on record changes nothing, and what was lost becomes a saga with the same
// reference as before, since that is the message's own. Then an audit gives every order that
// PressOne lists to the saga that has its reference. What it cannot give to anybody is a finding
// for an operator. Only when no order is left without an owner is ordering resumed.
//
// # When nobody has said so
//
// A [Witness] in every worker counts up a row, and has NATS remember how far it has come:
//
//	lock row ──▶ ask NATS ──▶ commit row + 1 ──▶ tell NATS
//	                     └──▶ behind: commit a pause, and a row above what NATS knows
//
// It holds its worker's submissions until it has looked for the first time, or heard that there
// is no stream or no leave to use it, and again when a new connection shows less than it knows.
// See [Mark] for why there are no false alarms.
//
// # What never happens
//
//   - Nothing is submitted between Begin and the end of the pause, nor between a Witness's pause and its end.
//   - No saga's state is written here: only its deadline, so that nobody
//     gives up, and tells upstream that nothing was bought, before the audit has looked.
//
// Begin can be repeated. All of it is in one transaction; a worker that runs meanwhile is refused.
package restore
