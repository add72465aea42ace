// Package retention removes what has ended long enough ago: sagas that are completed or
// discarded, with all that belongs to them, dead letters without a saga that are resolved,
// and what the audit has closed.
//
//	Sweeper ──► retention.removed_before ◄── intake: what is older and not on record
//	   │                                       becomes a dead letter, and is not bought
//	   └──► saga, oldest first, in small commits
//
// # Not buying twice
//
// A request whose saga has left looks like a new one when it is delivered again. So a
// moment is announced before anything leaves for it, and a turn later what ended before it
// is removed: whoever was taking requests without knowing has finished by then. A saga
// leaves only if every message that was ever taken for it, the first one and those that were
// recognised as its duplicates, reached the stream before that moment. So a request is
// either on record, or refused, or new. The moment is in the database that the sagas are in,
// never moves back, and is independent of what any process is configured with: RETENTION
// may be changed, differ between workers for a while, or be undone by restoring a backup.
//
// # Not being in the way
//
// Ids begin with the time of acceptance, so the old ones are at the low end of the primary
// key: it is walked from there, and no index is kept for it. Behind a cursor, what has to stay
// (open dead letters, say) is not read at every turn; every day the walk begins anew. A commit
// takes a fifth of a second at the most, does not wait for the disk, skips what is locked,
// and is followed by a pause of four times what it took; if the walk falls behind, of as long.
//
// # What never happens
//
//   - Nothing that is open leaves: no saga that has not ended, no open dead letter, no saga
//     that an open finding of the audit is about.
//   - Nothing leaves that is old by Postgres's clock only: the machine's own has to agree, as
//     has the time that JetStream gave the request. A clock that is set wrong must not empty
//     the table.
//   - One worker sweeps at a time, by a lease; two do no harm.
package retention
