// Package pressone is the provider over HTTP: what can be asked of PressOne, and what is known when a call fails.
//
//	saga ──► Client ──► submit.go  the two POSTs that spend money: own connections, guarded, never sent twice
//	            │  └──► get.go     everything that only reads: bounded, paged, complete or an error
//	            ├──► TokenSource   one access token for all workers (token.go), sealed in Postgres
//	            └──► Limiter       this worker's share of the account's rate (limit.go)
//	         Gate                  what one worker learned about the account's limits, for all (gate.go)
//
// # Invariants
//
//   - An error states a fact, as an [*Error] with a [Disposition]. Whatever is not an *Error, and whatever nobody
//     classified, is [Unknown]: it may have taken effect.
//   - Nothing here retries a submission, with one exception: an answer of 401, which is a definite no, is followed by one
//     new token and one more try.
//   - A submission is written only while its [Guard] agrees, asked in the connection at every single write. [Error.NotSent]
//     means that not one byte of it was handed to the kernel.
//   - Classification goes by how far the request got, then by status, then by code, then by the keys of data; never by text.
//   - A list is complete or it is an error. Absence may be concluded from a list, so a truncated one is worse than none.
//   - Prices are kept exactly, as text.
//   - Activation codes, tokens and the client secret are in no error, log value or metric. They are in [Receipt.Raw],
//     [Error.Raw] and the JSON of [Sim], which are secrets wherever they are kept.
//
// # When things fail
//
// Without Postgres there is no token once the cached one has run out: calls fail as [NotApplied] and NotSent. Without
// PressOne reads fail as Unknown, and submissions by how far they got. No failure leaves a goroutine or a lock behind: the
// lease on refreshing the token runs out by itself.
//
// PressOne's contract was read in part only; where it is silent the decoders are lenient (numbers as strings, objects as
// arrays) about everything except what money hangs on: an order id is a positive integer, an ICCID is digits. PressOne's
// voice-only API is left out: too little of it is documented to build it honestly.
package pressone
