// Package saga is the heart: what can happen to a request, and what is done about it.
//
//	machine.go  the table: nothing that is not in it can happen
//	decide.go   pure: saga + event + time → new state, due time, history, messages
//	step.go     pure: what to do next about a saga that is due
//	match.go    pure: which of PressOne's orders is this saga's
//	share.go    decisions gather, and share a commit
//	write.go    one statement commits them, each for the owner and version it was made on
//	lease.go    who is alive, and what time it is
//	runner.go   claims due sagas and drives them; submit, lookup and poll are its steps
//
// The promise: an order is submitted at most once, unless there is recorded evidence that
// the earlier submission did not happen. It rests on these invariants.
//
//   - Only a pending saga is submitted, and its intent is committed before the POST.
//   - A submission whose outcome is not known makes the saga unknown, and from there only
//     evidence leads back to pending: PressOne's own record of failure, complete look-ups
//     that found nothing, or an operator's word.
//   - A POST is written only while its worker's lease runs and before its intent's
//     deadline, so that what was not written by then was not sent. No look-up is believed
//     before everything that was sent has settled.
//   - Every write names the owner and version that it expects. A stale worker's changes
//     nothing.
//   - One PressOne order belongs to one saga. One top-up per ICCID is in flight.
//
// Failure handling: a worker that dies holds its sagas until its lease runs out; then
// they are taken over, and whatever it was submitting is looked up. Postgres away: what
// happened is kept in memory and written when it is back; nothing new is begun. PressOne
// away or unwilling: sagas wait, as rows.
package saga
